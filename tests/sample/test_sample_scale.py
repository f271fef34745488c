import subprocess
import sys
from collections import Counter

import pyarrow.parquet as pq

SCRIPT = """
import re, sys
from pathlib import Path
from data_modules.sample import SampleOptions, write_sample
options = SampleOptions(items=int(sys.argv[2]), nodes=30_000, depth=10, task_items=0)
write_sample(Path(sys.argv[1]), options)
# Not ru_maxrss, which a child inherits from the process that started it.
print(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1])
"""


def peak_kib(folder, items):
    command = [sys.executable, "-c", SCRIPT, str(folder), str(items)]
    return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def test_memory_does_not_grow_with_the_rows(tmp_path):
    small, large = peak_kib(tmp_path / "a", 50_000), peak_kib(tmp_path / "b", 200_000)
    assert large < 1.3 * small
    assert large < 1_500_000
    shards = sorted((tmp_path / "b" / "products").glob("train-*.parquet"))
    assert len(shards) == 4
    assert 159_000 < sum(pq.read_metadata(shard).num_rows for shard in shards) < 161_000


def test_thirty_thousand_nodes_on_ten_levels(make_sample):
    sample = make_sample(items=3000, nodes=30_000, depth=10, task_items=200)
    nodes = sample.nodes()
    assert len(nodes) == 30_000
    levels = Counter(node["level"] for node in nodes)
    assert sorted(levels) == list(range(1, 11))
    assert all(levels[level] > 1000 for level in range(4, 11))
    used = {node for row in sample.rows() for node in row["true_node_ids"]}
    assert len(used) > 1000
    assert {nodes[node]["level"] for node in used} >= set(range(2, 11))
    assert 100 <= len(sample.labels("local_financial")) <= 1000
    assert len(sample.labels("product_categorisation")) >= 500
    assert len(sample.labels("global_financial")) < 100
