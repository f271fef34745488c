"""Broken and odd shards: found at set-up, in one line that names file and column."""

import os
import re
import shutil

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data_modules.shards import find_shards
from hierarchy_lm.dataset import PRODUCT_SCHEMA
from hierarchy_lm.errors import UserError

COLUMNS = ["item_id", "title", "description", "bullet_points", "node_ids"]
ROWS = [{"title": f"red shoe {n}", "node_ids": [n % 3]} for n in range(30)]


def find(dataset, split="train", columns=COLUMNS):
    return find_shards(dataset.path / "products", split, PRODUCT_SCHEMA, columns)


def refusal(dataset, *, columns=COLUMNS) -> str:
    with pytest.raises(UserError) as caught:
        find(dataset, columns=columns)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_rows_and_row_groups(dataset):
    dataset.products(ROWS, "train-00000", row_group_size=7)
    dataset.products(ROWS[:4], "train-00001")
    dataset.products(ROWS, "test-00000")
    shards = find(dataset)
    assert [shard.path.name for shard in shards] == ["train-00000.parquet", "train-00001.parquet"]
    assert [(shard.num_rows, shard.num_row_groups) for shard in shards] == [(30, 5), (4, 1)]


def test_every_file_is_checked_not_only_the_first(dataset):
    dataset.products(ROWS)
    last = dataset.products(ROWS, "train-00007")
    last.write_bytes(b"")
    assert refusal(dataset) == f"{last}: is empty (0 bytes); write it again"


@pytest.mark.parametrize("share", [0.001, 0.3, 0.9, 0.999])
def test_truncated_file(dataset, share):
    file = dataset.products(ROWS)
    size = int(file.stat().st_size * share)
    os.truncate(file, size)
    expected = f"{file}: is truncated or no Parquet file ({size} bytes); write it again"
    assert refusal(dataset) == expected


def test_garbage(dataset):
    file = dataset.products(ROWS)
    file.write_bytes(np.random.default_rng(0).bytes(5000))
    assert str(file) in refusal(dataset)
    file.write_bytes(b"PAR1" + b"\xff" * 100 + b"PAR1")
    assert str(file) in refusal(dataset)


def test_damaged_footers_end_in_one_line_or_not_at_all(dataset):
    file = dataset.products(ROWS)
    whole = file.read_bytes()
    footer = int.from_bytes(whole[-8:-4], "little") + 8
    random = np.random.default_rng(0)
    messages = []
    for _ in range(400):
        damaged = bytearray(whole)
        damaged[-1 - random.integers(footer)] = random.integers(256)
        file.write_bytes(damaged)
        try:
            find(dataset)
        except UserError as error:
            messages.append(str(error))
    assert len(messages) > 50
    assert all(message.startswith(str(file)) for message in messages)
    assert not any("\n" in message for message in messages)


def test_missing_column(dataset, make_table):
    dataset.products(ROWS)
    file = dataset.write(make_table(ROWS).drop_columns(["description"]), "train-00001")
    assert refusal(dataset).startswith(
        f"{file}: no column 'description'; it has 'item_id', 'title'"
    )


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("title", pa.array([1, 2])),
        ("title", pa.array([["a"], ["b"]])),
        ("title", pa.array([b"a", b"b"])),
        ("bullet_points", pa.array(["a", "b"])),
        ("bullet_points", pa.array([[1], [2]])),
        ("node_ids", pa.array([1, 2], pa.int32())),
        ("node_ids", pa.array([["a"], ["b"]])),
        ("node_ids", pa.array([[0.5], [1.0]])),
        ("node_ids", pa.nulls(2)),
    ],
    ids=lambda value: str(getattr(value, "type", value)),
)
def test_wrong_type(dataset, make_table, name, values):
    table = make_table(ROWS[:2])
    file = dataset.write(table.set_column(table.column_names.index(name), name, values))
    written = pq.read_schema(file).field(name).type  # Parquet renames what lists hold
    expected = PRODUCT_SCHEMA.field(name).type
    assert refusal(dataset) == f"{file}: column '{name}' is {written}, expected {expected}"


def test_a_column_twice(dataset, make_table):
    table = make_table(ROWS)
    file = dataset.write(table.append_column("title", table["title"]))
    assert refusal(dataset) == f"{file}: 2 columns are named 'title'; keep one"


def test_order_further_columns_and_widths_do_not_matter(dataset, make_table):
    table = make_table(ROWS)
    wide = {
        "item_id": pa.large_string(),
        "title": pa.large_string(),
        "bullet_points": pa.large_list(pa.large_string()),
        "node_ids": pa.large_list(pa.int64()),
    }
    columns = {name: table[name].cast(kind) for name, kind in wide.items()}
    columns["description"] = pa.nulls(30)
    odd = pa.table({"noise": pa.array(range(30)), **dict(reversed(columns.items()))})
    dataset.write(odd)
    assert [shard.num_rows for shard in find(dataset)] == [30]


def test_only_the_columns_that_are_read_must_be_there(dataset, make_table):
    dataset.write(make_table(ROWS).select(["item_id", "title", "node_ids"]))
    assert len(find(dataset, columns=["item_id", "title", "node_ids"])) == 1
    assert "description" in refusal(dataset)


def test_no_shards(dataset):
    folder = dataset.path / "products"
    assert refusal(dataset) == f"{folder}: no such folder; prepare the dataset again"
    dataset.products(ROWS, "test-00000")
    assert refusal(dataset).startswith(f"{folder}: the train split is empty; see 'split'")


def test_no_rows(dataset):
    dataset.products([])
    empty = f"{dataset.path / 'products'}: the train split is empty; see 'split' in the mapping"
    assert refusal(dataset).startswith(empty)
    dataset.products(ROWS, "train-00001")
    assert [shard.num_rows for shard in find(dataset)] == [0, 30]


def test_digest_follows_the_file_not_the_folder(dataset, tmp_path):
    file = dataset.products(ROWS)
    (before,) = find(dataset)
    shutil.copytree(dataset.path, tmp_path / "copy")  # keeps the time of writing
    (moved,) = find_shards(tmp_path / "copy/products", "train", PRODUCT_SCHEMA, COLUMNS)
    assert moved.digest == before.digest
    file.rename(file.with_name("train-00001.parquet"))
    assert find(dataset)[0].digest != before.digest


def test_digest_sees_rows_that_changed_places(dataset):
    file = dataset.products([{"title": "red", "node_ids": [n]} for n in (1, 2, 3, 1)])
    (before,) = find(dataset)
    written = file.stat().st_mtime_ns
    dataset.products([{"title": "red", "node_ids": [n]} for n in (1, 3, 2, 1)])
    os.utime(file, ns=(written, written + 1))  # the coarsest clock may not have ticked
    assert re.fullmatch("[0-9a-f]{64}", before.digest)
    assert pq.ParquetFile(file).metadata.num_rows == 4
    assert find(dataset)[0].digest != before.digest
