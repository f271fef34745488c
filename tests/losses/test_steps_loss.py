"""The loss of decoding by steps against loops over its definition."""

import math
from itertools import pairwise

import pytest
import torch

from hierarchy_lm.batches import SparseTargets
from hierarchy_lm.losses.steps import any_level_step_bce, level_steps_bce, steps_of

OFFSETS = [0, 2, 5, 6]
ENDS = torch.tensor(OFFSETS[1:])
C, L = 6, 3
# Two paths of different lengths; a root; all levels; nothing.
DOCUMENTS: list[list[int]] = [[0, 1, 3], [1], [0, 2, 5], []]
TARGETS = SparseTargets(
    torch.tensor([d for d, nodes in enumerate(DOCUMENTS) for _ in nodes]),
    torch.tensor([node for nodes in DOCUMENTS for node in nodes]),
)
DEPTHS = [2, 1, 3, 0]
STEPS = steps_of(TARGETS, ENDS, len(DOCUMENTS))


def level_of(node: int) -> int:
    return next(n for n, (a, b) in enumerate(pairwise(OFFSETS)) if a <= node < b)


def bce(z: float, target: bool) -> float:
    return math.log1p(math.exp(z)) - z * target


def slow(nodes: torch.Tensor, stops: torch.Tensor, reduction: str, any_level: bool) -> float:
    """``nodes`` (B, L + 1, C): those of each step."""
    total = 0.0
    for document, own in enumerate(DOCUMENTS):
        for step in range(DEPTHS[document] + 1):
            due = [node for node in own if level_of(node) == step]
            among = range(C) if any_level else [n for n in range(C) if level_of(n) == step]
            terms = [bce(float(nodes[document, step, n]), n in due) for n in among]
            terms.append(bce(float(stops[document, step]), step == DEPTHS[document]))
            shares = {"mean": len(terms), "sum": 1, "positives": max(1, len(due))}
            total += sum(terms) / shares[reduction]
    return total / len(DOCUMENTS)


def test_the_stop_symbol_is_due_behind_the_deepest_level():
    assert STEPS.levels.tolist() == [level_of(node) for nodes in DOCUMENTS for node in nodes]
    assert STEPS.stops.tolist() == DEPTHS


@pytest.mark.parametrize("reduction", ["mean", "sum", "positives"])
def test_levels_apart(reduction):
    torch.manual_seed(0)
    nodes, stops = torch.randn(4, C), torch.randn(4, L + 1)
    found = level_steps_bce(nodes, stops, STEPS, OFFSETS, reduction)
    expected = slow(nodes[:, None].expand(-1, L + 1, -1), stops, reduction, any_level=False)
    assert float(found) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("reduction", ["mean", "sum", "positives"])
def test_all_labels_at_every_step(reduction):
    torch.manual_seed(0)
    nodes, stops = torch.randn(4, L + 1, C), torch.randn(4, L + 1)
    found = sum(
        float(
            any_level_step_bce(
                torch.cat([nodes[:, step], stops[:, step : step + 1]], dim=1),
                step, L + 1, STEPS, reduction,
            )
        )
        for step in range(L + 1)
    )  # fmt: skip
    assert found == pytest.approx(slow(nodes, stops, reduction, any_level=True), rel=1e-5)


def test_behind_the_stop_symbol_nothing_is_learnt():
    nodes = torch.randn(4, C, requires_grad=True)
    stops = torch.randn(4, L + 1, requires_grad=True)
    level_steps_bce(nodes, stops, STEPS, OFFSETS, "mean").backward()
    assert nodes.grad is not None
    assert stops.grad is not None
    for document, depth in enumerate(DEPTHS):
        learnt = [level_of(n) <= depth for n in range(C)]
        assert (nodes.grad[document] != 0).tolist() == learnt
        assert (stops.grad[document] != 0).tolist() == [step <= depth for step in range(L + 1)]
