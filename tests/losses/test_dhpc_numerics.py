"""DHPCLoss: its gradient, extreme logits, low precision, and memory."""

import math

import pytest
import torch
from torch.nn import functional as F

from hierarchy_lm.batches import SparseTargets
from hierarchy_lm.losses import (
    BootstrapOptions,
    DHPCLoss,
    DHPCOptions,
    NegativeOptions,
    TemperatureOptions,
)

from .dhpc_cases import BOOTSTRAPS, NEGATIVES, TARGETS, B, N, one_document, random_logits

LN2 = math.log(2)


@pytest.mark.parametrize("bootstrap", BOOTSTRAPS)
@pytest.mark.parametrize("negatives", [NEGATIVES[0], NEGATIVES[1], NEGATIVES[-2]])
def test_gradcheck(bootstrap, negatives):
    options = DHPCOptions(bootstrap, negatives, TemperatureOptions(0.9), 0.1)
    loss = DHPCLoss(options, N)

    def with_one_draw(logits):
        torch.manual_seed(2)
        return loss(logits, TARGETS, 5)

    logits = random_logits(seed=1).requires_grad_()
    assert torch.autograd.gradcheck(with_one_draw, (logits,), fast_mode=True)


def test_a_detached_belief_is_a_constant_target():
    logits = random_logits().requires_grad_()
    q = torch.sigmoid(logits).detach()
    for form, belief in [
        ("paper", -(q * F.logsigmoid(logits)).sum()),
        ("symmetric", -(q * F.logsigmoid(logits) + (1 - q) * F.logsigmoid(-logits)).sum()),
    ]:
        options = DHPCOptions(BootstrapOptions(0.7, form=form, detach=True))
        plain = DHPCLoss(DHPCOptions(), N)(logits, TARGETS, 0)
        expected = torch.autograd.grad(0.7 * plain + 0.3 * belief / B, logits)
        ours = torch.autograd.grad(DHPCLoss(options, N)(logits, TARGETS, 0), logits)
        torch.testing.assert_close(ours, expected)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("bootstrap", BOOTSTRAPS)
@pytest.mark.parametrize("negatives", [NEGATIVES[0], NEGATIVES[1], NEGATIVES[-2]])
def test_extreme_logits_give_a_finite_loss_and_gradient(bootstrap, negatives, dtype):
    loss = DHPCLoss(DHPCOptions(bootstrap, negatives, TemperatureOptions(0.5), 0.1), N)
    signs = torch.tensor([[1.0, -1.0] * N, [-1.0, 1.0] * N])[:, :N].repeat(2, 1)
    for magnitude in (200.0, 90.0, 17.0, 0.0):
        logits = (magnitude * signs).to(dtype).requires_grad_()
        value = loss(logits, TARGETS, 5)
        value.backward()
        assert value.dtype is torch.float32
        assert torch.isfinite(value)
        assert logits.grad is not None
        assert torch.isfinite(logits.grad).all()


def test_confident_mistakes_cost_their_logits():
    # 200 / 0.5 on one missed positive; the right labels cost nothing, and have no entropy.
    options = DHPCOptions(BootstrapOptions(0.9), temperature=TemperatureOptions(0.5))
    logits = torch.tensor([[-200.0, 200.0, -200.0]], requires_grad=True)
    loss = DHPCLoss(options, 3)(logits, one_document({0, 1}), 0)
    loss.backward()
    assert loss.item() == pytest.approx(0.9 * 400)
    assert logits.grad is not None
    torch.testing.assert_close(logits.grad, torch.tensor([[-0.9 / 0.5, 0.0, 0.0]]))


def test_bfloat16_logits_are_summed_in_float32_also_under_autocast():
    # 30,000 terms of ln 2: a bfloat16 sum would stop growing at 256.
    logits = torch.zeros(1, 30_000, dtype=torch.bfloat16)
    loss = DHPCLoss(DHPCOptions(BootstrapOptions(0.5, form="symmetric")), 30_000)
    with torch.autocast("cpu", torch.bfloat16):
        value = loss(logits, one_document({7}), 0)
    assert value.item() == pytest.approx(30_000 * LN2, rel=1e-5)


def test_an_incoming_gradient_scales_ours():
    logits = random_logits().requires_grad_()
    loss = DHPCLoss(DHPCOptions(BootstrapOptions(0.7)), N)
    (once,) = torch.autograd.grad(loss(logits, TARGETS, 0), logits)
    (thrice,) = torch.autograd.grad(3 * loss(logits, TARGETS, 0), logits)
    torch.testing.assert_close(thrice, 3 * once)


def test_no_dense_target_is_made_at_thirty_thousand_labels():
    """Beside the gradient, both passes hold pieces of a mebibyte."""
    logits = torch.zeros(64, 30_000, requires_grad=True)
    labels = torch.arange(64)
    options = DHPCOptions(BootstrapOptions(0.9), NegativeOptions(0.7))
    loss = DHPCLoss(options, 30_000)
    with torch.profiler.profile(profile_memory=True) as profile:
        loss(logits, SparseTargets(labels, labels), 0).backward()
    largest = sorted(event.self_cpu_memory_usage for event in profile.events())[-2:]
    gradient = logits.numel() * logits.element_size()
    assert largest[-1] == gradient
    assert largest[-2] < gradient / 4
