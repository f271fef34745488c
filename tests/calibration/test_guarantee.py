"""The promise by simulation: the true accuracy at the chosen threshold, over many draws."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from hierarchy_lm.calibration import ValidationItems, choose_threshold, choose_thresholds
from hierarchy_lm.cascade_folder import Calibration
from hierarchy_lm.classification.decisions import Thresholds

Array = NDArray[np.float64]
DRAWS, ITEMS, TARGET, ALPHA = 300, 400, 0.9, 0.05
# Three standard deviations of a share of 0.05 over the draws.
MOST = ALPHA + 3 * (ALPHA * (1 - ALPHA) / DRAWS) ** 0.5


class Source(NamedTuple):
    """Where items come from: three classes of weight, and accuracy given confidence and weight."""

    weights: Array
    accuracy: Callable[[Array, Array], Array]


def calibrated(confidence: Array, weight: Array) -> Array:
    return confidence


def overconfident(confidence: Array, weight: Array) -> Array:
    return 0.985 * confidence


def heavy_items_are_harder(confidence: Array, weight: Array) -> Array:
    return confidence ** np.where(weight > 2, 1.2, 0.3)


def a_bad_top(confidence: Array, weight: Array) -> Array:
    """Accuracy that first rises as the threshold falls: the most confident items are wrong."""
    return np.where(confidence > 0.9999, 0.0, 0.985 * confidence**0.6)


SOURCES = {
    "calibrated": Source(np.array([1.0]), calibrated),
    "overconfident": Source(np.array([1.0]), overconfident),
    "a bad top": Source(np.array([1.0]), a_bad_top),
    "weighted": Source(np.array([0.5, 1.0, 4.0]), calibrated),
    "heavy is harder": Source(np.array([0.5, 1.0, 4.0]), heavy_items_are_harder),
}


def draw(source: Source, random: np.random.Generator, num_items: int):
    confidence = random.beta(5, 0.8, num_items)
    weight = random.choice(source.weights, num_items)
    return confidence, random.random(num_items) < source.accuracy(confidence, weight), weight


def true_accuracy(source: Source, thresholds: Array) -> Array:
    """Weighted accuracy above each threshold, from half a million items' probabilities."""
    random = np.random.default_rng(12345)
    confidence = np.sort(random.beta(5, 0.8, 500_000))[::-1]
    weight = random.choice(source.weights, len(confidence))
    right = np.cumsum(weight * source.accuracy(confidence, weight))
    above = np.searchsorted(-confidence, -thresholds, side="right") - 1
    return right[above] / np.cumsum(weight)[above]


def naive(confidence: Array, correct: Array, weight: Array) -> float | None:
    """Lowest threshold at which the observed accuracy reaches the target."""
    order = np.argsort(-confidence)
    observed = np.cumsum((weight * correct)[order]) / np.cumsum(weight[order])
    reached = np.flatnonzero(observed >= TARGET)
    return float(confidence[order][reached[-1]]) if len(reached) else None


def broken(source: Source, thresholds: list[float | None]) -> float:
    """Share of the draws whose threshold misses the target on new items."""
    given = np.array([t for t in thresholds if t is not None])
    return float((true_accuracy(source, given) < TARGET).sum() / len(thresholds))


@pytest.mark.parametrize("name", SOURCES)
def test_the_promise_is_broken_no_more_often_than_stated(name):
    source = SOURCES[name]
    promised: list[float | None] = []
    plain: list[float | None] = []
    for seed in range(DRAWS):
        items = draw(source, np.random.default_rng(seed), ITEMS)
        promised.append(choose_threshold(*items, TARGET, ALPHA).threshold)
        plain.append(naive(*items))
    assert sum(threshold is not None for threshold in promised) > DRAWS / 2
    assert broken(source, promised) <= MOST
    assert broken(source, plain) > 2 * MOST  # so that the test can fail


def test_the_threshold_is_not_merely_cautious():
    """With many items, nearly all of the coverage that the truth allows is found."""
    source = SOURCES["calibrated"]
    confidence, correct, weight = draw(source, np.random.default_rng(0), 20_000)
    found = choose_threshold(confidence, correct, weight, TARGET)
    grid = np.linspace(0, 0.999, 1000)
    best = (confidence >= grid[true_accuracy(source, grid) >= TARGET].min()).mean()
    assert best - 0.05 < found.coverage <= best + 0.01


def cascade_draw(random: np.random.Generator, num_items: int) -> ValidationItems:
    """Two departments; 1 is harder. Probabilities are calibrated in 0 and too high in 1."""
    department = random.integers(0, 2, num_items)
    p_department = random.beta(6, 0.6, num_items)
    p_leaf = random.beta(4, 1, num_items)
    power = np.where(department == 1, 1.3, 0.8)
    department_correct = random.random(num_items) < p_department**power
    leaf_correct = department_correct & (random.random(num_items) < p_leaf**power)
    return ValidationItems(
        department,
        np.where(random.random(num_items) < 0.05, -1, 10 + department),
        department_correct,
        leaf_correct,
        p_department,
        p_department * p_leaf,
        np.ones(num_items),
    )


def decided(items: ValidationItems, calibration: Calibration) -> NDArray[np.int64]:
    """What `hlm predict` decides of the items."""
    columns = (items.department, items.leaf, items.p_department, items.confidence)
    empty = torch.zeros(len(items.leaf), dtype=torch.bool)
    return Thresholds(calibration, 2).decide(*map(torch.from_numpy, columns), empty)[0].numpy()


def test_each_promise_of_the_decision_holds():
    """True accuracies of accepted leaves and of departments backed off, over and per department."""
    large = cascade_draw(np.random.default_rng(999), 30_000)
    missed = {key: 0 for key in [(None, 0), (None, 1), (0, 0), (0, 1), (1, 0), (1, 1)]}
    for seed in range(DRAWS):
        items = cascade_draw(np.random.default_rng(seed), 600)
        overall, by_department = choose_thresholds(items, [0, 1], 0.8)
        values = [threshold.threshold for threshold in overall]
        own = {
            str(node): {"leaf": pair.leaf.threshold, "department": pair.department.threshold}
            for node, pair in by_department.items()
        }
        for per_department, nodes in ((False, [None]), (True, [0, 1])):
            stored = Calibration(
                leaf_threshold=values[0],
                department_threshold=values[1],
                per_department=per_department,
                departments=own,
            )
            decision = decided(large, stored)
            for node in nodes:
                among = slice(None) if node is None else large.department == node
                for code, correct in enumerate([large.leaf_correct, large.department_correct]):
                    right = correct[among][decision[among] == code]
                    missed[node, code] += len(right) > 0 and right.mean() < 0.8
    assert max(missed.values()) <= MOST * DRAWS
    assert max(missed.values()) > 0
