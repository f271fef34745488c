"""The two-layer head against its formula in NumPy."""

import numpy as np
import pytest
import torch
from torch import Tensor

from hierarchy_lm.nn import ClassifierHead, HeadOptions

WIDTH, HIDDEN, LABELS = 6, 16, 9


@pytest.fixture
def head() -> ClassifierHead:
    """A head that has seen batches, so that its statistics are not the first ones."""
    torch.manual_seed(0)
    head = ClassifierHead(WIDTH, LABELS, HeadOptions(HIDDEN, dropout=0.5))
    with torch.no_grad():
        head.norm.weight.uniform_(0.5, 2)
        head.norm.bias.uniform_(-1, 1)
        head.output.bias.uniform_(-1, 1)
        for parameter in (head.hidden.weight, head.output.weight):
            parameter.mul_(20)
        for step in range(5):
            head(inputs(32, step))
    return head.eval()


def inputs(count: int, seed: int = 9) -> Tensor:
    return torch.randn(count, WIDTH, generator=torch.Generator().manual_seed(seed)) * 2 + 1


def literal(head: ClassifierHead, states: Tensor) -> np.ndarray:
    """Linear, BatchNorm, ReLU, Linear in float64, document by document."""
    weights = {name: value.double().numpy() for name, value in head.state_dict().items()}
    rows = []
    for state in states.double().numpy():
        hidden = weights["hidden.weight"] @ state + weights["hidden.bias"]
        if "norm.weight" in weights:
            deviation = np.sqrt(weights["norm.running_var"] + 1e-5)
            hidden = (hidden - weights["norm.running_mean"]) / deviation
            hidden = hidden * weights["norm.weight"] + weights["norm.bias"]
        hidden = np.maximum(hidden, 0)
        rows.append(weights["output.weight"] @ hidden + weights["output.bias"])
    return np.array(rows)


def test_evaluation_against_numpy(head):
    found = head(inputs(7)).detach().numpy()
    np.testing.assert_allclose(found, literal(head, inputs(7)), rtol=1e-4, atol=1e-4)


def test_without_a_norm_against_numpy():
    torch.manual_seed(1)
    head = ClassifierHead(WIDTH, LABELS, HeadOptions(HIDDEN, norm=False)).eval()
    assert not any("norm" in name for name in head.state_dict())
    found = head(inputs(7)).detach().numpy()
    np.testing.assert_allclose(found, literal(head, inputs(7)), rtol=1e-5, atol=1e-5)


def test_training_normalises_by_the_batch_before_relu_and_dropout(head):
    """Order of the layers, with dropout's mask drawn again from the same seed."""
    head.train()
    states = inputs(12)
    torch.manual_seed(5)
    found = head(states).detach().numpy()
    hidden = states @ head.hidden.weight.T + head.hidden.bias
    hidden = (hidden - hidden.mean(0)) / (hidden.var(0, unbiased=False) + 1e-5).sqrt()
    hidden = (hidden * head.norm.weight + head.norm.bias).clamp(min=0)
    torch.manual_seed(5)
    mask = torch.nn.functional.dropout(torch.ones_like(hidden), 0.5)
    assert 0.3 < (mask == 0).float().mean() < 0.7
    expected = (hidden * mask) @ head.output.weight.T + head.output.bias
    np.testing.assert_allclose(found, expected.detach().numpy(), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("columns", [[0], [8, 2, 5], list(range(LABELS)), [3, 3], []])
def test_a_part_of_the_columns_equals_those_of_all(head, columns):
    """With the same gradients, and none for the columns left out."""
    chosen = torch.tensor(columns, dtype=torch.long)
    weights = torch.linspace(-1, 1, 7 * len(columns)).view(7, len(columns))
    gradients = []
    for logits in (head(inputs(7))[:, chosen], head(inputs(7), columns=chosen)):
        head.zero_grad()
        (logits * weights).sum().backward()
        gradients.append([parameter.grad.clone() for parameter in head.parameters()])
    torch.testing.assert_close(head(inputs(7), columns=chosen), head(inputs(7))[:, chosen])
    for full, part in zip(*gradients, strict=True):
        torch.testing.assert_close(part, full, rtol=1e-4, atol=1e-4)
    unused = [label for label in range(LABELS) if label not in columns]
    assert not head.output.weight.grad[unused].any()


@pytest.mark.parametrize("labels", [2, 37, 2500])
def test_probabilities_begin_around_one_over_n(labels):
    torch.manual_seed(0)
    head = ClassifierHead(WIDTH, labels, HeadOptions())
    np.testing.assert_allclose(
        torch.sigmoid(head.output.bias.detach()).numpy(), 1 / labels, rtol=1e-4
    )
    probabilities = torch.sigmoid(head(inputs(64)))
    assert probabilities.median().item() == pytest.approx(1 / labels, rel=0.25)


def test_a_single_label_has_a_head_too():
    head = ClassifierHead(WIDTH, 1, HeadOptions(HIDDEN))
    assert head(inputs(3)).shape == (3, 1)
    assert head.output.bias.item() == 0


def test_a_batch_of_one_trains(head):
    head.train()
    logits = head(inputs(1))
    logits.sum().backward()
    assert logits.isfinite().all()
    assert all(parameter.grad.isfinite().all() for parameter in head.parameters())


def test_repeated_documents_do_not_count(head):
    head.train()
    before = head.norm.running_mean.clone()
    head(inputs(4), counted=False)
    assert torch.equal(head.norm.running_mean, before)
    head(inputs(4))
    assert not torch.equal(head.norm.running_mean, before)


def test_bf16_autocast_is_near_float32(head):
    with torch.autocast("cpu", torch.bfloat16):
        full = head(inputs(7))
        part = head(inputs(7), columns=torch.tensor([4, 1]))
    torch.testing.assert_close(full.float(), head(inputs(7)), rtol=5e-2, atol=0.5)
    torch.testing.assert_close(part, full[:, [4, 1]])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"hidden": 0}, "head.hidden must be at least 1, got 0"),
        ({"dropout": 1.0}, r"head.dropout must be in \[0, 1\), got 1.0"),
        ({"dropout": -0.1}, r"head.dropout must be in \[0, 1\), got -0.1"),
    ],
)
def test_bad_options_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        HeadOptions(**options)
