"""What must hold between levels, on trees deeper than the paths of influence are long."""

import math
from itertools import pairwise

import pytest
import torch

from hierarchy_lm.batches import SparseTargets
from hierarchy_lm.losses import PathLoss
from hierarchy_lm.nn import StructuralTransformer

from .models import structural_transformer

SIZES = [3, 4, 5, 6, 7, 8]
LEVELS, WIDTH = len(SIZES), 16
OFFSETS = [sum(SIZES[:level]) for level in range(LEVELS + 1)]


def build(**changes) -> StructuralTransformer:
    return structural_transformer(SIZES, WIDTH, **changes)


def moved_logits(model: StructuralTransformer, level: int) -> list[bool]:
    """Whether the logits of each level differ in any bit when I_level does."""
    torch.manual_seed(1)
    inputs = torch.randn(5, LEVELS, WIDTH)
    changed = inputs.clone()
    changed[:, level] += torch.randn(WIDTH)
    before, after = (model.head(model.level_states(each)) for each in (inputs, changed))
    differs = (before != after).any(dim=0)
    return [bool(part.any()) for part in differs.split(SIZES)]


@pytest.mark.parametrize("readout", ["last", "sequential"])
@pytest.mark.parametrize("level", range(LEVELS))
def test_causal_mask_keeps_the_logits_of_the_levels_above_bit_equal(level, readout):
    moved = moved_logits(build(mask="causal", readout=readout), level)
    assert moved == [other >= level for other in range(LEVELS)]


@pytest.mark.parametrize("level", range(LEVELS))
def test_without_a_mask_the_logits_of_all_levels_move(level):
    assert moved_logits(build(mask="none"), level) == [True] * LEVELS


@pytest.mark.parametrize("mask", ["prev_only", "prev_and_self"])
@pytest.mark.parametrize("layers", [1, 2, 3])
@pytest.mark.parametrize("level", range(LEVELS))
def test_dependency_mask_reaches_one_level_further_with_each_layer(mask, layers, level):
    moved = moved_logits(build(mask=mask, num_layers=layers), level)
    assert moved == [level <= other <= level + layers for other in range(LEVELS)]


def test_sequential_dependency_mask_equals_its_formula():
    """Fig. 4: in layer l, level i sees the state of level i - 1 after layer l - 1, alone.

    A softmax over one key is 1, so that attention is that level's value; level 1 sees itself.
    """
    model = build(mask="prev_only", readout="sequential").double()
    inputs = torch.randn(2, LEVELS, WIDTH, dtype=torch.float64)
    states = [inputs[:, level] for level in range(LEVELS)]
    read = []
    for number, layer in enumerate(model.layers):
        values, biases = layer.query_key_value.weight[2 * WIDTH :], layer.query_key_value.bias
        above = [states[max(0, level - 1)] for level in range(LEVELS)]
        seen = [state @ values.T + biases[2 * WIDTH :] for state in above]
        half = [
            layer.attention_norm(state + layer.attention_output(value))
            for state, value in zip(states, seen, strict=True)
        ]
        states = [
            layer.ffn_norm(
                state + layer.ffn_output(torch.nn.functional.gelu(layer.ffn_input(state)))
            )
            for state in half
        ]
        read.append(states[number])
    torch.testing.assert_close(model.level_states(inputs), torch.stack(read, dim=1))


def test_sequential_readout_of_every_mask_is_level_l_after_layer_l():
    for mask in ("causal", "none", "prev_and_self"):
        model = build(mask=mask, readout="sequential")
        inputs = torch.randn(2, LEVELS, WIDTH)
        states = inputs
        for level, layer in enumerate(model.layers):
            states = layer(states, model.mask)
            assert torch.equal(model.level_states(inputs)[:, level], states[:, level])


def train_one_level(model: StructuralTransformer, level: int) -> None:
    """Gradients of that level's loss; the document's path ends there."""
    targets = SparseTargets(torch.zeros(level + 1).long(), torch.tensor(OFFSETS[: level + 1]))
    weights = [float(other == level) for other in range(LEVELS)]
    loss = PathLoss(OFFSETS, level_weights=weights)(model(torch.randn(1, WIDTH)), targets)
    loss.backward()


@pytest.mark.parametrize("mask", ["causal", "prev_only", "prev_and_self", "none"])
@pytest.mark.parametrize("level", range(LEVELS))
def test_loss_of_a_level_trains_no_layer_behind_its_readout(mask, level):
    model = build(readout="sequential", mask=mask)
    train_one_level(model, level)
    for number, layer in enumerate(model.layers):
        for name, parameter in layer.named_parameters():
            trained = parameter.grad is not None and bool(parameter.grad.any())
            assert trained == (number <= level), f"layer {number}: {name}"


@pytest.mark.parametrize("readout", ["last", "sequential"])
@pytest.mark.parametrize("level", range(LEVELS))
def test_loss_of_a_level_trains_its_own_head_and_the_inputs_it_may_see(readout, level):
    model = build(mask="causal", readout=readout)
    train_one_level(model, level)
    heads = [bool(part.any()) for part in model.head.weight.grad.split(SIZES)]
    assert heads == [other == level for other in range(LEVELS)]
    projections = [bool(part.any()) for part in model.inputs.projection.weight.grad.split(WIDTH)]
    assert projections == [other <= level for other in range(LEVELS)]


def test_levels_share_out_the_logits():
    """Filling one level's bias changes its slice and nothing else, and the slices are all."""
    model = build()
    h_cls = torch.randn(2, WIDTH)
    before = model(h_cls)
    assert before.shape == (2, OFFSETS[-1])
    for start, end in pairwise(OFFSETS):
        with torch.no_grad():
            model.head.bias[start:end] += 1.0
        after = model(h_cls)
        changed = (after != before).any(dim=0)
        assert changed.nonzero().flatten().tolist() == list(range(start, end))
        before = after


def test_a_path_that_ends_early_has_a_finite_loss_at_any_logit():
    """Below the end all targets are zero: at saturated logits softplus, not log of 0."""
    targets = SparseTargets(torch.tensor([0, 0]), torch.tensor([0, 3]))
    for size in (-1e4, 1e4):
        logits = torch.full((1, OFFSETS[-1]), size, requires_grad=True)
        loss = PathLoss(OFFSETS)(logits, targets)
        loss.backward()
        wrong = [1 / 3, 1 / 4, 0, 0, 0, 0] if size < 0 else [2 / 3, 3 / 4, 1, 1, 1, 1]
        assert loss.item() == pytest.approx(1e4 * math.fsum(wrong), rel=1e-5)
        assert logits.grad.isfinite().all()
