"""Tables of relatives against questions to the paths."""

from itertools import product

import pytest
import torch

from hierarchy_lm.hierarchy import Hierarchy
from hierarchy_lm.nn.relatives import Relatives

from .trees import SMALL, distance, random_tree, siblings

TREES = {
    "small": SMALL,
    "random": random_tree(),
    "roots alone": Hierarchy.from_paths([("a",), ("b",)]),
}


@pytest.fixture(params=TREES)
def tree(request) -> Hierarchy:
    return TREES[request.param]


def relatives_of(tree: Hierarchy) -> Relatives:
    return Relatives(tree.parents, tree.level_offsets.tolist())


def test_distances_of_all_pairs(tree):
    pairs = list(product(range(tree.num_nodes), repeat=2))
    left, right = torch.tensor(pairs).T
    found = relatives_of(tree).distance(left, right).tolist()
    assert found == [distance(tree, a, b) for a, b in pairs]


def test_ancestors_are_the_prefixes_of_the_paths(tree):
    table = relatives_of(tree).ancestors
    for node, path in enumerate(tree.paths):
        names = path.split(" > ")
        prefixes = [" > ".join(names[: n + 1]) for n in range(len(names))]
        expected = [tree.node_of(prefix) for prefix in prefixes]
        assert table[:, node].tolist() == expected + [-1] * (tree.depth - len(expected))


def test_ranges_hold_siblings_cousins_and_the_level(tree):
    levels = tree.levels.tolist()
    above = [None if parent < 0 else parent for parent in tree.parents.tolist()]
    grand = [None if parent is None else above[parent] for parent in above]
    ranges = relatives_of(tree).ranges
    for node in range(tree.num_nodes):
        found = [set(range(*ranges[kind, :, node].tolist())) for kind in range(3)]
        same = [n for n in range(tree.num_nodes) if levels[n] == levels[node]]
        assert found[0] == {node, *siblings(tree, node)}
        assert found[1] == {n for n in same if grand[n] == grand[node]}
        assert found[2] == set(same)


def test_the_small_tree_has_children_in_another_order_than_parents():
    assert SMALL.node_of("A") < SMALL.node_of("A & Q")
    assert SMALL.node_of("A > B") > SMALL.node_of("A & Q > D")
