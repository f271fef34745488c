"""The loss from the drawn columns alone."""

import pytest
import torch

from hierarchy_lm.batches import SparseTargets
from hierarchy_lm.losses import (
    BootstrapOptions,
    DHPCLoss,
    DHPCOptions,
    LabelSpace,
    NegativeOptions,
    TemperatureOptions,
)

B, N = 5, 40
TARGETS = SparseTargets(torch.tensor([0, 0, 1, 3, 4, 4]), torch.tensor([3, 17, 17, 39, 0, 21]))
GENERATOR = torch.Generator().manual_seed(0)
LABELS = LabelSpace(
    torch.randint(0, 50, (N,), generator=GENERATOR),
    torch.randint(-1, 5, (N,), generator=GENERATOR),
    torch.randn(N, 6, generator=GENERATOR),
)
SAMPLERS = ["uniform", "bernoulli", "frequency", "confusion", "semantic"]


def shared_loss(sampler="uniform", scale="unbiased", bootstrap=None, keep=0.3):
    negatives = NegativeOptions(keep, sampler, scale, "batch")
    options = DHPCOptions(
        bootstrap or BootstrapOptions(), negatives, TemperatureOptions(0.9), label_smoothing=0.1
    )
    return DHPCLoss(options, N, LABELS)


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("scale", ["paper", "unbiased", "none"])
@pytest.mark.parametrize("bootstrap", [None, BootstrapOptions(0.8, over="sampled")])
def test_columns_give_the_loss_and_gradient_of_the_full_logits(sampler, scale, bootstrap):
    logits = torch.randn(B, N, dtype=torch.float64, generator=GENERATOR).requires_grad_()
    results = []
    for by_columns in (False, True):
        loss = shared_loss(sampler, scale, bootstrap)
        torch.manual_seed(1)
        if by_columns:
            columns = loss.columns(TARGETS, 0)
            value = loss.forward_columns(logits[:, columns], columns, TARGETS, 0)
        else:
            value = loss(logits, TARGETS, 0)
        results.append([value, *torch.autograd.grad(value, logits)])
    torch.testing.assert_close(results[1], results[0])


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_columns_are_the_sorted_draw_and_every_positive(sampler):
    loss = shared_loss(sampler)
    torch.manual_seed(2)
    columns = loss.columns(TARGETS, 0).tolist()
    torch.manual_seed(2)
    sample = loss.sampler.use(loss.sampler.shared(TARGETS), TARGETS, B)
    drawn = set(sample.dense(TARGETS, B, N)[2].nonzero()[:, 0].tolist())  # without positives
    assert 0 < len(drawn) < N
    assert columns == sorted(drawn | set(TARGETS.labels.tolist()))


@pytest.mark.parametrize(
    "negatives",
    [
        NegativeOptions(),
        NegativeOptions(0.3),
        NegativeOptions(0.9, per="batch"),  # gathering would cost more than it saves
        NegativeOptions(1.0, per="batch"),
    ],
)
def test_other_draws_take_all_columns(negatives):
    assert DHPCLoss(DHPCOptions(negatives=negatives), N).columns(TARGETS, 0) is None


def test_bootstrap_over_all_labels_needs_all_columns_from_its_gate_on():
    loss = shared_loss(bootstrap=BootstrapOptions(0.8, t_gate=3))
    assert loss.columns(TARGETS, 2) is not None
    assert loss.columns(TARGETS, 3) is None


def test_without_columns_nothing_is_drawn():
    before = torch.get_rng_state()
    DHPCLoss(DHPCOptions(negatives=NegativeOptions(0.3)), N).columns(TARGETS, 0)
    assert torch.equal(torch.get_rng_state(), before)


def test_columns_of_another_draw_are_refused():
    loss = shared_loss()
    columns = loss.columns(TARGETS, 0)
    logits = torch.zeros(B, len(columns))
    loss.forward_columns(logits, columns, TARGETS, 0)
    with pytest.raises(ValueError, match="drawn last"):
        loss.forward_columns(logits, columns, TARGETS, 0)


def test_confusion_is_followed_on_the_columns_that_are_there():
    loss = shared_loss("confusion")
    columns = loss.columns(TARGETS, 0)
    loss.forward_columns(torch.full((B, len(columns)), -20.0), columns, TARGETS, 0)
    estimate = loss.sampler.preferences.confusion
    moved = set((estimate != 0.5).nonzero()[:, 0].tolist())
    assert moved
    assert moved < set(columns.tolist())
    torch.testing.assert_close(estimate[list(moved)], torch.full((len(moved),), 0.475))
