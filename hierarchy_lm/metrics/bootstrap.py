"""Is one model better than another on the same test items? The paired bootstrap."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


class Difference(NamedTuple):
    """A score's difference, second minus first model.

    Attributes:
        observed: On the test items as they are.
        low, high: Bounds of the interval that holds 95 % of the resampled differences.
        p_value: Two-sided: twice the smaller share of resamples on either side of zero.
    """

    observed: float
    low: float
    high: float
    p_value: float


def paired_bootstrap(
    gold: Ints, first: Ints, second: Ints, num_labels: int, resamples: int = 1000, seed: int = 0
) -> dict[str, Difference]:
    """Compare two models of a single-label task in micro and macro F1.

    Every resample draws N test items with replacement, the same for both models and all training
    seeds, and takes the mean over seeds of both scores (Koehn 2004, "Statistical Significance Tests
    for Machine Translation Evaluation"; Efron and Tibshirani, Chapter 13). It answers for the
    choice of test items; the deviation over training seeds answers for the rest.

    Args:
        gold: The label of each item.
        first: Predictions of one model, one row per training seed.
        second: Those of the other.
        num_labels: C; macro F1 is over the labels among them that ``gold`` holds.
        resamples: Number of resamples.
        seed: Seed of the draws.

    Returns:
        ``micro`` and ``macro``.

    Shape:
        - gold: ``(N,)``
        - first, second: ``(S, N)``, S may differ
    """
    items = len(gold)
    counts = np.random.default_rng(seed).multinomial(items, [1 / items] * items, size=resamples)
    weights = np.concatenate([np.ones((1, items), dtype=counts.dtype), counts])
    labels = np.unique(gold)
    scores = [
        np.mean([_scores(gold, row, weights, num_labels, labels) for row in model], axis=0)
        for model in (first, second)
    ]
    differences = scores[1] - scores[0]
    return {name: _summary(differences[i]) for i, name in enumerate(("micro", "macro"))}


def _scores(gold: Ints, predicted: Ints, weights: Ints, num_labels: int, labels: Ints) -> Floats:
    """``(2, resamples)``: micro F1, which is accuracy here, and macro F1."""
    found = np.empty((2, len(weights)))
    for number, weight in enumerate(weights):
        right = np.bincount(gold, weight * (gold == predicted), num_labels)
        answered = np.bincount(predicted, weight, num_labels)
        there = np.bincount(gold, weight, num_labels)
        f1 = 2 * right / np.maximum(answered + there, 1)
        found[:, number] = right.sum() / weight.sum(), f1[labels].mean()
    return found


def _summary(differences: Floats) -> Difference:
    observed, drawn = differences[0], differences[1:]
    low, high = np.quantile(drawn, [0.025, 0.975])
    tail = min((drawn <= 0).mean(), (drawn >= 0).mean())
    return Difference(float(observed), float(low), float(high), float(min(1.0, 2 * tail)))
