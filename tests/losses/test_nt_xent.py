"""NT-Xent against hand-computed values and loops."""

import math

import numpy as np
import pytest
import torch

from hierarchy_lm.losses.nt_xent import nt_xent


def by_loops(first: torch.Tensor, second: torch.Tensor, tau: float) -> float:
    views = [row / np.linalg.norm(row) for row in torch.cat([first, second]).double().numpy()]
    count = len(first)
    terms = []
    for i, view in enumerate(views):
        scores = {j: math.exp(view @ other / tau) for j, other in enumerate(views) if j != i}
        terms.append(-math.log(scores[(i + count) % (2 * count)] / sum(scores.values())))
    return float(np.mean(terms))


@pytest.mark.parametrize("tau", [1.0, 0.1, 5.0])
def test_equals_the_formula_in_loops(tau: float):
    torch.manual_seed(0)
    first, second = torch.randn(5, 7), torch.randn(5, 7)
    found = nt_xent(first, second, tau).item()
    assert found == pytest.approx(by_loops(first, second, tau), rel=1e-5)


@pytest.mark.parametrize("tau", [1.0, 0.2])
def test_identical_orthogonal_views_have_the_loss_that_one_computes_by_hand(tau: float):
    """Each of 4 documents: one view at cosine 1, six at cosine 0. The lengths do not count."""
    views = torch.eye(4)
    expected = math.log(1 + 6 * math.exp(-1 / tau))
    assert nt_xent(views, 3 * views, tau).item() == pytest.approx(expected, rel=1e-5)


def test_identical_views_of_spread_documents_have_the_least_loss():
    """Gradient descent from random views ends there: opposite documents, equal views."""
    torch.manual_seed(0)
    least = math.log(1 + 2 * math.exp(-2.0))  # 2 documents at cosine -1, tau 1: e / (e + 2 / e)
    line = torch.tensor([[1.0, 0.0], [-1.0, 0.0]])
    assert nt_xent(line, line).item() == pytest.approx(least, rel=1e-5)
    for _ in range(200):
        first, second = torch.randn(2, 2), torch.randn(2, 2)
        assert nt_xent(first, second).item() > least


def test_any_other_second_view_of_orthogonal_documents_is_worse():
    torch.manual_seed(0)
    views = torch.eye(6)
    least = nt_xent(views, views, 0.5)
    for share in (0.1, 0.5, 2.0):
        assert nt_xent(views, views + share * torch.randn(6, 6), 0.5) > least
    assert nt_xent(views, views.roll(1, dims=0), 0.5) > least


def test_a_batch_of_one_document_has_no_loss_and_a_finite_gradient():
    first = torch.randn(1, 3, requires_grad=True)
    loss = nt_xent(first, torch.randn(1, 3))
    loss.backward()
    assert loss.item() == 0.0
    assert first.grad is not None
    assert first.grad.isfinite().all()


def test_half_precision_views_have_a_loss_in_full_precision():
    torch.manual_seed(0)
    first, second = torch.randn(4, 8).bfloat16(), torch.randn(4, 8).bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        found = nt_xent(first, second, 0.1)
    assert found.dtype == torch.float32
    assert found.item() == pytest.approx(by_loops(first.float(), second.float(), 0.1), rel=1e-4)
