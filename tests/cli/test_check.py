"""`hlm check`: what opening a dataset cannot see, because it is in the rows."""

import json
import shutil

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from hierarchy_lm.dataset_folder import open_dataset

from ..conftest import as_older_release, seal
from .conftest import assert_refused

TASK = "tasks/query_product"


@pytest.fixture
def copy(catalogue, tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(catalogue, folder, ignore=shutil.ignore_patterns(".cache"))
    return folder


def flip_a_byte(file, column):
    """The last byte of a column's pages; its footer stays."""
    place = pq.read_metadata(file).row_group(0)
    (chunk,) = [
        place.column(number)
        for number in range(place.num_columns)
        if place.column(number).path_in_schema.split(".")[0] == column
    ]
    start = min(filter(None, [chunk.dictionary_page_offset, chunk.data_page_offset]))
    content = bytearray(file.read_bytes())
    content[start + chunk.total_compressed_size - 1] ^= 1
    file.write_bytes(content)


def change_rows(file, column, row, value):
    table = pq.read_table(file)
    values = table[column].to_pylist()
    values[row] = value
    place = table.schema.get_field_index(column)
    field = table.schema.field(place)
    pq.write_table(table.set_column(place, field, pa.array(values, field.type)), file)


def change_info(folder, **changes):
    file = folder / "dataset.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


def info(folder):
    return json.loads((folder / "dataset.json").read_text())


def test_a_whole_dataset(hlm, catalogue):
    status, out, err = hlm("check", catalogue)
    assert (status, err) == (0, "")
    lines = out.splitlines()
    files = [catalogue / name for name in info(catalogue)["files"]]
    size = sum(file.stat().st_size for file in files)
    rows = {
        split: pq.read_metadata(catalogue / f"products/{split}-00000.parquet").num_rows
        for split in ("train", "validation", "test")
    }
    assert lines[:4] == [
        f"{catalogue}: whole",
        f"- {len(files)} files, {size:,} bytes, each as dataset.json lists it",
        "- Tree: 60 nodes on 4 levels",
        f"- products: {rows['train']} train, {rows['validation']} validation, {rows['test']} test",
    ]
    assert [line.split(":")[0] for line in lines[4:]] == [
        f"- tasks/{task}" for task in info(catalogue)["tasks"]
    ]


def test_the_generated_sample_by_its_name(hlm):
    assert hlm("check", "sample")[0] == 0


@pytest.mark.parametrize(
    ("name", "column"),
    [
        ("products/train-00000.parquet", "title"),
        ("products/test-00000.parquet", "item_id"),
        (f"{TASK}/validation-00000.parquet", "query"),
        ("hierarchy.parquet", "key"),
    ],
)
def test_a_flipped_byte_is_left_to_check(hlm, copy, name, column):
    flip_a_byte(copy / name, column)
    open_dataset(copy)  # reads footers, no rows
    assert_refused(hlm("check", copy), f"{copy / name}: holds other bytes than dataset.json lists")


def test_rows_that_changed_places_are_left_to_check(hlm, copy):
    """Here the footers are even the same: no statistics, and texts of one length."""
    file = copy / "products" / "test-00000.parquet"
    table = pq.read_table(file)
    same = pa.array([f"{number:04d}" for number in range(len(table))])
    table = table.set_column(table.schema.get_field_index("title"), "title", same)
    options = {"compression": "none", "write_statistics": False, "use_dictionary": False}
    pq.write_table(table, file, **options)
    seal(copy)
    assert hlm("check", copy)[0] == 0
    reverse = table.set_column(table.schema.get_field_index("title"), "title", same[::-1])
    pq.write_table(reverse, file, **options)
    open_dataset(copy)
    assert_refused(hlm("check", copy), str(file), "other bytes")


def counts_of_rows(folder):
    change_info(folder, counts=info(folder)["counts"] | {"train": 7})
    return "counts 7 for 'train', the shards have"


def counts_of_a_task(folder):
    counts = info(folder)["counts"]
    del counts[f"{TASK}/test"]
    change_info(folder, counts=counts)
    return f"counts 0 for '{TASK}/test', the shards have"


def counts_of_a_task_that_is_not_there(folder):
    change_info(folder, counts=info(folder)["counts"] | {"tasks/none/train": 7})
    return "counts 7 for 'tasks/none/train', the shards have 0"


def counts_of_nodes(folder):
    change_info(folder, counts=info(folder)["counts"] | {"nodes": 61})
    return "counts 61 for 'nodes', the tree has 60"


def counts_of_levels(folder):
    change_info(folder, counts=info(folder)["counts"] | {"levels": 5})
    return "counts 5 for 'levels', the tree has 4"


def list_of_tasks(folder):
    change_info(folder, tasks=info(folder)["tasks"][1:])
    return "product_categorisation: dataset.json lists no such task"


def fingerprint(folder):
    change_info(folder, fingerprint="0" * 64)
    return "dataset.json: was written for other files"


def split(folder):
    files = info(folder)["files"]
    files["products/test-00000.parquet"]["split"] = "train"
    change_info(folder, files=files)
    return "products/test-00000.parquet: holds other"


def tree(folder):
    change_rows(folder / "hierarchy.parquet", "parent_id", 59, 58)
    seal(folder)
    return "hierarchy.parquet: row 59, column 'parent_id'"


def node_ids(folder):
    change_rows(folder / "products" / "test-00000.parquet", "node_ids", 5, [3, 60])
    seal(folder)
    return "products/test-00000.parquet: row 5: node_ids holds 60, but ids go from 0 to 59"


def true_node_ids(folder):
    change_rows(folder / "products" / "train-00000.parquet", "true_node_ids", 5, [-2])
    seal(folder)
    return "products/train-00000.parquet: row 5: true_node_ids holds -2"


def label_ids(folder):
    change_rows(folder / TASK / "train-00000.parquet", "label_ids", 0, [4])
    seal(folder)
    return f"{TASK}/train-00000.parquet: row 0: label_ids holds 4, but ids go from 0 to 3"


def nodes_of_a_task(folder):
    change_rows(folder / TASK / "validation-00000.parquet", "node_ids", 1, [1000])
    seal(folder)
    return f"{TASK}/validation-00000.parquet: row 1: node_ids holds 1000"


def column(folder):
    file = folder / TASK / "train-00000.parquet"
    pq.write_table(pq.read_table(file).drop_columns("query"), file)
    seal(folder)
    return f"{TASK}/train-00000.parquet: no column 'query'"


FAULTS = [
    *(counts_of_rows, counts_of_a_task, counts_of_a_task_that_is_not_there),
    *(counts_of_nodes, counts_of_levels, list_of_tasks, fingerprint, split, tree),
    *(node_ids, true_node_ids, label_ids, nodes_of_a_task, column),
]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_what_dataset_json_says_is_compared(hlm, copy, fault):
    message = fault(copy)
    assert_refused(hlm("check", copy), message)


def test_an_older_folder_is_checked_as_far_as_it_can_be(hlm, copy, caplog):
    status, out, err = hlm("check", as_older_release(copy))
    assert status == 0, err
    assert f"{copy}: whole" in out
    assert "an older release did not list: compared with the fingerprint of them all" in out
    assert caplog.text.count(f"{copy}: written by an older release") == 1


@pytest.mark.parametrize("column", ["title", "node_ids", "noise"])
def test_a_flipped_byte_in_an_older_folder(hlm, copy, column):
    file = as_older_release(copy) / "products" / "validation-00000.parquet"
    flip_a_byte(file, column)
    named = copy / "dataset.json" if column == "noise" else file  # a column of the sample alone
    assert_refused(hlm("check", copy), str(named))


def test_a_task_of_pairs_alone_has_no_tree(hlm, copy):
    shutil.rmtree(copy / "products")
    as_older_release(copy)
    (copy / "hierarchy.parquet").unlink()
    counts = {name: n for name, n in info(copy)["counts"].items() if name.startswith("tasks/")}
    change_info(copy, counts=counts)
    for file in (copy / "tasks").glob("*/*.parquet"):
        table = pq.read_table(file)
        if "node_ids" in table.column_names:
            pq.write_table(table.drop_columns("node_ids"), file)
    status, out, err = hlm("check", seal(copy))
    assert status == 0, err
    assert "Tree" not in out


def test_no_dataset(hlm, tmp_path):
    assert_refused(hlm("check", tmp_path / "absent"), "absent", "no such folder")
    assert_refused(hlm("check", tmp_path), "no dataset.json there")
