"""What goes wrong while a token cache is built, and what is left of it."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from data_modules.tokens import open_cache
from hierarchy_lm.errors import UserError

ROWS = [{"title": f"red shoe {n}", "node_ids": [n % 8]} for n in range(40)]

# A process of its own that opens the cache of a folder and dies, or dawdles, at a named point.
CHILD = """
import os, pathlib, signal, sys, time
import data_modules.encoding, data_modules.tokens as tokens
from data_modules.encoding import EncodeJob
from data_modules.shards import find_shards
from hierarchy_lm.dataset import PRODUCT_SCHEMA
from hierarchy_lm.hierarchy import Hierarchy
from hierarchy_lm.text import TextOptions
from hierarchy_lm.vocabulary import load_vocabulary

folder, tokenizer, tree, cache, point = sys.argv[1:]
data_modules.encoding.ROWS_PER_JOB = 10
die = lambda *arguments, **options: os.kill(os.getpid(), signal.SIGKILL)
run, jobs = EncodeJob.run, []
def step(job):
    jobs.append(job)
    if point == "second job" and len(jobs) == 2:
        die()
    if point == "log":
        with open(cache + ".log", "a") as log:
            log.write(f"{os.getpid()}\\n")
        time.sleep(0.2)
    return run(job)
EncodeJob.run = step
if point == "meta":
    tokens.write_json = die
if point == "rename":
    tokens.os.replace = die
hierarchy = Hierarchy.from_parquet(pathlib.Path(tree))
columns = ["item_id", "title", "description", "bullet_points", "node_ids"]
shards = tuple(find_shards(pathlib.Path(folder), "train", PRODUCT_SCHEMA, columns))
spec = tokens.CacheSpec(shards, load_vocabulary(tokenizer), TextOptions(max_length=16), False,
                        "node_ids", hierarchy.num_nodes, hierarchy)
if point == "log":
    pathlib.Path(cache + f".ready-{os.getpid()}").touch()
    while not os.path.exists(cache + ".go"):
        time.sleep(0.01)
store = tokens.open_cache(spec, pathlib.Path(cache), "train")
print(len(store), int(store.lengths.sum()), store.folder.name)
"""


def start(dataset, cache: Path, point: str) -> subprocess.Popen[str]:
    dataset.finish()
    arguments = [dataset.path / "products", dataset.vocabulary.source]
    arguments += [dataset.path / "hierarchy.parquet", cache, point]
    command = [sys.executable, "-c", CHILD, *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def refusal(spec, folder: Path) -> str:
    with pytest.raises(UserError) as caught:
        open_cache(spec, folder, "train")
    assert "\n" not in str(caught.value)
    return str(caught.value)


def folders(cache: Path) -> list[str]:
    return sorted(path.name for path in cache.iterdir() if path.is_dir())


@pytest.mark.parametrize("point", ["second job", "meta", "rename"])
def test_a_killed_build_is_never_taken_for_a_cache(dataset, tmp_path, point):
    dataset.products(ROWS, row_group_size=10)
    cache, spec = tmp_path / "cache", dataset.spec()
    with start(dataset, cache, point) as child:
        child.communicate(timeout=60)
    assert child.returncode == -signal.SIGKILL
    assert folders(cache) == [f"train-{spec.key}.tmp"]
    store = open_cache(spec, cache, "train")
    fresh = open_cache(spec, tmp_path / "fresh", "train")
    assert folders(cache) == [f"train-{spec.key}"]
    assert store.meta == fresh.meta
    every = np.arange(40)
    for ours, theirs in zip(store.tokens(every), fresh.tokens(every), strict=True):
        assert np.array_equal(ours, theirs)


def test_of_two_processes_one_builds(dataset, tmp_path):
    dataset.products(ROWS, row_group_size=10)
    cache = tmp_path / "cache"
    children = [start(dataset, cache, "log") for _ in range(2)]
    try:
        while len(list(tmp_path.glob("cache.ready-*"))) < 2:
            assert all(child.poll() is None for child in children)
            time.sleep(0.05)
        (tmp_path / "cache.go").touch()
        outputs = [child.communicate(timeout=60)[0] for child in children]
    finally:
        for child in children:
            child.kill()
    assert [child.returncode for child in children] == [0, 0]
    builders = (tmp_path / "cache.log").read_text().split()
    assert len(builders) == 4
    assert len(set(builders)) == 1
    assert outputs[0] == outputs[1]
    assert outputs[0].startswith("40 ")


def test_unknown_node_names_file_row_and_id(dataset, tmp_path):
    dataset.products(ROWS)
    rows = [*ROWS[:23], {"node_ids": [2, 8, 9]}, *ROWS]
    file = dataset.products(rows, "train-00001", row_group_size=10)
    assert refusal(dataset.spec(), tmp_path / "cache") == (
        f"{file}: row 23: node_ids holds 8, but ids go from 0 to 7; prepare the dataset again"
    )
    assert folders(tmp_path / "cache") == []


@pytest.mark.parametrize("wrong", [-1, 2**31, 2**40, None])
def test_ids_that_would_wrap_around(dataset, make_table, tmp_path, wrong):
    table = make_table([{}, {}, {}])
    labels = pa.array([[0], [], [3, wrong]], pa.list_(pa.int64()))
    dataset.write(table.set_column(4, "node_ids", labels))
    assert f"row 2: node_ids holds {wrong}, but" in refusal(dataset.spec(), tmp_path)


def test_row_of_an_unknown_node_is_counted_from_the_files_start(dataset, monkeypatch, tmp_path):
    monkeypatch.setattr("data_modules.encoding.ROWS_PER_JOB", 5)
    dataset.products([*ROWS[:31], {"node_ids": [99]}], row_group_size=4)
    assert "row 31: node_ids holds 99" in refusal(dataset.spec(), tmp_path)


def test_invalid_utf8_is_replaced_and_counted(dataset, make_table, tmp_path, capfd):
    titles = pa.array([b"red shoe", b"\xff", b"blue \xc3\x28"], pa.binary())
    broken = pa.Array.from_buffers(pa.string(), 3, titles.buffers())
    table = make_table([{}, {}, {}])
    dataset.write(table.set_column(1, "title", broken))
    store = open_cache(dataset.spec(), tmp_path, "train")
    assert store.meta["invalid_utf8"] == 2
    assert "2 texts with invalid UTF-8" in capfd.readouterr().err
    mended = dataset.vocabulary.tokenizer.encode("blue \ufffd(").ids
    ids, _, mask = store.tokens(np.array([2]))
    assert ids[0, mask[0] > 0].tolist()[1:-1] == mended


def test_truncation_is_counted(dataset, tmp_path):
    dataset.products([{"title": "red " * 14}, {"title": "red " * 15}, {"description": "a " * 99}])
    assert open_cache(dataset.spec(), tmp_path, "train").meta["truncated"] == 2


def test_damaged_pages_leave_no_cache(dataset, tmp_path):
    file = dataset.products([{"title": f"red {n}"} for n in range(2000)], row_group_size=500)
    whole = bytearray(file.read_bytes())
    whole[len(whole) // 2 : len(whole) // 2 + 200] = bytes(200)
    file.write_bytes(whole)
    message = refusal(dataset.spec(), tmp_path / "cache")
    assert message.startswith(f"{file}: row group ")
    assert folders(tmp_path / "cache") == []


def test_folder_that_cannot_be_written(dataset, tmp_path):
    dataset.products(ROWS)
    (tmp_path / "file").write_text("no folder")
    message = refusal(dataset.spec(), tmp_path / "file" / "cache")
    assert message.startswith(f"{tmp_path / 'file' / 'cache'}: ")


def test_disk_full_leaves_nothing(dataset, tmp_path, monkeypatch):
    dataset.products(ROWS)

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("data_modules.tokens.write_json", full)
    assert "No space left on device" in refusal(dataset.spec(), tmp_path / "cache")
    assert folders(tmp_path / "cache") == []


def test_a_killed_worker_is_one_line(dataset, tmp_path, monkeypatch):
    dataset.products(ROWS, row_group_size=10)
    monkeypatch.setattr("data_modules.tokens.PARALLEL_ROWS", 1)
    monkeypatch.setattr("data_modules.encoding.ROWS_PER_JOB", 10)
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    monkeypatch.setattr("data_modules.tokens.EncodeJob.run", die)
    assert "was killed, most likely for want of memory" in refusal(
        dataset.spec(), tmp_path / "cache"
    )
    assert folders(tmp_path / "cache") == []


def die(job) -> None:
    os.kill(os.getpid(), signal.SIGKILL)
