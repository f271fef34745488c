"""What is written: schema, shard sizes, order, repeatability; and the same expressions on Spark."""

import hashlib

import ibis
import pyarrow.parquet as pq
import pytest

from data_modules.prepare import expressions as ex
from data_modules.prepare.files import InputFile
from data_modules.prepare.mapping import (
    InputOptions,
    PathOptions,
    ProductOptions,
    SplitOptions,
    TaskOptions,
)
from data_modules.prepare.rows import select_columns
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


TABLE = ibis.table(
    {
        "id": "string", "t": "string", "d": "string", "b": "array<string>", "a1": "string",
        "a2": "string", "p": "string", "names": "array<string>", "lists": "array<array<string>>",
        "n": "string", "g": "string", "q": "string", "l": "string", "source_row": "int64",
    },
    name="rows",
)  # fmt: skip


@pytest.mark.parametrize(
    "path",
    [
        PathOptions(columns=["a1", "a2"]),
        PathOptions(column="p", separator=" >> ", trim='["]', title_leaf=15),
        PathOptions(column="p", separator="/", path_separator="|"),
        PathOptions(column="names"),
        PathOptions(column="names", separator="/"),
        PathOptions(column="lists"),
        PathOptions(node="n", path_separator="|"),
    ],
)
def test_product_expressions_compile_for_spark(path, tmp_path):
    options = ProductOptions(
        input=InputOptions("p.csv", null_values=["nan"]), item_id="id", title="t", description="d",
        bullet_points="b", split=SplitOptions(group="g"), paths=[path],
    )  # fmt: skip
    rows = select_columns(TABLE, options, InputFile(tmp_path / "p.csv"))
    split = rows.mutate(split=ex.hashed_split(rows["split_key"]), text=ex.text_hash(rows))
    assert "md5(" in ibis.to_sql(split, dialect="pyspark").lower()


def test_task_expressions_compile_for_spark(tmp_path):
    options = TaskOptions(
        input=InputOptions("p.csv"), title="t", query="q", label="l", label_separator=";"
    )
    rows = select_columns(TABLE, options, InputFile(tmp_path / "p.csv"))
    assert "array_sort(" in ibis.to_sql(rows, dialect="pyspark").lower()


def test_hashed_splits_have_their_shares():
    keys = [str(number) for number in range(20_000)]
    table = ibis.memtable({"key": keys})
    found = table.select("key", split=ex.hashed_split(table["key"])).to_pyarrow().to_pylist()
    for row in found:
        start = int(hashlib.md5(row["key"].encode()).hexdigest()[:8], 16)
        share = start / 2**32
        assert row["split"] == ("train" if share < 0.8 else "validation" if share < 0.9 else "test")
