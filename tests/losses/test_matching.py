"""Joint and matching loss against loops, and what each distance makes of the margins."""

import math

import pytest
import torch
from torch.nn import functional as F

from hierarchy_lm.losses.matching import Companions, MatchingOptions, margins, matching_loss
from hierarchy_lm.losses.recursive import recursive_regularisation

WIDTH = 10


def unit(*shape: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return F.normalize(torch.randn(*shape, WIDTH, generator=generator, dtype=torch.float64), dim=-1)


def companions(number: int, valid: bool = True) -> Companions:
    nothing = torch.zeros(number, dtype=torch.long)
    return Companions(
        nothing,
        nothing.expand(4, -1),
        torch.full((2, number), valid),
        torch.ones(number, dtype=torch.float64),
    )


def by_relation(number: int, options: MatchingOptions) -> torch.Tensor:
    return margins(torch.ones(2, number, dtype=torch.long), 5, options)


@pytest.mark.parametrize("distance", ["sse", "mse"])
@pytest.mark.parametrize(("margin", "slack"), [(0.2, 0.01), (0.9, 0.01), (0.2, 0.4)])
def test_loss_is_the_formula(distance, margin, slack):
    """HiMatch, equations 7 to 10, one drawn label after the other."""
    options = MatchingOptions(distance=distance, margin=margin, parent_slack=slack)
    divisor = WIDTH if distance == "mse" else 1
    texts, labels = unit(6), unit(4, 6, seed=1)
    total = 0.0
    for n in range(6):
        d = [((texts[n] - labels[kind, n]) ** 2).sum().item() / divisor for kind in range(4)]
        total += d[0] + max(0, d[1] - slack / divisor)
        total += max(0, d[0] - d[2] + margin / 2) + max(0, d[0] - d[3] + margin)
    drawn = companions(6)
    found = matching_loss(texts, labels, by_relation(6, options), drawn, options)
    assert found.item() == pytest.approx(total, rel=1e-6)


def perfect_match() -> tuple[torch.Tensor, torch.Tensor]:
    """Text, label and parent are the same, sibling and other are opposite to them."""
    one = torch.eye(WIDTH, dtype=torch.float64)[:1]
    return one.clone().requires_grad_(), torch.stack([one, one, -one, -one])


def test_margins_are_met_by_a_perfect_match():
    options = MatchingOptions()
    text, labels = perfect_match()
    loss = matching_loss(text, labels, by_relation(1, options), companions(1), options)
    assert loss.item() == 0
    loss.backward()
    assert text.grad is not None
    assert text.grad.abs().max() == 0


def test_the_official_distance_never_meets_them():
    """At most 4 / width apart, with margins of 0.1 and 0.2: both hinges are open for ever."""
    options = MatchingOptions(distance="mse")
    width = 200
    one = torch.eye(width, dtype=torch.float64)[:1]
    text, labels = one.clone().requires_grad_(), torch.stack([one, one, -one, -one])
    loss = matching_loss(text, labels, by_relation(1, options), companions(1), options)
    assert loss.item() == pytest.approx(0.1 + 0.2 - 2 * 4 / width)
    loss.backward()
    assert text.grad is not None
    assert text.grad.abs().max() > 0  # still pushed, although it cannot be any further away


def test_the_parent_is_forgiven_its_slack_alone():
    options = MatchingOptions()
    for squared, expected in ((0.005, 0.0), (0.05, 0.04)):
        angle = math.acos(1 - squared / 2)
        near = torch.zeros(1, WIDTH, dtype=torch.float64)
        near[0, :2] = torch.tensor([math.cos(angle), math.sin(angle)])
        text, labels = perfect_match()
        labels[1] = near
        loss = matching_loss(text, labels, by_relation(1, options), companions(1), options)
        assert loss.item() == pytest.approx(expected, abs=1e-9)


def test_margins_by_relation_and_by_path_distance():
    steps = torch.tensor([[2, 4], [3, 8]])
    relation = margins(steps, 4, MatchingOptions())
    torch.testing.assert_close(relation, torch.tensor([[0.1, 0.1], [0.2, 0.2]]))
    path = margins(steps, 4, MatchingOptions(margin_mode="path_distance"))
    torch.testing.assert_close(path, torch.tensor([[0.05, 0.1], [0.075, 0.2]]))
    wider = margins(steps, 4, MatchingOptions(margin=0.8))
    torch.testing.assert_close(wider, torch.tensor([[0.4, 0.4], [0.8, 0.8]]))
    wider = margins(steps, 4, MatchingOptions(margin_mode="path_distance", margin=0.8))
    torch.testing.assert_close(wider, torch.tensor([[0.2, 0.4], [0.3, 0.8]]))


def test_companions_that_do_not_exist_leave_the_joint_loss_alone():
    options = MatchingOptions()
    texts, labels = unit(3), unit(4, 3, seed=1)
    margin = by_relation(3, options)
    alone = matching_loss(texts, labels, margin, companions(3, valid=False), options)
    d = (texts - labels[:2]).square().sum(-1)
    assert alone.item() == pytest.approx((d[0] + (d[1] - 0.01).clamp(min=0)).sum().item())
    assert alone < matching_loss(texts, labels, margin, companions(3), options)


def test_labels_count_by_their_shares():
    options = MatchingOptions()
    texts, labels, margin = unit(2), unit(4, 2, seed=1), by_relation(2, MatchingOptions())
    each = [
        matching_loss(texts[n : n + 1], labels[:, n : n + 1], margin[:, :1], companions(1), options)
        for n in range(2)
    ]
    drawn = companions(2)._replace(shares=torch.tensor([0.25, 0.75], dtype=torch.float64))
    found = matching_loss(texts, labels, margin, drawn, options)
    assert found.item() == pytest.approx((0.25 * each[0] + 0.75 * each[1]).item())


@pytest.mark.parametrize("option", ["margin", "parent_slack", "num_positives"])
def test_negative_numbers_are_refused(option):
    with pytest.raises(ValueError, match=option):
        MatchingOptions(**{option: -1})


def test_recursive_regularisation_is_half_the_squared_distances_along_the_edges():
    weights = torch.tensor([[1.0, 0.0], [0.0, 2.0], [3.0, 0.0], [0.0, 0.0]])
    parents = torch.tensor([-1, 0, 0, 2])
    # 0-1: 1 + 4; 0-2: 4; 2-3: 9
    assert recursive_regularisation(weights, parents).item() == 0.5 * (5 + 4 + 9)
