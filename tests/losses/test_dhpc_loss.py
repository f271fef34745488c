"""DHPCLoss against its equations, written out term by term."""

import math

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from hierarchy_lm.losses import (
    BootstrapOptions,
    DHPCLoss,
    DHPCOptions,
    NegativeOptions,
    TemperatureOptions,
)

from .dhpc_cases import BOOTSTRAPS, NEGATIVES, POSITIVES, TARGETS, B, N, one_document, random_logits

LN3 = math.log(3)


def kept_negatives(loss, seed):
    """The draw that the loss makes after this seed."""
    torch.manual_seed(seed)
    negatives = loss.options.negatives
    if negatives.keep == 1:
        return np.ones((B, N), dtype=bool)
    if negatives.per == "batch":
        sample = loss.sampler.use(loss.sampler.shared(TARGETS), TARGETS, B)
    else:
        sample = loss.sampler(TARGETS, B)
    return (sample.dense(TARGETS, B, N) > 0).numpy()


def negative_factor(options, num_negatives):
    """What Eq. 8 puts before its second sum."""
    keep = options.keep
    if keep == 1 or options.scale == "none":
        return 1.0
    if options.scale == "paper":
        return num_negatives / (keep * N)
    if options.sampler == "bernoulli":
        return 1 / keep
    if options.per == "batch":
        return N / round(keep * N)
    return num_negatives / max(1, round(keep * num_negatives))


def transcription(logits, kept, options, step):
    """Eqs. 6 to 10, with every term of Eqs. 6 and 8 negated."""
    boot, smooth = options.bootstrap, options.label_smoothing
    beta = 1.0 if step < boot.t_gate else boot.beta
    total = 0.0
    for b in range(B):
        factor = negative_factor(options.negatives, N - len(POSITIVES[b]))
        for k in range(N):
            q = 1 / (1 + np.exp(-logits[b][k] / options.temperature.at(step)))  # Eq. 10
            hit = k in POSITIVES[b]
            p = (1 - smooth) * hit + smooth / N  # Eq. 9
            weight = 1.0 if hit else factor * kept[b][k]
            total -= weight * beta * (p * np.log(q) + (1 - p) * np.log(1 - q))
            belief = {
                "paper": q * np.log(q),
                "symmetric": q * np.log(q) + (1 - q) * np.log(1 - q),
                "hard": np.log(q) if q > 0.5 else np.log(1 - q),
            }[boot.form]
            keep_belief = 1.0 if boot.over == "all" or options.negatives.keep == 1 else weight
            total -= keep_belief * (1 - beta) * belief
    return total / B / (N if options.class_reduction == "mean" else 1)


@pytest.mark.parametrize("bootstrap", BOOTSTRAPS)
@pytest.mark.parametrize("negatives", NEGATIVES)
def test_loss_equals_its_transcription(bootstrap, negatives):
    logits = random_logits()
    for temperature, smoothing, reduction in [
        (TemperatureOptions(), 0.0, "sum"),
        (TemperatureOptions(0.9), 0.0, "mean"),
        (TemperatureOptions(1.5, "linear", end=0.5, steps=10), 0.2, "sum"),
    ]:
        options = DHPCOptions(bootstrap, negatives, temperature, smoothing, reduction)
        loss = DHPCLoss(options, N)
        for step in (4, 5):
            kept = kept_negatives(loss, seed=step)
            torch.manual_seed(step)
            ours = loss(logits, TARGETS, step)
            expected = transcription(logits.tolist(), kept, options, step)
            assert ours.item() == pytest.approx(expected, rel=1e-6)


BCE_BY_HAND = math.log(4 / 3) + 2 * math.log(4)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        pytest.param(DHPCOptions(), BCE_BY_HAND, id="BCE"),
        pytest.param(DHPCOptions(class_reduction="mean"), BCE_BY_HAND / 3, id="mean over labels"),
        # -q ln q at 3/4, 1/4 and 3/4.
        pytest.param(
            DHPCOptions(BootstrapOptions(0.9)),
            0.9 * BCE_BY_HAND + 0.1 * (1.5 * math.log(4 / 3) + 0.25 * math.log(4)),
            id="bootstrap",
        ),
        # The entropy of a coin of 3/4, three times.
        pytest.param(
            DHPCOptions(BootstrapOptions(0.9, form="symmetric")),
            0.9 * BCE_BY_HAND + 0.1 * 3 * (0.75 * math.log(4 / 3) + 0.25 * math.log(4)),
            id="symmetric bootstrap",
        ),
        # The model's own guesses are all 3/4 sure.
        pytest.param(
            DHPCOptions(BootstrapOptions(0.8, form="hard")),
            0.8 * BCE_BY_HAND + 0.2 * 3 * math.log(4 / 3),
            id="hard bootstrap",
        ),
        # sigmoid(2 ln 3) = 9/10.
        pytest.param(
            DHPCOptions(temperature=TemperatureOptions(0.5)),
            math.log(10 / 9) + 2 * math.log(10),
            id="temperature",
        ),
        # Targets 0.7 + 0.3 / 3 of the positives and 0.3 / 3 of the negative.
        pytest.param(
            DHPCOptions(label_smoothing=0.3),
            (0.8 + 0.2 + 0.1) * math.log(4 / 3) + (0.2 + 0.8 + 0.9) * math.log(4),
            id="label smoothing",
        ),
        # The one negative is always drawn: N_neg / (keep N) = 1 / (0.5 * 3).
        pytest.param(
            DHPCOptions(negatives=NegativeOptions(0.5)),
            math.log(4 / 3) + math.log(4) + 2 / 3 * math.log(4),
            id="printed factor of negatives",
        ),
    ],
)
def test_hand_computed_values(options, expected):
    # q = 3/4 and 1/4 on two positives, 3/4 on a negative.
    logits = torch.tensor([[LN3, -LN3, LN3]], dtype=torch.float64)
    assert DHPCLoss(options, 3)(logits, one_document({0, 1}), 0).item() == pytest.approx(expected)


@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_neutral_options_are_bce_with_logits(temperature):
    logits = random_logits().requires_grad_()
    options = DHPCOptions(temperature=TemperatureOptions(temperature))
    ours = DHPCLoss(options, N)(logits, TARGETS, 0)
    reference = (
        F.binary_cross_entropy_with_logits(
            logits / temperature, TARGETS.dense(B, N).double(), reduction="sum"
        )
        / B
    )
    torch.testing.assert_close(ours, reference)
    torch.testing.assert_close(
        torch.autograd.grad(ours, logits), torch.autograd.grad(reference, logits)
    )


def test_bootstrap_starts_at_the_gate():
    loss = DHPCLoss(DHPCOptions(BootstrapOptions(0.9, t_gate=3)), N)
    plain, gated = DHPCLoss(DHPCOptions(), N), DHPCLoss(DHPCOptions(BootstrapOptions(0.9)), N)
    logits = random_logits()
    at = {step: loss(logits, TARGETS, step).item() for step in (0, 2, 3, 4)}
    assert at[0] == at[2] == plain(logits, TARGETS, 0).item()
    assert at[3] == at[4] == gated(logits, TARGETS, 0).item()
    assert at[2] != pytest.approx(at[3])


def test_a_gate_that_is_a_share_opens_after_that_share_of_the_steps():
    loss = DHPCLoss(DHPCOptions(BootstrapOptions(0.9, t_gate=0.25)), N)
    loss.set_total_steps(8)
    absolute = DHPCLoss(DHPCOptions(BootstrapOptions(0.9, t_gate=2)), N)
    logits = random_logits()
    for step in range(5):
        assert loss(logits, TARGETS, step) == absolute(logits, TARGETS, step)


def test_linear_temperature_goes_from_train_to_end_and_stays():
    temperature = TemperatureOptions(2.0, "linear", end=1.0, steps=4)
    assert [temperature.at(step) for step in (0, 1, 2, 4, 9)] == [2.0, 1.75, 1.5, 1.0, 1.0]
