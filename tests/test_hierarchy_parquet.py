"""``hierarchy.parquet``: round trip, and one line for each way it can be broken."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from hierarchy_lm.dataset import HIERARCHY_SCHEMA
from hierarchy_lm.errors import UserError
from hierarchy_lm.hierarchy import Hierarchy

GOOD: dict[str, list[Any]] = {
    "node_id": [0, 1, 2],
    "parent_id": [-1, -1, 0],
    "level": [1, 1, 2],
    "name": ["Bags", "Shoes", "Totes"],
    "path": ["Bags", "Shoes", "Bags > Totes"],
    "key": [None, None, None],
}


def write(path: Path, columns: dict[str, list[Any]]) -> Path:
    """Write with the agreed types, nulls allowed."""
    fields = [pa.field(field.name, field.type) for field in HIERARCHY_SCHEMA]
    pq.write_table(pa.table(columns, schema=pa.schema(fields)), path)
    return path


def error_of(path: Path) -> str:
    with pytest.raises(UserError) as caught:
        Hierarchy.from_parquet(path)
    message = str(caught.value)
    assert "\n" not in message
    assert str(path) in message
    return message


def test_a_hand_written_file_is_read(tmp_path):
    tree = Hierarchy.from_parquet(write(tmp_path / "hierarchy.parquet", GOOD))
    assert tree.paths == GOOD["path"]
    assert tree.parents.tolist() == GOOD["parent_id"]


def test_what_is_written_has_the_agreed_schema_and_rows(tmp_path):
    file = tmp_path / "hierarchy.parquet"
    Hierarchy.from_paths([("Shoes",), ("Bags", "Totes")]).to_parquet(file)
    table = pq.read_table(file)
    assert table.schema.equals(HIERARCHY_SCHEMA)
    assert table.to_pydict() == GOOD


def test_round_trip_keeps_the_tree_and_its_fingerprint(tmp_path):
    paths = [("Élan", "a-b", "x"), ("Élan", "a b"), ("élan",), ("›", "a>b", "'\"")]
    tree = Hierarchy.from_paths(paths)
    tree.to_parquet(tmp_path / "hierarchy.parquet")
    again = Hierarchy.from_parquet(tmp_path / "hierarchy.parquet")
    assert (again.paths, again.names) == (tree.paths, tree.names)
    assert again.parents.tolist() == tree.parents.tolist()
    assert again.fingerprint == tree.fingerprint


def test_keys_of_the_shop_come_back(tmp_path):
    file = tmp_path / "hierarchy.parquet"
    keys = ["0012", None, "0012"]
    tree = Hierarchy.from_parquet(write(file, GOOD | {"key": keys}))
    assert tree.keys == keys
    assert tree.key_to_ids == {"0012": [0, 2]}
    assert tree.fingerprint == Hierarchy.from_parquet(write(file, GOOD)).fingerprint
    tree.to_parquet(file)
    assert pq.read_table(file)["key"].to_pylist() == keys


def test_a_file_of_an_older_release_has_no_keys(tmp_path):
    file = tmp_path / "hierarchy.parquet"
    pq.write_table(pa.table(GOOD, schema=HIERARCHY_SCHEMA).drop_columns("key"), file)
    tree = Hierarchy.from_parquet(file)
    assert tree.keys == [None] * 3
    assert tree.key_to_ids == {}


def test_keys_of_another_type_are_refused(tmp_path):
    file = tmp_path / "hierarchy.parquet"
    table = pa.table(GOOD, schema=HIERARCHY_SCHEMA).drop_columns("key")
    pq.write_table(table.append_column("key", pa.array([1, 2, 3])), file)
    assert "'key' of type string" in error_of(file)


def test_the_file_names_its_tree_and_not_another_one(tmp_path):
    file = tmp_path / "hierarchy.parquet"
    Hierarchy.from_paths([("Bags", "Totes"), ("Shoes",)]).to_parquet(file)
    named = pq.read_schema(file).metadata[b"hierarchy_fingerprint"].decode()
    assert named == hashlib.sha256(json.dumps(GOOD["path"]).encode()).hexdigest()
    changed = pa.table(
        GOOD | {"name": ["Bags", "Shoes", "Purse"], "path": ["Bags", "Shoes", "Bags > Purse"]},
        schema=pq.read_schema(file),  # another tool keeps what it does not know
    )
    pq.write_table(changed, file)
    assert "its paths were changed" in error_of(file)


def test_a_damaged_page_is_one_line(tmp_path):
    file = tmp_path / "hierarchy.parquet"
    Hierarchy.from_edges(["k1", "k2"], [None, "k1"], ["Bags", "Totes"]).to_parquet(file)
    keys = pq.read_metadata(file).row_group(0).column(5)
    content = bytearray(file.read_bytes())
    content[keys.dictionary_page_offset + keys.total_compressed_size - 1] ^= 1
    file.write_bytes(content)
    error_of(file)


def test_a_tree_below_a_folder_that_looks_like_a_column(tmp_path):
    folder = tmp_path / "path=none" / "name=zzz"
    folder.mkdir(parents=True)
    assert Hierarchy.from_parquet(write(folder / "hierarchy.parquet", GOOD)).paths == GOOD["path"]


def test_further_columns_are_ignored(tmp_path):
    file = tmp_path / "hierarchy.parquet"
    pq.write_table(pa.table(GOOD, schema=HIERARCHY_SCHEMA).append_column("n", [[7, 8, 9]]), file)
    assert Hierarchy.from_parquet(file).num_nodes == 3


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        pytest.param({"node_id": [0, 2, 1]}, "column 'node_id'", id="ids out of order"),
        pytest.param({"node_id": [0, None, 2]}, "node_id", id="null id"),
        pytest.param({"parent_id": [-1, -1, 1]}, "row 2, column 'parent_id'", id="wrong parent"),
        pytest.param({"parent_id": [-1, -1, 7]}, "row 2, column 'parent_id'", id="unknown parent"),
        pytest.param({"level": [1, 1, 3]}, "row 2, column 'level'", id="wrong level"),
        pytest.param({"name": ["Bags", "Shoes", "Tote"]}, "row 2, column 'name'", id="wrong name"),
        pytest.param({"name": ["Bags", None, "Totes"]}, "name", id="null name"),
        pytest.param({"path": ["Bags", "Shoes", None]}, "path", id="null path"),
        pytest.param({"path": ["Bags", "Shoes", "Bags > "]}, "empty name", id="empty name"),
        pytest.param({"path": ["Bags", "Shoes", "Hats > Totes"]}, "'Hats'", id="absent parent"),
        pytest.param(
            {"path": ["Bags", "Shoes", " > ".join("x" * 200)]}, "deeper than", id="too deep"
        ),
        pytest.param(
            {
                "parent_id": [-1, -1, -1],
                "level": [1, 1, 1],
                "name": ["Bags", "Shoes", "Shoes"],
                "path": ["Bags", "Shoes", "Shoes"],
            },
            "distinct",
            id="repeated path",
        ),
        pytest.param(
            {
                "name": ["Shoes", "Bags", "Totes"],
                "path": ["Shoes", "Bags", "Bags > Totes"],
                "parent_id": [-1, -1, 1],
            },
            "sorted",
            id="level not sorted by path",
        ),
        pytest.param(
            {
                "name": ["Totes", "Bags", "Shoes"],
                "path": ["Bags > Totes", "Bags", "Shoes"],
                "parent_id": [1, -1, -1],
                "level": [2, 1, 1],
            },
            "sorted",
            id="parent after child",
        ),
    ],
)
def test_a_wrong_row_is_one_line(tmp_path, changed, message):
    assert message in error_of(write(tmp_path / "hierarchy.parquet", GOOD | changed))


def test_an_empty_table_is_one_line(tmp_path):
    empty = {column: [] for column in GOOD}
    assert "empty" in error_of(write(tmp_path / "hierarchy.parquet", empty))


@pytest.mark.parametrize("column", [name for name in GOOD if name != "key"])
def test_a_missing_column_is_named(tmp_path, column):
    file = tmp_path / "hierarchy.parquet"
    pq.write_table(pa.table(GOOD, schema=HIERARCHY_SCHEMA).drop_columns([column]), file)
    assert f"'{column}'" in error_of(file)


def test_a_column_of_another_type_is_named(tmp_path):
    file = tmp_path / "hierarchy.parquet"
    pq.write_table(pa.table(GOOD), file)  # int64 ids
    assert "'node_id' of type int32" in error_of(file)


@pytest.mark.parametrize("content", [b"", b"PAR1", b"node_id,path\n0,Bags\n"])
def test_a_file_that_is_no_parquet_is_one_line(tmp_path, content):
    file = tmp_path / "hierarchy.parquet"
    file.write_bytes(content)
    error_of(file)


def test_a_truncated_file_is_one_line(tmp_path):
    file = write(tmp_path / "hierarchy.parquet", GOOD)
    file.write_bytes(file.read_bytes()[:-30])
    error_of(file)


def test_a_missing_file_is_one_line(tmp_path):
    error_of(tmp_path / "hierarchy.parquet")
