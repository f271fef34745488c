"""Alignment, uniformity and spread against loops in NumPy."""

import math
from itertools import combinations

import numpy as np
import pytest
import torch

from hierarchy_lm.metrics import Alignment, Spread


def vectors(count: int, width: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, width, generator=generator) * 3 + 1


def unit_rows(values: torch.Tensor) -> np.ndarray:
    rows = values.double().numpy()
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def slow_uniformity(values: torch.Tensor) -> float:
    kernel = [math.exp(-2 * ((x - y) ** 2).sum()) for x, y in combinations(unit_rows(values), 2)]
    return math.log(np.mean(kernel))


def figures(*parts: tuple[torch.Tensor, torch.Tensor], sample: int = 2048) -> dict[str, float]:
    metric = Spread(parts[0][0].shape[1], sample)
    for embeddings, rows in parts:
        metric.update(embeddings, rows)
    return {name: value.item() for name, value in metric.compute().items()}


def test_alignment_is_the_mean_squared_distance_of_unit_vectors():
    left, right = vectors(7, 5), vectors(7, 5, seed=1)
    metric = Alignment()
    metric.update(left[:3], right[:3])
    metric.update(left[3:], right[3:])
    expected = ((unit_rows(left) - unit_rows(right)) ** 2).sum(axis=1).mean()
    assert metric.compute().item() == pytest.approx(expected, rel=1e-6)


def test_alignment_of_opposite_vectors_is_four_whatever_their_lengths():
    metric = Alignment()
    metric.update(torch.tensor([[3.0, 0.0]]), torch.tensor([[-0.1, 0.0]]))
    assert metric.compute().item() == pytest.approx(4)


def test_uniformity_is_over_all_pairs_of_all_batches():
    values, rows = vectors(600, 3), torch.arange(600)  # more than one block
    found = figures((values[:250], rows[:250]), (values[250:], rows[250:]))
    assert found["uniformity"] == pytest.approx(slow_uniformity(values), rel=1e-5)


def test_std_and_rank_are_those_of_the_covariance():
    values, rows = vectors(40, 6), torch.arange(40)
    found = figures((values[:1], rows[:1]), (values[1:], rows[1:]))
    unit = unit_rows(values)
    assert found["std"] == pytest.approx(unit.std(axis=0).mean() * math.sqrt(6), rel=1e-5)
    shares = np.linalg.eigvalsh(np.cov(unit.T))
    shares = shares / shares.sum()
    assert found["effective_rank"] == pytest.approx(
        math.exp(-(shares * np.log(shares)).sum()), rel=1e-5
    )


def test_collapsed_embeddings_have_no_spread():
    values = torch.ones(20, 4) * torch.arange(1, 21)[:, None]  # one direction, many lengths
    found = figures((values, torch.arange(20)))
    assert found == pytest.approx({"uniformity": 0, "std": 0, "effective_rank": 0}, abs=1e-5)


def test_two_opposite_points_fill_one_dimension():
    values = torch.tensor([[1.0, 1.0], [-1.0, -1.0]]).repeat(5, 1)
    found = figures((values, torch.arange(10)))
    assert found["effective_rank"] == pytest.approx(1, abs=1e-5)
    assert found["std"] == pytest.approx(1, rel=1e-6)  # 1 / sqrt(2) in both dimensions


def test_the_sampled_pairs_depend_on_neither_order_nor_batches():
    values, rows = vectors(300, 4), torch.arange(300)
    whole = figures((values, rows), sample=50)
    order = torch.randperm(300, generator=torch.Generator().manual_seed(3))
    parts = [(values[part], rows[part]) for part in order.split(70)]
    assert figures(*parts, sample=50)["uniformity"] == pytest.approx(whole["uniformity"], rel=1e-5)


def test_the_sample_estimates_the_pairs_of_all():
    values, rows = vectors(1500, 4), torch.arange(1500)
    exact = figures((values, rows))["uniformity"]
    assert figures((values, rows), sample=400)["uniformity"] == pytest.approx(exact, abs=0.1)
    assert figures((values, rows), sample=400)["uniformity"] != exact


def test_fewer_than_two_embeddings_give_zeros():
    none = torch.empty(0, 3), torch.empty(0, dtype=torch.long)
    assert set(figures(none).values()) == {0}
    assert figures((vectors(1, 3), torch.tensor([4])))["uniformity"] == 0


def test_two_ranks_with_different_numbers_of_documents_are_one():
    """As torchmetrics hands them over: sums added, the rest stacked."""
    values, rows = vectors(90, 4), torch.arange(90)
    one = figures((values, rows), sample=60)
    ranks = [Spread(4, sample=60), Spread(4, sample=60)]
    ranks[0].update(values[:20], rows[:20])  # leaves empty places
    ranks[1].update(values[20:], rows[20:])
    both = Spread(4, sample=60)
    both.update(values[:0], rows[:0])
    for name in ("count", "sums", "products"):
        setattr(both, name, getattr(ranks[0], name) + getattr(ranks[1], name))
    for name in ("kept", "hashes"):
        setattr(both, name, torch.stack([getattr(rank, name) for rank in ranks]))
    found = {name: value.item() for name, value in both.compute().items()}
    assert found == pytest.approx(one, rel=1e-5)
