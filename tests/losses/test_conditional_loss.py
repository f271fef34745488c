"""Nodes among their siblings, against loops over documents, parents and nodes in float64."""

import math

import numpy as np
import pytest
import torch

from hierarchy_lm.batches import SparseTargets
from hierarchy_lm.hierarchy import Hierarchy
from hierarchy_lm.losses.conditional import (
    ConditionalLoss,
    log_relative_priors,
    logit_of_log,
    path_log_probabilities,
)

TREE = Hierarchy.from_paths([("A", "B", "C"), ("A", "B", "D"), ("A", "E"), ("F", "G", "H")])
A, F, AB, AE, FG, ABC, ABD, FGH = range(8)


def forest(seed: int) -> tuple[Hierarchy, SparseTargets]:
    """A ragged forest with only children, and documents of 1 to 3 paths that end anywhere."""
    random = np.random.default_rng(seed)
    paths: list[tuple[str, ...]] = [(f"r{n}",) for n in range(3)]
    for number in range(40):
        above = paths[random.integers(len(paths))]
        if len(above) < 5:
            paths.append((*above, f"n{number:02d}"))
    tree = Hierarchy.from_paths([*paths, (*paths[-1], "only", "child")])
    ends = [random.choice(tree.num_nodes, random.integers(1, 4), replace=False) for _ in range(6)]
    offsets = np.cumsum([0, *map(len, ends)])
    nodes, offsets = tree.close(np.concatenate(ends).astype(np.int32), offsets)
    documents = np.repeat(np.arange(6), np.diff(offsets))
    return tree, SparseTargets(torch.from_numpy(documents), torch.from_numpy(nodes).long())


def random_logits(tree: Hierarchy, scale: float = 3.0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return scale * torch.randn(6, tree.num_nodes, generator=generator)


def children_of(tree: Hierarchy, parent: int) -> list[int]:
    return [node for node in range(tree.num_nodes) if tree.parents[node] == parent]


def slow_log_probability(tree, row, node, activation):
    if activation == "sigmoid":
        return torch.log(1 / (1 + torch.exp(-row[node])))
    siblings = children_of(tree, tree.parents[node])
    return row[node] - torch.log(sum(torch.exp(row[sibling]) for sibling in siblings))


def slow_loss(tree, logits, targets, activation):
    total = torch.zeros((), dtype=torch.float64)
    for document, row in enumerate(logits.double()):
        gold = set(targets.labels[targets.documents == document].tolist())
        for parent in {-1} | gold:
            children = children_of(tree, parent)
            own = [child for child in children if child in gold]
            if activation == "softmax":
                for child in own:
                    log_p = slow_log_probability(tree, row, child, activation)
                    total = total - log_p / len(own)
                continue
            for child in children:
                p = 1 / (1 + torch.exp(-row[child]))
                total = total - torch.log(p if child in gold else 1 - p)
    return total / len(logits)


@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
@pytest.mark.parametrize("seed", range(3))
def test_loss_and_gradient_equal_those_of_loops(activation, seed):
    tree, targets = forest(seed)
    fast = random_logits(tree).requires_grad_()
    slow = random_logits(tree).requires_grad_()
    loss = ConditionalLoss(tree.parents, activation)(fast, targets)
    expected = slow_loss(tree, slow, targets, activation)
    loss.backward()
    expected.backward()
    torch.testing.assert_close(loss.double(), expected, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(fast.grad, slow.grad, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
def test_path_probabilities_equal_products_along_each_path(activation):
    tree, _ = forest(1)
    logits = random_logits(tree)
    expected = torch.zeros(logits.shape, dtype=torch.float64)
    for document, row in enumerate(logits.double()):
        for node in range(tree.num_nodes):
            for step in [*tree.ancestors(node), node]:
                expected[document, node] += slow_log_probability(tree, row, step, activation)
    found = path_log_probabilities(
        ConditionalLoss(tree.parents, activation).log_probabilities(logits),
        torch.from_numpy(tree.parents).long(),
        tree.level_offsets.tolist(),
    )
    torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=1e-5)


def targets_of(pairs: list[tuple[int, int]]) -> SparseTargets:
    return SparseTargets(*torch.tensor(pairs).T.contiguous())


def test_a_product_in_two_departments_spreads_its_target_among_the_roots_alone():
    """Zero logits: 2 roots, 2 children of A, 1 of F, 2 of AB; G and H are only children."""
    loss = ConditionalLoss(TREE.parents, "softmax")
    zero = torch.zeros(1, 8)
    both = targets_of([(0, A), (0, F), (0, AB), (0, FG), (0, ABC), (0, FGH)])
    assert loss(zero, both).item() == pytest.approx(3 * math.log(2))
    z = torch.tensor([[2.0, -1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]])
    shares = 0.5 * (math.log1p(math.exp(-3)) + math.log1p(math.exp(3)))
    assert loss(z, both).item() == pytest.approx(shares + 2 * math.log(2))


def test_where_a_path_ends_softmax_asks_nothing_and_sigmoid_for_no_child():
    ends_at_b = targets_of([(0, A), (0, AB)])
    zero = torch.zeros(1, 8)
    assert ConditionalLoss(TREE.parents, "softmax")(zero, ends_at_b).item() == pytest.approx(
        2 * math.log(2)
    )
    z = torch.zeros(1, 8, requires_grad=True)
    loss = ConditionalLoss(TREE.parents, "sigmoid")(z, ends_at_b)
    assert loss.item() == pytest.approx(6 * math.log(2))  # 2 roots, B and E, C and D
    loss.backward()
    assert z.grad.tolist() == [[-0.5, 0.5, -0.5, 0.5, 0.0, 0.5, 0.5, 0.0]]


@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
def test_huge_logits_stay_exact(activation):
    """One set far below another must not underflow, whatever the other's highest logit is."""
    z = torch.tensor([[1e4, 1e4, -1e4, -1e4 + 1, 0.0, 3e4, 3e4 - 2, -3e4]], requires_grad=True)
    path = targets_of([(0, A), (0, AB), (0, ABC)])
    loss = ConditionalLoss(TREE.parents, activation)(z, path)
    softmax = math.log(2) + math.log1p(math.e) + math.log1p(math.exp(-2))
    sigmoid = 1e4 + 1e4 + (3e4 - 2)  # F, B and D, all on the wrong side
    assert loss.item() == pytest.approx(softmax if activation == "softmax" else sigmoid)
    loss.backward()
    assert z.grad.isfinite().all()


def test_logits_of_probabilities_are_exact_at_both_ends():
    p = torch.tensor([1e-30, 1e-9, 0.25, 0.5, 0.7, 1 - 1e-6], dtype=torch.float64)
    found = logit_of_log(torch.log(p).float())
    torch.testing.assert_close(found.double(), torch.logit(p), rtol=1e-4, atol=1e-6)
    tiny = logit_of_log(torch.tensor([-1e-30, -200.0]))  # p itself is rounded to 1, and to 0
    torch.testing.assert_close(tiny, torch.tensor([69.07755, -200.0]))
    certain, impossible = logit_of_log(torch.tensor([0.0, -math.inf])).tolist()
    assert (certain, impossible) == (math.inf, -math.inf)


def test_priors_are_relative_to_the_siblings_mean():
    frequencies = np.array([8, 0, 6, 2, 0, 5, 0, 0])
    found = log_relative_priors(frequencies, TREE.parents)
    # With one more document each: A, F = 9, 1; B, E = 7, 3; C, D = 6, 1; G and H are alone.
    expected = [9 / 5, 1 / 5, 7 / 5, 3 / 5, 1.0, 6 / 3.5, 1 / 3.5, 1.0]
    assert found.dtype == np.float32
    np.testing.assert_allclose(np.exp(found), expected, rtol=1e-6)


@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
def test_bfloat16_logits_are_reduced_in_float32(activation):
    tree, targets = forest(2)
    rounded = random_logits(tree).bfloat16()
    loss = ConditionalLoss(tree.parents, activation)(rounded, targets)
    assert loss.dtype == torch.float32
    expected = slow_loss(tree, rounded, targets, activation)
    torch.testing.assert_close(loss.double(), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
def test_float64_logits_are_reduced_in_float64(activation):
    """As in a run of 64-true, whose default is float64."""
    tree, targets = forest(2)
    logits = random_logits(tree).double()
    loss = ConditionalLoss(tree.parents, activation)(logits, targets)
    torch.testing.assert_close(
        loss, slow_loss(tree, logits, targets, activation), rtol=1e-13, atol=0
    )
