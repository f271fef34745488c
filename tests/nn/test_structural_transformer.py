import itertools

import pytest
import torch

from hierarchy_lm.nn import StructuralOptions, StructuralTransformer
from hierarchy_lm.nn.structural_options import level_mask

from .models import structural_transformer

SIZES = [2, 3, 5]
WIDTH = 16


def build(**changes) -> StructuralTransformer:
    return structural_transformer(SIZES, WIDTH, **changes)


def influences(model: StructuralTransformer) -> list[list[bool]]:
    """Row i, column j: whether level i's state moves when level j's input does."""
    torch.manual_seed(1)
    inputs = torch.randn(1, len(SIZES), WIDTH)
    before = model.level_states(inputs)
    moved = []
    for level in range(len(SIZES)):
        changed = inputs.clone()
        changed[:, level] += torch.randn(WIDTH)
        moved.append((model.level_states(changed) != before).any(dim=2)[0])
    return torch.stack(moved, dim=1).tolist()


@pytest.mark.parametrize("readout", ["last", "sequential"])
def test_causal_mask_hides_deeper_levels(readout):
    expected = [[True, False, False], [True, True, False], [True, True, True]]
    assert influences(build(mask="causal", readout=readout)) == expected


def test_without_a_mask_all_levels_see_each_other():
    assert influences(build(mask="none")) == [[True] * 3] * 3


@pytest.mark.parametrize("mask", ["prev_only", "prev_and_self"])
def test_dependency_mask_reaches_one_level_up_per_layer(mask):
    expected = [[True, False, False], [True, True, False], [False, True, True]]
    assert influences(build(mask=mask, num_layers=1)) == expected


def test_the_masks_are_the_papers():
    """Rows look at columns: Eq. 1 allows i >= j; Fig. 4 only the level above."""
    true, false = True, False
    assert level_mask("none", 3) is None
    causal = level_mask("causal", 3)
    assert causal is not None
    for i, j in itertools.product(range(3), range(3)):
        assert causal[i, j].item() == (i >= j)
    previous = level_mask("prev_only", 3)
    assert previous is not None
    assert previous.tolist() == [[true, false, false], [true, false, false], [false, true, false]]
    with_self = level_mask("prev_and_self", 3)
    assert with_self is not None
    assert with_self.tolist() == [[true, false, false], [true, true, false], [false, true, true]]


def test_prev_only_attends_to_the_level_above_alone():
    """With values cut off from the residual path, level 3 ignores its own input."""
    model = build(mask="prev_only", num_layers=1)
    torch.manual_seed(2)
    states = torch.randn(1, 3, WIDTH)
    changed = states.clone()
    changed[:, 2] += 1.0
    block = model.layers[0]
    # The query of level 3 changes, but a softmax over a single key does not depend on it.
    torch.testing.assert_close(
        block._attend(states, model.mask), block._attend(changed, model.mask)
    )


def test_last_readout_trains_every_layer_from_the_first_level():
    model = build(mask="causal")
    model(torch.randn(4, WIDTH))[:, :2].sum().backward()
    assert all(bool(layer.ffn_input.weight.grad.any()) for layer in model.layers)


@pytest.mark.parametrize("readout", ["last", "sequential"])
@pytest.mark.parametrize("projection", ["per_level", "shared", "none"])
@pytest.mark.parametrize("mask", ["causal", "none", "prev_only", "prev_and_self"])
def test_every_combination_uses_all_its_parameters(readout, projection, mask):
    """DDP stops at a parameter without gradient."""
    model = build(readout=readout, projection=projection, mask=mask).train()
    logits = model(torch.randn(4, WIDTH))
    assert logits.shape == (4, 10)
    logits.pow(2).sum().backward()
    assert [name for name, p in model.named_parameters() if p.grad is None] == []


def test_node_order_within_a_level_only_permutes_the_logits():
    model = build()
    h_cls = torch.randn(4, WIDTH)
    before = model(h_cls) - model.head.bias
    order = torch.tensor([1, 0, 4, 2, 3, 9, 8, 7, 6, 5])
    with torch.no_grad():
        model.head.weight.copy_(model.head.weight[order])
        model.head.bias.copy_(torch.randn(10))
    after = model(h_cls) - model.head.bias
    torch.testing.assert_close(after, before[:, order])


def test_logits_of_a_level_come_from_its_own_state():
    model = build()
    states = torch.randn(2, 3, WIDTH)
    logits = model.head(states)
    for node, level in enumerate([0, 0, 1, 1, 1, 2, 2, 2, 2, 2]):
        expected = states[:, level] @ model.head.weight[node] + model.head.bias[node]
        torch.testing.assert_close(logits[:, node], expected)


def test_projection_gives_each_level_its_own_affine_map():
    model = build(projection="per_level", use_positions=False)
    h_cls = torch.randn(2, WIDTH)
    inputs = model.inputs(h_cls)
    projection = model.inputs.projection
    assert projection is not None
    for level in range(3):
        rows = slice(level * WIDTH, (level + 1) * WIDTH)
        affine = h_cls @ projection.weight[rows].T + projection.bias[rows]
        torch.testing.assert_close(inputs[:, level], model.inputs.norm(affine))


@pytest.mark.parametrize("projection", ["shared", "none"])
def test_positions_are_the_only_difference_between_levels_without_own_projections(projection):
    h_cls = torch.randn(2, WIDTH)
    without = build(projection=projection, use_positions=False).inputs(h_cls)
    torch.testing.assert_close(without[:, 0], without[:, 1])
    with_positions = build(projection=projection).inputs(h_cls)
    assert (with_positions[:, 0] - with_positions[:, 1]).abs().max() > 1e-3


def test_depth_is_that_of_the_tree_unless_given():
    assert len(build().layers) == 3
    assert len(build(num_layers=5).layers) == 5


def test_shared_layers_hold_one_layer_and_run_it_as_often():
    shared = build(share_layers=True)
    assert len(shared.layers) == 1
    unshared = build()
    for layer in unshared.layers:
        layer.load_state_dict(shared.layers[0].state_dict())
    inputs = torch.randn(2, 3, WIDTH)
    torch.testing.assert_close(shared.level_states(inputs), unshared.level_states(inputs))


def test_sizes_follow_the_paper():
    """L projections of k x k (Section IV-A) and one (C, k) head matrix, initialised as BERT."""
    torch.manual_seed(0)
    model = StructuralTransformer([50, 50], 64, StructuralOptions())
    projection = model.inputs.projection
    assert projection is not None
    assert projection.weight.shape == (2 * 64, 64)
    assert model.head.weight.shape == (100, 64)
    assert model.head.weight.std().item() == pytest.approx(0.02, rel=0.1)
    assert projection.weight.std().item() == pytest.approx(0.02, rel=0.1)


@pytest.mark.parametrize(
    ("width", "heads"), [(768, 12), (384, 6), (192, 3), (32, 1), (200, 2), (320, 5)]
)
def test_default_heads_divide_the_width(width, heads):
    assert StructuralOptions().heads_for(width) == heads


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (StructuralOptions(num_heads=5), "5 heads"),
        (StructuralOptions(num_layers=0), "num_layers"),
        (StructuralOptions(readout="sequential", num_layers=2), "one layer per level"),
    ],
)
def test_options_that_do_not_fit_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        StructuralTransformer(SIZES, WIDTH, options)


def test_dropout_is_active_in_training_only():
    model = build(dropout=0.5)
    h_cls = torch.randn(2, WIDTH)
    assert torch.equal(model(h_cls), model(h_cls))
    model.train()
    assert not torch.equal(model(h_cls), model(h_cls))
