"""Paths of a batch, against loops over the tree."""

from collections import Counter

import numpy as np
import pytest
import torch

from hierarchy_lm.batches import SparseTargets
from hierarchy_lm.hierarchy import Hierarchy
from hierarchy_lm.pretraining.paths import most_specific, one_path

TREE = Hierarchy.from_paths(
    [("A", "B", "C"), ("A", "B", "D"), ("A", "E"), ("F", "G", "H"), ("F", "I"), ("J",)]
)
PARENTS = torch.from_numpy(TREE.parents).long()


def node(path: str) -> int:
    return TREE.node_of(" > ".join(path))


def closed(linked: list[list[int]]) -> SparseTargets:
    """Targets as the token cache holds them, made by climbing the tree."""
    pairs = sorted(
        {(d, n) for d, nodes in enumerate(linked) for one in nodes for n in [*up(one), one]}
    )
    documents, nodes = zip(*pairs, strict=True)
    return SparseTargets(torch.tensor(documents), torch.tensor(nodes))


def up(one: int) -> list[int]:
    above = []
    while TREE.parents[one] >= 0:
        one = int(TREE.parents[one])
        above.append(one)
    return above


def pairs(targets: SparseTargets) -> list[tuple[int, int]]:
    return list(zip(targets.documents.tolist(), targets.labels.tolist(), strict=True))


def test_of_two_paths_both_ends_are_most_specific():
    targets = closed([[node("ABC"), node("FI")]])
    assert set(pairs(most_specific(targets, PARENTS))) == {(0, node("ABC")), (0, node("FI"))}


def test_a_path_that_ends_above_the_leaves_ends_there():
    targets = closed([[node("AB")], [node("J")]])
    assert pairs(most_specific(targets, PARENTS)) == [(0, node("AB")), (1, node("J"))]


def test_of_a_node_and_one_below_it_the_lower_is_taken():
    targets = closed([[node("AB"), node("ABD")], [node("AB"), node("AE")]])
    found = pairs(most_specific(targets, PARENTS))
    assert sorted(found) == sorted([(0, node("ABD")), (1, node("AB")), (1, node("AE"))])


def test_the_last_node_survives_a_root_in_the_document_behind():
    """A root's parent is -1, which taken as a number names the last node of the one before."""
    targets = closed([[TREE.num_nodes - 1], [node("J")]])
    assert pairs(most_specific(targets, PARENTS)) == [(0, TREE.num_nodes - 1), (1, node("J"))]


@pytest.mark.parametrize("seed", range(5))
def test_most_specific_nodes_of_random_products(seed):
    random = np.random.default_rng(seed)
    linked = [random.choice(TREE.num_nodes, random.integers(1, 5)).tolist() for _ in range(40)]
    expected = {
        (document, one)
        for document, nodes in enumerate(linked)
        for one in nodes
        if not any(one in up(other) for other in nodes)
    }
    found = pairs(most_specific(closed(linked), PARENTS))
    assert len(found) == len(set(found))
    assert set(found) == expected


def test_one_path_is_a_whole_path_of_the_product():
    linked = [[node("ABC"), node("FI")], [node("AB")], [node("FGH"), node("AE"), node("J")]]
    for seed in range(20):
        drawn = one_path(closed(linked), PARENTS, TREE.depth, torch.tensor([7, 8, 9]), seed)
        assert pairs(drawn) == sorted(pairs(drawn))
        for document, nodes in enumerate(linked):
            own = {n for d, n in pairs(drawn) if d == document}
            assert own in [{one, *up(one)} for one in nodes]


def test_every_path_is_drawn_as_often():
    linked = [[node("ABC"), node("FI"), node("J")]]
    count = 3000
    rows = torch.arange(count)
    targets = closed(linked * count)
    ends = Counter(most_specific(one_path(targets, PARENTS, 3, rows, 5), PARENTS).labels.tolist())
    assert set(ends) == set(linked[0])
    # 1000 each; the standard deviation is 26.
    assert all(abs(times - count / 3) < 130 for times in ends.values())


def test_the_draw_depends_on_seed_and_row_but_not_on_the_batch():
    linked = [[node("ABC"), node("FI")], [node("ABD"), node("J")]] * 50
    rows = torch.arange(100) * 3
    together = pairs(one_path(closed(linked), PARENTS, 3, rows, 1))
    alone = [
        (document, one)
        for document in range(100)
        for _, one in pairs(
            one_path(closed([linked[document]]), PARENTS, 3, rows[document : document + 1], 1)
        )
    ]
    assert together == alone
    assert pairs(one_path(closed(linked), PARENTS, 3, rows, 2)) != together
    assert pairs(one_path(closed(linked), PARENTS, 3, rows + 1, 1)) != together


def test_a_document_without_nodes_stays_without():
    targets = closed([[node("AE")], [], [node("J")]])
    drawn = one_path(targets, PARENTS, TREE.depth, torch.arange(3), 0)
    assert pairs(drawn) == [(0, node("A")), (0, node("AE")), (2, node("J"))]
