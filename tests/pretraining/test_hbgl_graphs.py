"""Label graphs on a tree of seven nodes, against loops over their definition."""

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor

from hierarchy_lm.hierarchy import Hierarchy
from hierarchy_lm.pretraining.hbgl_graphs import batch_graphs, graph_loss, graph_targets
from hierarchy_lm.pretraining.hbgl_subtrees import Subtree

#      A           B
#   a  b  c        d
#   x
TREE = Hierarchy.from_paths([("A", "a", "x"), ("A", "b"), ("A", "c"), ("B", "d")])
A, B, Aa, Ab, Ac, Bd, X = range(7)
WHOLE = Subtree(np.arange(7), np.array([-1, -1, A, A, A, B, Aa]))
BELOW = Subtree(np.array([A, Ab, Ac]), np.array([-1, 0, 0]))
# What a, b, c and d stand for if just they are masked.
OURS = {Aa: {Aa}, Ab: {Ab, Ac}, Ac: {Ab, Ac}, Bd: {Bd}}
OFFICIAL = {Aa: {Aa}, Ab: {Ab}, Ac: {Ac, Bd}, Bd: {Ac, Bd}}


def mask(*nodes: int, of: Subtree = WHOLE) -> np.ndarray:
    return np.isin(of.nodes, nodes)


def test_the_tree_of_these_tests():
    assert TREE.paths == ["A", "B", "A > a", "A > b", "A > c", "B > d", "A > a > x"]
    assert WHOLE.leaves.tolist() == [False, False, False, True, True, True, True]


def targets(masked: np.ndarray, **how: bool) -> dict[int, set[int]]:
    graphs = batch_graphs([WHOLE], [masked])
    found = graph_targets(graphs, how.get("siblings", True), how.get("official_bug", False))[0]
    return {
        row: set(torch.nonzero(found[row])[:, 0].tolist()) for row in range(7) if any(found[row])
    }


def test_a_masked_leaf_stands_for_its_masked_siblings_and_an_inner_node_for_itself():
    assert targets(mask(Aa, Ab, Ac, Bd)) == OURS
    assert targets(mask(A, Ab, X)) == {A: {A}, Ab: {Ab}, X: {X}}


def test_with_cross_entropy_every_node_stands_for_itself():
    assert targets(mask(Ab, Ac), siblings=False) == {Ab: {Ab}, Ac: {Ac}}


def test_the_official_code_looks_up_the_node_before():
    """Ac is looked up as Ab, Bd as Ac: leaves below A. Ab is looked up as Aa, an inner node."""
    assert targets(mask(Aa, Ab, Ac, Bd), official_bug=True) == OFFICIAL


def links(both_ways: bool) -> list[set[int]]:
    """Whom each of [CLS] (0) and the nodes (from 1 on) attends to."""
    found = batch_graphs([WHOLE], [mask()]).links(both_ways)[0]
    return [set(torch.nonzero(row)[:, 0].tolist()) for row in found]


def test_nodes_attend_to_parent_and_children_alone():
    a, b, aa, ab, ac, bd, x = (node + 1 for node in range(7))
    assert links(both_ways=True) == [
        {a, b}, {0, aa, ab, ac}, {0, bd}, {a, x}, {a}, {a}, {b}, {aa}
    ]  # fmt: skip


def test_one_way_parents_attend_to_children_and_leaves_to_all():
    a, b, aa, ab, ac, bd, x = (node + 1 for node in range(7))
    everyone = set(range(8))
    assert links(both_ways=False) == [
        {a, b}, {aa, ab, ac}, {bd}, {x}, everyone, everyone, everyone, everyone
    ]  # fmt: skip


def test_padding_is_seen_by_no_node():
    found = batch_graphs([WHOLE, BELOW], [mask(), mask(of=BELOW)]).links(both_ways=True)
    assert not found[1, :4, 4:].any()
    assert found.any(dim=2).all()


def softplus(z: float) -> float:
    return math.log1p(math.exp(-abs(z))) + max(z, 0.0)


class Masked(NamedTuple):
    """A subtree, who is masked, and what each of these stands for, by place."""

    subtree: Subtree
    mask: np.ndarray
    stands_for: dict[int, set[int]]


def slow_terms(
    cases: Sequence[Masked],
    states: Sequence[Tensor],
    vectors: Tensor,
    loss: str,
    everything: bool,
) -> Iterator[list[float]]:
    """Of every masked node: its terms, one for each candidate, or its cross entropy alone."""
    for (subtree, masked, stands_for), state in zip(cases, states, strict=True):
        candidates = range(7) if everything else subtree.nodes.tolist()
        for place in np.flatnonzero(masked):
            z = {node: float(state[place] @ vectors[node]) for node in candidates}
            right = {int(subtree.nodes[other]) for other in stands_for[int(place)]}
            if loss == "ce":
                own = z[int(subtree.nodes[place])]
                yield [math.log(sum(math.exp(value) for value in z.values())) - own]
            else:
                yield [softplus(z[n]) - z[n] * (n in right) for n in candidates]


@pytest.mark.parametrize("loss", ["bce", "ce"])
@pytest.mark.parametrize("everything", [False, True])
@pytest.mark.parametrize("bug", [False, True])
def test_loss_is_that_of_loops_over_masked_nodes_and_candidates(loss, everything, bug):
    torch.manual_seed(0)
    vectors, states = torch.randn(7, 4).double(), torch.randn(2, 7, 4).double()
    cases = [
        Masked(WHOLE, mask(Aa, Ab, Ac, Bd), OFFICIAL if bug else OURS),
        Masked(BELOW, mask(Ab, of=BELOW), {1: {1}}),
    ]
    graphs = batch_graphs([case.subtree for case in cases], [case.mask for case in cases])
    table = vectors if everything else None
    found = graph_loss(states, vectors[graphs.nodes], graphs, table, loss, bug)
    terms = slow_terms(cases, list(states), vectors, loss, everything)
    assert float(found) == pytest.approx(sum(map(sum, terms)))
