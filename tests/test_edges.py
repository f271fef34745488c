"""Edge tables: what is a tree is accepted with the right paths, what is none names its nodes."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hierarchy_lm.edges import MAX_COPIES, MAX_DEPTH, paths_of_edges
from hierarchy_lm.errors import UserError
from hierarchy_lm.hierarchy import Hierarchy

Row = tuple[str, str | None]


def columns(rows: list[Row]) -> tuple[list[str], list[str | None], list[str]]:
    """Keys, parents, and names equal to the keys."""
    return [key for key, _ in rows], [parent for _, parent in rows], [key for key, _ in rows]


def chain(length: int) -> list[Row]:
    keys = [f"n{number}" for number in range(length)]
    return [(keys[0], None), *((below, above) for above, below in pairwise(keys))]


def error_of(rows: list[Row], names: list[str] | None = None, multi_parent: str = "error") -> str:
    keys, parents, own = columns(rows)
    with pytest.raises(UserError) as caught:
        Hierarchy.from_edges(keys, parents, names or own, multi_parent)
    message = str(caught.value)
    assert "\n" not in message
    return message


def slow_paths(rows: list[Row], names: dict[str, str]) -> dict[str, set[tuple[str, ...]]] | None:
    """All root paths of each key by plain recursion; None where the table is no tree or DAG."""
    keys = {key for key, _ in rows}
    if not rows or len(set(rows)) < len(rows):
        return None
    if any(parent is not None and parent not in keys for _, parent in rows):
        return None

    def walk(key: str, below: tuple[str, ...]) -> set[tuple[str, ...]]:
        if key in below:
            raise RecursionError
        parents = [parent for own, parent in rows if own == key]
        above = [{()} if p is None else walk(p, (*below, key)) for p in parents]
        return {(*path, names[key]) for paths in above for path in paths}

    try:
        found = {key: walk(key, ()) for key in keys}
    except RecursionError:
        return None
    everything = [path for paths in found.values() for path in paths]
    return found if len(set(everything)) == len(everything) else None


KEYS = ["p", "q", "r", "s", "t"]
tables = st.lists(
    st.tuples(st.sampled_from(KEYS), st.sampled_from([None, None, *KEYS])), max_size=8
)
names_of = st.fixed_dictionaries({key: st.sampled_from("ABC") for key in KEYS})


def test_paths_of_a_small_tree_in_any_row_order():
    tree = Hierarchy.from_edges(
        keys=["31", "20", "10", "11"],
        parent_keys=["20", "10", None, None],
        names=["Boots", "Women", "Shoes", "Bags"],
    )
    assert tree.paths == ["Bags", "Shoes", "Shoes > Women", "Shoes > Women > Boots"]
    assert tree.key_to_ids == {"10": [1], "11": [0], "20": [2], "31": [3]}


@given(tables, names_of)
def test_a_table_is_accepted_exactly_when_it_is_a_tree(rows, names):
    expected = slow_paths(rows, names) if len({key for key, _ in rows}) == len(rows) else None
    keys, parents, _ = columns(rows)
    own = [names[key] for key in keys]
    if expected is None:
        with pytest.raises(UserError):
            Hierarchy.from_edges(keys, parents, own)
    else:
        tree = Hierarchy.from_edges(keys, parents, own)
        found = {key: {tree.paths[node] for node in ids} for key, ids in tree.key_to_ids.items()}
        assert found == {k: {" > ".join(path) for path in v} for k, v in expected.items()}
        assert tree.num_nodes == len(keys)


@given(tables, names_of)
def test_duplicating_gives_one_node_per_path_from_a_root(rows, names):
    expected = slow_paths(rows, names)
    keys, parents, _ = columns(rows)
    own = [names[key] for key in keys]
    if expected is None:
        with pytest.raises(UserError):
            paths_of_edges(keys, parents, own, multi_parent="duplicate")
    else:
        found = paths_of_edges(keys, parents, own, multi_parent="duplicate")
        assert {key: sorted(paths) for key, paths in found.items()} == {
            key: sorted(paths) for key, paths in expected.items()
        }


def test_a_node_of_two_parents_is_repeated_with_all_below_it():
    rows: list[Row] = [("a", None), ("b", None), ("c", "a"), ("c", "b"), ("d", "c")]
    tree = Hierarchy.from_edges(*columns(rows), multi_parent="duplicate")
    assert tree.paths == ["a", "b", "a > c", "b > c", "a > c > d", "b > c > d"]
    assert tree.key_to_ids == {"a": [0], "b": [1], "c": [2, 3], "d": [4, 5]}


def test_two_parents_are_refused_by_name():
    message = error_of([("a", None), ("b", None), ("c", "a"), ("c", "b")])
    assert "'c' has 2 parents ('a', 'b')" in message
    assert "multi_parent: duplicate" in message


def test_a_cycle_is_spelled_out_although_a_node_hangs_below_it():
    message = error_of([("hanging", "x"), ("x", "y"), ("y", "z"), ("z", "x"), ("root", None)])
    assert "cycle x -> y -> z -> x" in message


@pytest.mark.parametrize("multi_parent", ["error", "duplicate"])
def test_a_node_that_is_its_own_parent_is_named(multi_parent):
    assert "'b' is its own parent" in error_of([("a", None), ("b", "b")], None, multi_parent)


def test_an_orphan_and_the_missing_parent_are_named():
    message = error_of([("a", None), ("b", "gone")])
    assert "'b'" in message
    assert "'gone'" in message


def test_a_repeated_row_is_named():
    assert "'b' is listed twice under parent 'a'" in error_of([("a", None), ("b", "a"), ("b", "a")])


def test_a_repeated_root_is_named_as_a_root():
    message = error_of([("a", None), ("a", None)])
    assert "'a'" in message
    assert "None" not in message


def test_a_key_with_two_names_is_refused():
    rows: list[Row] = [("1", None), ("2", None), ("3", "1"), ("3", "2")]
    message = error_of(rows, ["A", "B", "C", "D"], "duplicate")
    assert "'3' has two names, 'C' and 'D'" in message


def test_two_keys_of_one_path_are_named():
    message = error_of([("1", None), ("2", "1"), ("3", "1")], ["Shoes", "Boots", "Boots"])
    assert "'2' and '3' have the same path 'Shoes > Boots'" in message


def test_a_node_without_a_name_is_refused():
    assert "'Shoes > '" in error_of([("1", None), ("2", "1")], ["Shoes", ""])


def test_an_empty_table_is_refused():
    assert "empty" in error_of([])


def test_a_chain_of_ten_thousand_names_the_first_node_too_deep():
    message = error_of(chain(10_000))
    assert f"node 'n{MAX_DEPTH}'" in message
    assert f"{MAX_DEPTH} levels" in message


def test_the_deepest_allowed_chain_is_a_tree():
    assert Hierarchy.from_edges(*columns(chain(MAX_DEPTH))).depth == MAX_DEPTH


def test_a_cycle_of_ten_thousand_is_shortened():
    rows = chain(10_000)
    rows[0] = ("n0", "n9999")
    message = error_of(rows)
    assert "n0 -> n9999" in message
    assert len(message) < 200


def test_runaway_duplication_is_stopped():
    """Twenty diamonds in a row would make 2 ** 20 copies of the last node."""
    rows: list[Row] = [("top0", None)]
    for number in range(20):
        left, right, end = f"left{number}", f"right{number}", f"top{number + 1}"
        rows += [(left, f"top{number}"), (right, f"top{number}"), (end, left), (end, right)]
    assert str(MAX_COPIES * 61) in error_of(rows, None, "duplicate")
