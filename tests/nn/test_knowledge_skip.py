"""Knowledge skip: which layers' [CLS] count, and each pooling against NumPy."""

import numpy as np
import pytest
import torch
from torch import Tensor

from hierarchy_lm.nn import KnowledgeSkip, SkipOptions

LAYERS, WIDTH = 12, 4
EVERY_OTHER = [2, 4, 6, 8, 10, 12]


@pytest.fixture
def states() -> Tensor:
    return torch.randn(3, LAYERS, WIDTH, generator=torch.Generator().manual_seed(0))


def chosen(layers, count: int = LAYERS) -> list[int]:
    """Layer numbers, read off an input in which each state is its layer's number."""
    skip = KnowledgeSkip(SkipOptions(layers, "concat"), count, 1)
    numbers = torch.arange(1.0, count + 1).view(1, count, 1)
    return [int(number) for number in skip(numbers)[0]]


def test_by_default_every_other_layer_up_to_the_last_counts():
    assert chosen("every_other") == EVERY_OTHER
    assert SkipOptions() == SkipOptions("every_other", "mean")


@pytest.mark.parametrize(
    ("count", "expected"), [(1, [1]), (2, [2]), (3, [1, 3]), (6, [2, 4, 6]), (7, [1, 3, 5, 7])]
)
def test_the_last_layer_always_counts(count, expected):
    assert chosen("every_other", count) == expected


def test_all_layers_and_lists():
    assert chosen("all", 4) == [1, 2, 3, 4]
    assert chosen([1, 3, 5, 7, 9, 11, 12]) == [1, 3, 5, 7, 9, 11, 12]
    assert chosen((12,)) == [12]


@pytest.mark.parametrize("layers", ["every_other", "all", [3, 7, 12]])
@pytest.mark.parametrize("pool", ["mean", "max", "concat", "weighted"])
def test_pooling_against_numpy(states, layers, pool):
    skip = KnowledgeSkip(SkipOptions(layers, pool), LAYERS, WIDTH)
    numbers = {"every_other": EVERY_OTHER, "all": range(1, 13)}.get(str(layers), layers)
    taken = [states.numpy()[:, number - 1] for number in numbers]
    if pool == "weighted":
        learned = np.linspace(-1, 2, len(taken))
        skip.mix.data = torch.from_numpy(learned).float()
        shares = np.exp(learned) / np.exp(learned).sum()
        expected = sum(share * part for share, part in zip(shares, taken, strict=True))
    elif pool == "concat":
        expected = np.concatenate(taken, axis=1)
    else:
        expected = (np.mean if pool == "mean" else np.max)(taken, axis=0)
    found = skip(states)
    np.testing.assert_allclose(found.detach().numpy(), expected, rtol=1e-5, atol=1e-6)
    assert found.shape == (3, skip.output_size)


def test_only_learned_weights_have_parameters(states):
    """The default is parameter free; the mix begins as the mean and learns."""
    mean, weighted = (
        KnowledgeSkip(SkipOptions(pool=pool), LAYERS, WIDTH) for pool in ("mean", "weighted")
    )
    assert list(mean.parameters()) == []
    assert [parameter.shape for parameter in weighted.parameters()] == [(6,)]
    output = weighted(states)
    torch.testing.assert_close(output, mean(states))
    (output * torch.arange(1.0, WIDTH + 1)).sum().backward()
    # Softmax at equal weights: 1/6 of what a layer gives above the mean of all six.
    gains = (states[:, [1, 3, 5, 7, 9, 11]] * torch.arange(1.0, WIDTH + 1)).sum(dim=(0, 2))
    torch.testing.assert_close(weighted.mix.grad, (gains - gains.mean()) / 6)


@pytest.mark.parametrize("pool", ["mean", "max", "concat", "weighted"])
def test_layers_that_are_not_chosen_get_no_gradient(states, pool):
    skip = KnowledgeSkip(SkipOptions([2, 5, 12], pool), LAYERS, WIDTH)
    states.requires_grad_()
    skip(states).sum().backward()
    reached = states.grad.abs().sum(dim=(0, 2)).nonzero().flatten() + 1
    assert reached.tolist() == [2, 5, 12]


def test_bf16_states_stay_bf16(states):
    skip = KnowledgeSkip(SkipOptions(pool="weighted"), LAYERS, WIDTH)
    found = skip(states.bfloat16())
    assert found.dtype == torch.bfloat16
    torch.testing.assert_close(found.float(), skip(states), rtol=2e-2, atol=2e-2)


def test_the_layer_numbers_are_no_part_of_a_checkpoint():
    assert not KnowledgeSkip(SkipOptions(), LAYERS, WIDTH).state_dict()


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ([], "skip.layers must name each layer once, got []"),
        ([2, 2, 12], "skip.layers must name each layer once, got [2, 2, 12]"),
        ([0, 12], "skip.layers: no layer 0; the encoder has 1 to 12"),
        ([-1, 12], "skip.layers: no layer -1; the encoder has 1 to 12"),
        ([12, 13], "skip.layers: no layer 13; the encoder has 1 to 12"),
        (
            [2, 4],
            "skip.layers lacks the last layer, 12; to go without the upper layers set "
            "backbone.num_layers",
        ),
    ],
)
def test_bad_lists_are_refused_in_one_line(layers, message):
    with pytest.raises(ValueError) as caught:  # noqa: PT011  (compared wholly below)
        KnowledgeSkip(SkipOptions(layers), LAYERS, WIDTH)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"layers": "odd"}, "skip.layers must be every_other, all or a list, got 'odd'"),
        ({"pool": "median"}, "skip.pool must be mean, max, concat or weighted, got 'median'"),
    ],
)
def test_unknown_words_are_refused_in_one_line(options, message):
    with pytest.raises(ValueError) as caught:  # noqa: PT011  (compared wholly below)
        SkipOptions(**options)
    assert str(caught.value) == message
