"""What is written: schema, shard sizes, order, repeatability."""

import hashlib

import ibis
import pyarrow.parquet as pq
import pytest

from data_modules.prepare import expressions as ex
from hierarchy_lm.dataset import PRODUCT_SCHEMA, TASK_SCHEMA


def mapping(rows_per_shard):
    columns = {"item_id": "id", "title": "t", "paths": [{"columns": ["a"]}]}
    return {
        "products": {**columns, "input": {"files": "p.csv"}},
        "tasks": {"t1": {"label": "a"}},
        "rows_per_shard": rows_per_shard,
    }


@pytest.fixture
def many(tmp_path):
    rows = [f"{number * 7919 % 50_000:05d},x,A{number % 9}" for number in range(50_000)]
    (tmp_path / "p.csv").write_text("\n".join(["id,t,a", *rows]))


def test_shards_are_bounded_sorted_and_of_the_schema(many, prepare):
    made = prepare(mapping(15_000))
    shards = sorted((made.folder / "products").glob("train-*.parquet"))
    assert [shard.name for shard in shards] == [
        f"train-{n:05d}.parquet" for n in range(len(shards))
    ]
    files = [pq.ParquetFile(shard) for shard in shards]
    assert len(files) >= 3
    assert all(0 < file.metadata.num_rows <= 15_000 for file in files)
    assert all(file.schema_arrow.equals(PRODUCT_SCHEMA) for file in files)
    groups = [
        file.metadata.row_group(n).num_rows for file in files for n in range(file.num_row_groups)
    ]
    assert max(groups) <= 10_240
    ids = [item for file in files for item in file.read()["item_id"].to_pylist()]
    assert ids == sorted(ids)
    assert len(ids) == made.info.counts["train"]
    assert len(made.rows()) == 50_000
    task = pq.read_schema(made.folder / "tasks/t1/train-00000.parquet")
    assert task.equals(TASK_SCHEMA)


def test_the_order_of_the_rows_does_not_matter(tmp_path, prepare):
    lines = [f"{number},x{number},A{number % 3}" for number in range(200)]
    hashes = set()
    for order in (lines, lines[::-1]):
        (tmp_path / "p.csv").write_text("\n".join(["id,t,a", *order]))
        made = prepare(mapping(1_000))
        hashes.add(made.info.fingerprint)
        made.folder.rename(tmp_path / f"done{len(list(tmp_path.iterdir()))}")
    assert len(hashes) == 1
    lines[0] = "0,changed,A0"
    (tmp_path / "p.csv").write_text("\n".join(["id,t,a", *lines]))
    assert prepare(mapping(1_000)).info.fingerprint not in hashes


def test_hashed_splits_have_their_shares():
    keys = [str(number) for number in range(20_000)]
    table = ibis.memtable({"key": keys})
    # Ibis never lets go of its default connection, of which DuckDB complains at exit.
    connection = ibis.duckdb.connect()
    found = connection.to_pyarrow(table.select("key", split=ex.hashed_split(table["key"])))
    connection.disconnect()
    for row in found.to_pylist():
        start = int(hashlib.md5(row["key"].encode()).hexdigest()[:8], 16)
        share = start / 2**32
        assert row["split"] == ("train" if share < 0.8 else "validation" if share < 0.9 else "test")
