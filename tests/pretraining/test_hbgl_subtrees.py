"""Subtrees are connected, of the wanted size, grown evenly."""

from collections import Counter
from itertools import permutations

import numpy as np
import pytest

from hierarchy_lm.errors import UserError
from hierarchy_lm.hierarchy import Hierarchy
from hierarchy_lm.pretraining.hbgl_subtrees import SubtreeSampler

#    A        B
#  a b c      d
#  x          y
TREE = Hierarchy.from_paths([("A", "a", "x"), ("A", "b"), ("A", "c"), ("B", "d", "y")])


def wide_tree() -> Hierarchy:
    """300 nodes in departments of very different sizes, 5 levels."""
    random = np.random.default_rng(0)
    paths: list[tuple[str, ...]] = [(f"r{n}",) for n in range(6)]
    while len(paths) < 300:
        above = paths[int(len(paths) * random.random() ** 2)]
        if len(above) < 5:
            paths.append((*above, f"n{len(paths)}"))
    return Hierarchy.from_paths(paths)


WIDE = wide_tree()


@pytest.mark.parametrize("include_ancestors", [False, True])
def test_every_node_but_the_top_hangs_on_another(include_ancestors):
    sampler = SubtreeSampler(WIDE, 20, 40, include_ancestors)
    random, tops = np.random.default_rng(0), set()
    for _ in range(200):
        subtree = sampler.draw(random)
        assert 20 <= len(subtree.nodes) <= 40
        assert (np.diff(subtree.nodes) > 0).all()
        for place, node in enumerate(subtree.nodes):
            parent, own = WIDE.parents[node], subtree.parents[place]
            if own >= 0:
                assert subtree.nodes[own] == parent
            else:
                assert parent not in subtree.nodes
        (loose,) = np.nonzero(subtree.parents < 0)
        levels = WIDE.levels[subtree.nodes[loose]]
        assert len(loose) == 1 or (levels == 1).all()  # roots hang on [CLS]
        tops.add(int(levels.max()))
    assert tops == ({1} if include_ancestors else {1, 2})


def test_growth_draws_evenly_among_the_children_of_what_it_has():
    """Against all orders of growth from [CLS], by their probabilities."""
    expected: Counter[tuple[int, ...]] = Counter()
    for order in permutations(range(TREE.num_nodes), 3):
        probability = 1.0
        for place, node in enumerate(order):
            have = order[:place]
            open_ = [n for n in range(8) if TREE.parents[n] in (-1, *have) and n not in have]
            probability *= (node in open_) / len(open_)
        expected[tuple(sorted(order))] += probability
    sampler = SubtreeSampler(TREE, 3, 3, include_ancestors=False)
    random, draws = np.random.default_rng(1), 6000
    found = Counter(tuple(sampler._grow(-1, 3, random).tolist()) for _ in range(draws))
    assert sum(expected.values()) == pytest.approx(1)
    possible = {nodes for nodes, probability in expected.items() if probability > 0}
    assert found.keys() == possible
    for nodes in possible:
        share = expected[nodes]
        error = 4 * (share * (1 - share) / draws) ** 0.5
        assert found[nodes] / draws == pytest.approx(share, abs=error)


def test_tops_are_drawn_by_the_root_of_what_lies_below():
    """[CLS] with 8 nodes, A with 5; B has 3 and a 2, too few."""
    sampler = SubtreeSampler(TREE, 4, 5, include_ancestors=False)
    assert sampler.tops.tolist() == [-1, 0]
    assert sampler.weights == pytest.approx(np.sqrt([8, 5]) / np.sqrt([8, 5]).sum())
    assert sampler.mean_size == pytest.approx(4.5)
    random = np.random.default_rng(2)
    draws = [sampler.draw(random) for _ in range(2000)]
    whole_a = sum(draw.nodes.tolist() == [0, 2, 3, 4, 6] for draw in draws)
    assert whole_a / 2000 > sampler.weights[1] / 2 - 0.05  # always if 5 are drawn from A


def test_a_tree_smaller_than_the_minimum_is_one_subtree():
    sampler = SubtreeSampler(TREE, 256, 510, include_ancestors=True)
    subtree = sampler.draw(np.random.default_rng(0))
    assert subtree.nodes.tolist() == list(range(8))
    parents = TREE.parents.tolist()
    assert subtree.parents.tolist() == parents
    assert sampler.mean_size == 8


def test_ancestors_need_a_set_as_large_as_the_tree_is_deep():
    with pytest.raises(UserError, match=r"min_nodes is 4, .* at least the 5 levels .*; raise it"):
        SubtreeSampler(WIDE, 4, 40, include_ancestors=True)
    sampler, random = SubtreeSampler(WIDE, 5, 5, include_ancestors=True), np.random.default_rng(0)
    for node in range(0, 300, 3):
        drawn = [sampler.draw(random), sampler.draw(random, node)]
        assert [len(subtree.nodes) for subtree in drawn] == [5, 5]
        assert node in drawn[1].nodes


def test_a_large_fan_out_is_cut_at_random():
    tree = Hierarchy.from_paths([("A", f"leaf {n}") for n in range(100)])
    sampler = SubtreeSampler(tree, 10, 20, include_ancestors=False)
    seen = np.zeros(101)
    for number in range(200):
        seen[sampler.draw(np.random.default_rng(number)).nodes] += 1
    assert seen[0] == 200
    assert seen[1:].min() > 10


def test_a_node_that_is_asked_for_is_reached_from_close_above_it():
    sampler = SubtreeSampler(WIDE, 20, 40, include_ancestors=False)
    random = np.random.default_rng(0)
    for node in range(0, 300, 7):
        subtree = sampler.draw(random, node)
        assert node in subtree.nodes
        assert 20 <= len(subtree.nodes) <= 40
        (loose,) = np.nonzero(subtree.parents < 0)
        tops = subtree.nodes[loose]
        above = [n for n in [*WIDE.ancestors(node), node] if n in sampler.tops]
        if above:
            assert tops.tolist() == [above[-1]]
        else:
            assert (WIDE.levels[tops] == 1).all()
        for place, parent in zip(subtree.nodes, subtree.parents, strict=True):
            assert parent < 0 or subtree.nodes[parent] == WIDE.parents[place]
