"""Distances in the tree and in the space, against searches of paths and SciPy."""

from collections import deque
from itertools import combinations

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cosine
from scipy.stats import spearmanr

from hierarchy_lm.embeddings import distances
from hierarchy_lm.embeddings.distances import distance_profile, spearman, tree_distances

from .conftest import TREE, closed, documents_of


def edges_between(start: int, goal: int) -> int:
    """Breadth-first search in the graph of the tree; -1 is the virtual root."""
    graph = {node: set() for node in range(-1, TREE.num_nodes)}
    for node, parent in enumerate(TREE.parents.tolist()):
        graph[node].add(parent)
        graph[parent].add(node)
    seen, waiting = {start}, deque([(start, 0)])
    while waiting:
        node, steps = waiting.popleft()
        if node == goal:
            return steps
        waiting.extend((other, steps + 1) for other in graph[node] - seen)
        seen |= graph[node]
    raise AssertionError("a tree is connected")


def most_specific(nodes):
    return [n for n in nodes if not any(n in TREE.ancestors(other) for other in nodes)]


def slowly(first, second):
    pairs = [(a, b) for a in most_specific(first) for b in most_specific(second)]
    return min(edges_between(a, b) for a, b in pairs)


def roots(nodes):
    return {node for node in nodes if TREE.levels[node] == 1}


def labelled_pairs(sets):
    return list(combinations([row for row, nodes in enumerate(sets) if nodes], 2))


def test_tree_distance_is_the_shortest_walk(make_documents):
    documents, sets = make_documents(40)
    pairs = labelled_pairs(sets)
    left, right = np.array(pairs).T
    found, within = tree_distances(documents, TREE, left, right)
    assert found.tolist() == [slowly(sets[a], sets[b]) for a, b in pairs]
    assert within.tolist() == [bool(roots(sets[a]) & roots(sets[b])) for a, b in pairs]
    assert {0, 1, 2, 3, 6} <= set(found.tolist())


@pytest.mark.parametrize(
    ("first", "second", "edges"),
    [
        (["a > aa > aaa"], ["a > aa > aab"], 2),
        (["a > aa > aaa"], ["a > ab"], 3),
        (["a"], ["a > aa > aab"], 2),  # a document that stops at its department
        (["a > aa > aaa"], ["b > ba > baa"], 6),  # through the virtual root
        (["c"], ["b"], 2),
        (["a > aa > aaa", "b > bb"], ["b > ba > baa"], 3),  # the nearer of two paths
        (["a > ab", "c"], ["c", "b > bb"], 0),
    ],
)
def test_hand_counted_edges(first, second, edges):
    sets = [closed(map(TREE.node_of, paths)) for paths in (first, second)]
    documents = documents_of(sets, torch.zeros(2, 1))
    found, _ = tree_distances(documents, TREE, np.array([0]), np.array([1]))
    assert found.tolist() == [edges]


def test_profile_of_all_pairs_equals_loops_and_scipy(make_documents, monkeypatch):
    monkeypatch.setattr(distances, "CHUNK", 7)
    documents, sets = make_documents(40)
    pairs = labelled_pairs(sets)
    tree = np.array([slowly(sets[a], sets[b]) for a, b in pairs])
    vectors = documents.vectors.double().numpy()
    space = np.array([cosine(vectors[a], vectors[b]) for a, b in pairs])
    within = np.array([bool(roots(sets[a]) & roots(sets[b])) for a, b in pairs])
    found = distance_profile(documents, TREE, pairs=10_000, seed=0)
    assert found.tree == sorted(set(tree.tolist()))
    assert found.pairs == [int((tree == d).sum()) for d in found.tree]
    assert found.cosine == pytest.approx([space[tree == d].mean() for d in found.tree], abs=1e-5)
    assert found.spearman == pytest.approx(spearmanr(tree, space).statistic, abs=1e-4)
    assert found.pairs_within == within.sum()
    expected = spearmanr(tree[within], space[within]).statistic
    assert found.spearman_within == pytest.approx(expected, abs=1e-4)


def test_random_pairs_come_near_all_pairs_and_return_with_their_seed(make_documents):
    documents, sets = make_documents(300)
    whole = distance_profile(documents, TREE, pairs=100_000, seed=0)
    assert sum(whole.pairs) == len(labelled_pairs(sets))
    drawn = [distance_profile(documents, TREE, pairs=20_000, seed=seed) for seed in (1, 1, 2)]
    assert [sum(one.pairs) for one in drawn] == [20_000] * 3
    assert drawn[0] == drawn[1] != drawn[2]
    assert drawn[0].spearman == pytest.approx(whole.spearman, abs=0.03)
    shares = np.array(whole.pairs) / sum(whole.pairs)
    assert np.array(drawn[0].pairs) / 20_000 == pytest.approx(shares, abs=0.02)


def test_rank_correlation_with_ties_is_that_of_scipy():
    random = np.random.default_rng(0)
    for levels in (2, 5, 50):
        x = random.integers(levels, size=200)
        y = np.round(random.normal(size=200) + x / levels, 1)
        assert spearman(x, y) == pytest.approx(spearmanr(x, y).statistic)
    assert np.isnan(spearman(np.zeros(3, dtype=np.int64), np.arange(3.0)))


def test_too_few_documents_have_no_profile():
    documents = documents_of([{0}, set()], torch.zeros(2, 1))
    assert distance_profile(documents, TREE, pairs=10, seed=0) is None
