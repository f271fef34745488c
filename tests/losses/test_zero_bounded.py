"""The zero-bounded cross entropy of HPT against loops over documents, levels and labels."""

import math
from itertools import pairwise

import pytest
import torch

from hierarchy_lm.batches import SparseTargets
from hierarchy_lm.losses.zero_bounded import zero_bounded_cross_entropy

OFFSETS = [0, 2, 5]


def targets_of(pairs: list[tuple[int, int]]) -> SparseTargets:
    return SparseTargets(
        torch.tensor([document for document, _ in pairs], dtype=torch.long),
        torch.tensor([label for _, label in pairs], dtype=torch.long),
    )


def slow(logits: torch.Tensor, pairs: list[tuple[int, int]], offsets: list[int]) -> torch.Tensor:
    total = torch.zeros((), dtype=logits.dtype)
    for document, row in enumerate(logits):
        for start, end in pairwise(offsets):
            negatives, positives = torch.ones(2, dtype=logits.dtype)
            for label in range(start, end):
                if (document, label) in pairs:
                    positives = positives + torch.exp(-row[label])
                else:
                    negatives = negatives + torch.exp(row[label])
            total = total + torch.log(negatives) + torch.log(positives)
    return total / len(logits)


def test_a_hand_made_value():
    """Document with label 0 of two and label 3 of three: log 2 or log 3 at logits of 0."""
    found = zero_bounded_cross_entropy(torch.zeros(1, 5), targets_of([(0, 0), (0, 3)]), OFFSETS)
    expected = math.log(1 + 1) + math.log(1 + 1) + math.log(1 + 2) + math.log(1 + 1)
    assert found.item() == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("offsets", [OFFSETS, [0, 5]])
def test_loss_and_gradient_are_those_of_the_loops(offsets):
    """Also with several positives on a level, all of a level, and none at all."""
    pairs = [(0, 0), (0, 1), (0, 2), (0, 4), (1, 1), (3, 0), (3, 1), (3, 2), (3, 3), (3, 4)]
    torch.manual_seed(0)
    logits = (3 * torch.randn(4, 5, dtype=torch.float64)).requires_grad_()
    found = zero_bounded_cross_entropy(logits, targets_of(pairs), offsets)
    expected = slow(logits, pairs, offsets)
    torch.testing.assert_close(found, expected)
    gradients = [torch.autograd.grad(loss, logits)[0] for loss in (found, expected)]
    torch.testing.assert_close(*gradients)


def test_levels_apart_and_all_together_differ_on_two_levels():
    """In one sum the three nodes of the deep level outweigh the two above."""
    logits, targets = torch.ones(1, 5), targets_of([(0, 0), (0, 3)])
    apart = zero_bounded_cross_entropy(logits, targets, OFFSETS)
    together = zero_bounded_cross_entropy(logits, targets, [0, 5])
    e = math.e
    assert apart.item() == pytest.approx(
        math.log(1 + e) + math.log(1 + 2 * e) + 2 * math.log(1 + 1 / e), rel=1e-6
    )
    assert together.item() == pytest.approx(math.log(1 + 3 * e) + math.log(1 + 2 / e), rel=1e-6)


def test_it_vanishes_without_positives_as_the_logits_fall():
    losses = [
        zero_bounded_cross_entropy(torch.full((2, 5), logit), targets_of([]), OFFSETS).item()
        for logit in (-1.0, -10.0, -100.0, -math.inf)
    ]
    assert losses[0] > losses[1] > 1e-6 > losses[2]
    assert losses[3] == 0


@pytest.mark.parametrize("size", [1e4, -1e4])
def test_huge_logits_give_finite_loss_and_gradient(size):
    logits = torch.full((2, 5), size, requires_grad=True)
    loss = zero_bounded_cross_entropy(logits, targets_of([(0, 0), (0, 3)]), OFFSETS)
    loss.backward()
    # Above 0 all negatives are wrong (1 + 2 and 2 + 3 of them), below it two positives.
    wrong = [2 * size, 2 * size] if size > 0 else [-2 * size, 0.0]
    assert loss.item() == pytest.approx(sum(wrong) / 2, rel=1e-3)
    assert logits.grad is not None
    assert logits.grad.isfinite().all()


def test_half_precision_is_computed_in_float32():
    logits = torch.randn(3, 5, generator=torch.Generator().manual_seed(1)).bfloat16()
    targets = targets_of([(0, 0), (1, 3)])
    found = zero_bounded_cross_entropy(logits, targets, OFFSETS)
    assert found.dtype == torch.float32
    assert found == zero_bounded_cross_entropy(logits.float(), targets, OFFSETS)
