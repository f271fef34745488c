"""Decoding against rules written out node by node."""

import math

import numpy as np
import pytest
import torch

from hierarchy_lm.decoding import DecodeOptions, decode
from hierarchy_lm.hierarchy import Hierarchy

# Ids:                         0      1      2        3        4        5          6
TREE = Hierarchy.from_paths([("a", "c", "f"), ("a", "d"), ("b", "e", "g")])
A, B, C, D, E, F, G = range(7)


def logit(probability: float) -> float:
    return math.log(probability / (1 - probability))


def decoded(
    probabilities: list[float], constraint: str, threshold: float | None = None
) -> set[int]:
    logits = torch.tensor([[logit(p) for p in probabilities]])
    pairs = decode(logits, TREE, DecodeOptions(constraint, threshold))  # type: ignore[arg-type]
    return set(pairs.labels.tolist())


def test_the_tree_of_these_tests():
    assert TREE.names == list("abcdefg")
    assert TREE.level_offsets.tolist() == [0, 2, 5, 7]


#                 a    b    c    d    e    f    g
PROBABILITIES = [0.9, 0.4, 0.2, 0.8, 0.7, 0.6, 0.1]


@pytest.mark.parametrize(
    ("constraint", "threshold", "expected"),
    [
        ("none", None, {A, D, E, F}),  # the parents of e and f are missing
        ("none", 0.5, {A, D, E, F}),
        ("none", 0.65, {A, D, E}),
        ("parent", None, {A, D}),
        ("parent", 0.3, {A, B, D, E}),  # two paths; f stays without its parent c at 0.2
        ("parent", 0.05, {A, B, C, D, E, F, G}),
        ("top1", None, {A, D, F}),  # f is not below d
        ("top1", 0.0, {A, D, F}),
        ("top1", 0.7, {A, D}),
        ("top1", 0.85, {A}),
    ],
)
def test_hand_made_document(constraint, threshold, expected):
    assert decoded(PROBABILITIES, constraint, threshold) == expected


def test_a_node_goes_with_its_grandparent():
    assert decoded([0.1, 0.1, 0.9, 0.1, 0.1, 0.9, 0.1], "parent") == set()


def test_nothing_probable_is_no_prediction_but_top1_always_answers():
    quiet = [0.01, 0.02, 0.01, 0.03, 0.02, 0.02, 0.01]
    assert decoded(quiet, "none") == decoded(quiet, "parent") == set()
    assert decoded(quiet, "top1") == {B, D, F}


def random_tree(random: np.random.Generator) -> Hierarchy:
    paths = [("r",)]
    for number in range(40):
        above = paths[random.integers(len(paths))] if random.random() < 0.8 else ()
        paths.append((*above, f"n{number}"))
    return Hierarchy.from_paths(paths)


def slowly(row: np.ndarray, tree: Hierarchy, constraint: str, threshold: float) -> list[int]:
    """One document, with sets and loops."""
    probability = 1 / (1 + np.exp(-row.astype(np.float64)))
    chosen = {node for node in range(tree.num_nodes) if probability[node] > threshold}
    if constraint == "parent":
        return sorted(node for node in chosen if set(tree.ancestors(node)) <= chosen)
    if constraint == "top1":
        best = []
        for level in range(1, tree.depth + 1):
            nodes = [node for node in range(tree.num_nodes) if tree.levels[node] == level]
            best.append(max(nodes, key=lambda node: probability[node]))
        return [node for node in best if node in chosen]
    return sorted(chosen)


@pytest.mark.parametrize("constraint", ["none", "parent", "top1"])
@pytest.mark.parametrize("threshold", [0.1, 0.5, 0.8])
@pytest.mark.parametrize("seed", range(4))
def test_equals_a_slow_loop_over_random_trees(constraint, threshold, seed):
    random = np.random.default_rng(seed)
    tree = random_tree(random)
    logits = random.normal(0.5, 1.5, (25, tree.num_nodes)).astype(np.float32)
    pairs = decode(torch.from_numpy(logits), tree, DecodeOptions(constraint, threshold))
    expected = [
        (document, node)
        for document, row in enumerate(logits)
        for node in slowly(row, tree, constraint, threshold)
    ]
    assert list(zip(*map(torch.Tensor.tolist, pairs), strict=True)) == expected


def test_the_decoded_set_of_parent_is_closed_and_part_of_none():
    random = np.random.default_rng(7)
    tree = random_tree(random)
    logits = torch.from_numpy(random.normal(size=(30, tree.num_nodes)))
    free = set(zip(*map(torch.Tensor.tolist, decode(logits, tree)), strict=True))
    pairs = decode(logits, tree, DecodeOptions("parent"))
    kept = set(zip(*map(torch.Tensor.tolist, pairs), strict=True))
    assert kept < free
    for document, node in kept:
        assert all((document, above) in kept for above in tree.ancestors(node))


def test_a_tiny_positive_logit_counts_as_more_than_one_half():
    # Its sigmoid is rounded to one half; F1 from logits counts it, so must decoding.
    logits = torch.full((1, TREE.num_nodes), 1e-9)
    assert torch.sigmoid(logits).max() == 0.5
    assert len(decode(logits, TREE).labels) == TREE.num_nodes
    assert len(decode(torch.zeros(1, TREE.num_nodes), TREE).labels) == 0


@pytest.mark.parametrize("constraint", ["none", "parent", "top1"])
def test_logits_are_left_as_they_were_and_no_documents_give_no_pairs(constraint):
    options = DecodeOptions(constraint)
    logits = torch.randn(5, TREE.num_nodes)
    before = logits.clone()
    decode(logits, TREE, options)
    assert torch.equal(logits, before)
    assert len(decode(torch.empty(0, TREE.num_nodes), TREE, options).documents) == 0


@pytest.mark.parametrize("threshold", [-0.1, 1.0, 50.0, math.nan])
def test_a_threshold_that_is_no_probability_is_refused(threshold):
    with pytest.raises(ValueError, match=r"decode\.threshold"):
        DecodeOptions(threshold=threshold)
