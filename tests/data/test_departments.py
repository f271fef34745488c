"""Items per node of a split, and the tree's parts that departments rest on."""

from itertools import pairwise

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_modules.departments import count_items
from hierarchy_lm.errors import UserError
from hierarchy_lm.hierarchy import Hierarchy

words = st.text("abc", min_size=1, max_size=2)
paths = st.lists(st.lists(words, min_size=1, max_size=4), min_size=1, max_size=20)


def refusal(make) -> str:
    with pytest.raises(UserError) as caught:
        make()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_counts_over_shards_and_row_groups(dataset):
    rows = [{"node_ids": ids} for ids in ([5], [5, 7], [], [0], [5], [1])]
    dataset.products(rows, row_group_size=2)
    dataset.products([{"node_ids": [7]}, {"node_ids": []}], "train-00001")
    dataset.products([{"node_ids": [3]}], "test-00000")
    counts = count_items(dataset.path, dataset.retail)
    assert counts.tolist() == [1, 1, 0, 0, 0, 3, 0, 2]
    assert count_items(dataset.path, dataset.retail, "test").tolist() == [0, 0, 0, 1, 0, 0, 0, 0]


@pytest.mark.parametrize("kind", [pa.list_(pa.int64()), pa.large_list(pa.int32())])
def test_wide_and_null_lists(dataset, make_table, kind):
    table = make_table([{}, {}, {}])
    labels = pa.array([[7], None, [7, None, 4]], kind)
    dataset.write(table.set_column(4, "node_ids", labels))
    assert count_items(dataset.path, dataset.retail).tolist() == [0, 0, 0, 0, 1, 0, 0, 2]


def test_a_broken_page_is_one_line(dataset):
    rows = [{"node_ids": [n % 8]} for n in range(500)]
    file = dataset.products(rows, write_page_checksum=True)
    group = pq.read_metadata(file).row_group(0)
    columns = [group.column(number) for number in range(group.num_columns)]
    (column,) = (part for part in columns if part.path_in_schema.startswith("node_ids"))
    content = bytearray(file.read_bytes())
    content[column.data_page_offset + column.total_compressed_size // 2] ^= 0xFF
    file.write_bytes(content)
    message = refusal(lambda: count_items(dataset.path, dataset.retail))
    assert message.startswith(f"{file}: row group 0 cannot be read")


def test_a_missing_split_is_one_line(dataset):
    dataset.products([{"node_ids": [1]}])
    message = refusal(lambda: count_items(dataset.path, dataset.retail, "validation"))
    assert "the validation split is empty" in message


@given(paths)
def test_roots_against_a_walk_up(tree_paths):
    tree = Hierarchy.from_paths(tree_paths)
    for node, path in enumerate(tree.paths):
        assert tree.paths[tree.roots[node]] == path.split(" > ")[0]
    for name in tree.paths[: tree.level_sizes[0]]:
        assert tree.paths[tree.department(name)] == name


@given(paths, st.lists(st.sets(st.integers(0, 60), max_size=4), max_size=8))
def test_most_specific_against_sets_of_ancestors(tree_paths, rows):
    """Of a row's closed nodes, those that are no ancestor of another of the same row."""
    tree = Hierarchy.from_paths(tree_paths)
    given_nodes = [sorted({node % tree.num_nodes for node in row}) for row in rows]
    offsets = np.cumsum([0, *map(len, given_nodes)], dtype=np.int64)
    flat = np.array([node for row in given_nodes for node in row], dtype=np.int32)
    closed, bounds = tree.close(flat, offsets)
    owners = np.repeat(np.arange(len(rows)), np.diff(bounds))
    found_rows, found = tree.most_specific(owners, closed.astype(np.int64))
    for row, (start, end) in enumerate(pairwise(bounds.tolist())):
        nodes = closed[start:end].tolist()
        above = {parent for node in nodes for parent in tree.ancestors(node)}
        assert found[found_rows == row].tolist() == [n for n in nodes if n not in above]


def test_a_node_that_is_no_root_is_no_department(retail):
    message = refusal(lambda: retail.department("Clothing > Men"))
    assert message == "the tree has no department 'Clothing > Men'; it has Clothing, Shoes ..."
    assert refusal(lambda: retail.department("Men")).startswith("the tree has no department 'Men'")
