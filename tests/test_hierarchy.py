"""The tree against a hand-made one and against a slow implementation on tuples and sets."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hierarchy_lm.dataset import PATH_SEPARATOR
from hierarchy_lm.edges import MAX_DEPTH
from hierarchy_lm.errors import UserError
from hierarchy_lm.hierarchy import Hierarchy

# Ids:  0 Clothing   1 Shoes
#       2 Clothing/Men   3 Clothing/Women   4 Shoes/Accessories
#       5 Clothing/Men/Accessories   6 Clothing/Men/Shirts   7 Clothing/Women/Shirts
RETAIL = [
    ("Shoes", "Accessories"),
    ("Clothing", "Women", "Shirts"),
    ("Clothing", "Men", "Shirts"),
    ("Clothing", "Men", "Accessories"),
]

Path = tuple[str, ...]
names = st.text("aAé1", min_size=1, max_size=2)
trees = st.lists(st.lists(names, min_size=1, max_size=5).map(tuple), min_size=1, max_size=25)


def slow_nodes(paths: list[Path]) -> list[Path]:
    nodes = {path[:depth] for path in paths for depth in range(1, len(path) + 1)}
    return sorted(nodes, key=lambda path: (len(path), PATH_SEPARATOR.join(path)))


def slow_closure(nodes: list[Path], row: list[int]) -> list[int]:
    prefixes = {nodes[node][:depth] for node in row for depth in range(1, len(nodes[node]) + 1)}
    return sorted(nodes.index(prefix) for prefix in prefixes)


def csr(rows: list[list[int]]) -> tuple[np.ndarray, np.ndarray]:
    flat = np.array([node for row in rows for node in row], dtype=np.int32)
    return flat, np.cumsum([0, *map(len, rows)], dtype=np.int64)


def from_csr(ids: np.ndarray, offsets: np.ndarray) -> list[list[int]]:
    return [ids[start:end].tolist() for start, end in pairwise(offsets.tolist())]


@pytest.fixture
def retail() -> Hierarchy:
    return Hierarchy.from_paths(RETAIL)


def test_nodes_are_numbered_by_level_and_path(retail):
    assert retail.paths == [
        "Clothing",
        "Shoes",
        "Clothing > Men",
        "Clothing > Women",
        "Shoes > Accessories",
        "Clothing > Men > Accessories",
        "Clothing > Men > Shirts",
        "Clothing > Women > Shirts",
    ]
    assert retail.names[4:] == ["Accessories", "Accessories", "Shirts", "Shirts"]
    assert retail.parents.tolist() == [-1, -1, 0, 0, 1, 2, 2, 3]
    assert retail.levels.tolist() == [1, 1, 2, 2, 2, 3, 3, 3]
    assert retail.level_offsets.tolist() == [0, 2, 5, 8]
    assert retail.is_leaf.tolist() == [False, False, False, False, True, True, True, True]
    assert (retail.num_nodes, retail.depth, retail.level_sizes) == (8, 3, [2, 3, 3])


def test_columns_have_the_agreed_types(retail):
    assert retail.parents.dtype == np.int32
    assert retail.levels.dtype == np.int16
    assert retail.level_offsets.dtype == np.int64
    ids, offsets = retail.close(*csr([[7]]))
    assert (ids.dtype, offsets.dtype) == (np.int32, np.int64)


def test_ancestors_run_from_the_root_to_the_parent(retail):
    assert retail.ancestors(7) == [0, 3]
    assert retail.ancestors(4) == [1]
    assert retail.ancestors(0) == []


def test_leaves_of_a_root_an_inner_node_and_a_leaf(retail):
    assert retail.leaves_of(0).tolist() == [5, 6, 7]
    assert retail.leaves_of(2).tolist() == [5, 6]
    assert retail.leaves_of(1).tolist() == [4]
    assert retail.leaves_of(7).tolist() == [7]


def test_closure_adds_ancestors_row_by_row(retail):
    rows = [[6], [], [7, 4], [2, 6, 6], [0]]
    expected = [[0, 2, 6], [], [0, 1, 3, 4, 7], [0, 2, 6], [0]]
    assert from_csr(*retail.close(*csr(rows))) == expected


@pytest.mark.parametrize("rows", [[], [[], []]])
def test_closure_of_nothing_keeps_the_rows(retail, rows):
    assert from_csr(*retail.close(*csr(rows))) == rows


def test_keys_of_an_edge_table_stand_at_their_nodes():
    keys, parents = ["9", "30", "30", "7", "31"], [None, "9", "7", None, "30"]
    named = ["Bikes", "Lamps", "Lamps", "Tents", "Bulbs"]
    tree = Hierarchy.from_edges(keys, parents, named, "duplicate")
    assert tree.paths == [
        *("Bikes", "Tents", "Bikes > Lamps", "Tents > Lamps"),
        *("Bikes > Lamps > Bulbs", "Tents > Lamps > Bulbs"),
    ]
    assert tree.keys == ["9", "7", "30", "30", "31", "31"]


def test_a_tree_of_paths_takes_keys_and_keeps_its_fingerprint(retail):
    assert retail.keys == [None] * 8
    before = retail.fingerprint
    retail.set_keys({"b": [7], "a": [7, 0], "of no node": []})
    assert retail.keys == ["a", *[None] * 6, "b"]
    assert retail.key_to_ids == {"b": [7], "a": [7, 0], "of no node": []}
    assert retail.fingerprint == before
    retail.set_keys({"c": [1]})
    assert retail.keys == [None, "c", *[None] * 6]


def test_node_of_finds_a_path_and_names_an_unknown_one(retail):
    assert retail.node_of("Clothing > Men > Shirts") == 6
    with pytest.raises(UserError, match="no node 'Clothing > Kids'"):
        retail.node_of("Clothing > Kids")


@given(trees)
def test_tree_equals_the_slow_one(paths):
    nodes = slow_nodes(paths)
    tree = Hierarchy.from_paths(paths)
    assert tree.paths == [PATH_SEPARATOR.join(node) for node in nodes]
    assert tree.names == [node[-1] for node in nodes]
    assert tree.levels.tolist() == [len(node) for node in nodes]
    assert tree.parents.tolist() == [nodes.index(p[:-1]) if p[1:] else -1 for p in nodes]
    parents = {node[:-1] for node in nodes}
    assert tree.is_leaf.tolist() == [node not in parents for node in nodes]
    for level, size in enumerate(tree.level_sizes, start=1):
        assert size == sum(len(node) == level for node in nodes)
        start, end = tree.level_offsets[level - 1], tree.level_offsets[level]
        assert set(tree.levels[start:end].tolist()) == {level}


@given(trees, st.data())
def test_leaves_and_ancestors_equal_the_slow_ones(paths, data):
    nodes = slow_nodes(paths)
    tree = Hierarchy.from_paths(paths)
    node = data.draw(st.integers(0, len(nodes) - 1))
    path = nodes[node]
    below = [n for n, other in enumerate(nodes) if other[: len(path)] == path]
    parents = {other[:-1] for other in nodes}
    assert tree.leaves_of(node).tolist() == [n for n in below if nodes[n] not in parents]
    assert tree.ancestors(node) == [nodes.index(path[:depth]) for depth in range(1, len(path))]


@given(trees, st.data())
def test_closure_equals_the_slow_one_and_is_idempotent(paths, data):
    nodes = slow_nodes(paths)
    tree = Hierarchy.from_paths(paths)
    node_ids = st.integers(0, len(nodes) - 1)
    rows = data.draw(st.lists(st.lists(node_ids, max_size=4), max_size=6))
    ids, offsets = tree.close(*csr(rows))
    assert from_csr(ids, offsets) == [slow_closure(nodes, row) for row in rows]
    again = tree.close(ids, offsets)
    assert np.array_equal(again[0], ids)
    assert np.array_equal(again[1], offsets)


@given(trees, st.randoms(use_true_random=False))
def test_tree_and_fingerprint_do_not_depend_on_the_order_of_paths(paths, random):
    tree = Hierarchy.from_paths(paths)
    shuffled = [*paths, paths[0]]
    random.shuffle(shuffled)
    other = Hierarchy.from_paths(shuffled)
    assert (other.paths, other.fingerprint) == (tree.paths, tree.fingerprint)


@pytest.mark.parametrize(
    "changed",
    [
        pytest.param([*RETAIL[1:], ("Shoes", "Accessoires")], id="renamed"),
        pytest.param([*RETAIL[1:], ("Clothing", "Accessories"), ("Shoes",)], id="moved"),
        pytest.param([*RETAIL, ("Shoes", "Boots")], id="added"),
        pytest.param(RETAIL[1:], id="removed"),
    ],
)
def test_fingerprint_changes_with_the_tree(retail, changed):
    assert Hierarchy.from_paths(changed).fingerprint != retail.fingerprint


def test_fingerprint_tells_a_line_break_in_a_name_from_two_nodes():
    one, two = Hierarchy.from_paths([("a\nb",)]), Hierarchy.from_paths([("a",), ("b",)])
    assert one.fingerprint != two.fingerprint


@given(st.lists(st.lists(st.text("a> ", min_size=1, max_size=4), min_size=1, max_size=4)))
def test_a_joined_path_splits_back_into_its_names(paths):
    try:
        tree = Hierarchy.from_paths(paths)
    except UserError:
        return
    for path in paths:
        node = tree.node_of(PATH_SEPARATOR.join(path))
        assert tree.paths[node].split(PATH_SEPARATOR) == path
        assert [tree.names[n] for n in [*tree.ancestors(node), node]] == path


def test_names_that_would_share_a_joined_path_are_refused():
    with pytest.raises(UserError, match=r"'(a >|> b)' holds the separator"):
        Hierarchy.from_paths([("a >", "b"), ("a", "> b")])


@pytest.mark.parametrize(
    ("paths", "message"),
    [
        ([], "empty"),
        ([()], "empty name"),
        ([("Shoes", "")], "'Shoes > ' has an empty name"),
        ([("Shoes > Boots",)], "'Shoes > Boots' holds the separator"),
        ([("Shoes", *"x" * MAX_DEPTH)], f"below 'Shoes' is deeper than {MAX_DEPTH} levels"),
    ],
)
def test_impossible_paths_are_refused(paths, message):
    with pytest.raises(UserError, match=message):
        Hierarchy.from_paths(paths)


def test_the_deepest_allowed_path_is_a_tree():
    tree = Hierarchy.from_paths([("x",) * MAX_DEPTH])
    assert tree.depth == MAX_DEPTH
    assert tree.ancestors(MAX_DEPTH - 1) == list(range(MAX_DEPTH - 1))


def test_largest_is_the_department_with_the_most_leaves_unless_one_is_named_so():
    assert Hierarchy.from_paths(RETAIL).department("largest") == 0  # Clothing: three leaves of four
    tie = [("B", "x"), ("B", "y"), ("C", "z"), ("C", "w"), ("A", "v")]
    assert Hierarchy.from_paths(tie).department("largest") == 1
    assert Hierarchy.from_paths([*RETAIL, ("largest", "x")]).department("largest") == 2
