"""Tables of `run.sh`: scores by decoding, and how far any model could get on unseen nodes.

python benchmarks/wordnet/table.py DATASET RUNS
"""

import json
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from hierarchy_lm.hierarchy import Hierarchy

DECODINGS = ("none", "parent", "top1", "top1-0.5")
OVER_ALL = ("micro_f1", "path_consistency", "node_consistency", "unanswered")


def per_node(dataset: Path, split: str, tree: Hierarchy) -> NDArray[np.int64]:
    """Items of each node, an item counting for all nodes above its own."""
    shards = sorted(dataset.glob(f"products/{split}-*.parquet"))
    rows = [row for shard in shards for row in pq.read_table(shard)["node_ids"].to_pylist()]
    offsets = np.concatenate([[0], np.cumsum([len(row) for row in rows])])
    nodes = np.array([node for row in rows for node in row], dtype=np.int32)
    return np.bincount(tree.close(nodes, offsets)[0], minlength=tree.num_nodes)


def percent(value: float) -> str:
    return f"{100 * value:.1f}"


def main() -> None:
    dataset, runs = map(Path, sys.argv[1:])
    tree = Hierarchy.from_parquet(dataset / "hierarchy.parquet")
    train, test = per_node(dataset, "train", tree), per_node(dataset, "test", tree)
    scores = {
        name: json.loads((runs / name / "version_0" / "test.json").read_text())
        for name in DECODINGS
    }
    head = ["level", "nodes", "without training items", "test labels", "highest F1", *DECODINGS]
    print("|", " | ".join(head), "|\n|", " | ".join("---" for _ in head), "|")
    for level, (start, end) in enumerate(pairwise(tree.level_offsets.tolist()), start=1):
        unseen, labels = train[start:end] == 0, test[start:end]
        found = labels[~unseen].sum()
        best = 2 * found / max(1, found + labels.sum())
        own = [percent(scores[name][f"test/micro_f1_L{level}"]) for name in DECODINGS]
        cells = [level, f"{end - start:,}", f"{unseen.sum():,}", f"{labels.sum():,}", percent(best)]
        print("|", " | ".join(map(str, [*cells, *own])), "|")
    print("\n| over all levels |", " | ".join(DECODINGS), "|\n|", " | ".join(["---"] * 5), "|")
    for key in OVER_ALL:
        print(f"| {key} |", " | ".join(percent(scores[n][f"test/{key}"]) for n in DECODINGS), "|")


if __name__ == "__main__":
    main()
