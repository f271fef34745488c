"""Is one model better than another on the same test items? The paired bootstrap."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Score = Callable[[Floats], float]
LEVEL = re.compile(r"micro_f1_L(\d+)")
TIE = 1e-12  # what rounding may add to a difference of none


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


class Pairs(NamedTuple):
    """Labels of N items as coordinates, each pair once.

    Shape:
        - items, labels: ``(P,)`` int64
    """

    items: Ints
    labels: Ints

    def of(self, start: int, end: int) -> "Pairs":
        """Those whose label is at least ``start`` and below ``end``."""
        kept = (self.labels >= start) & (self.labels < end)
        return Pairs(self.items[kept], self.labels[kept])

    def in_both(self, other: "Pairs", num_labels: int) -> "Pairs":
        """Those that are in ``other`` too."""
        own, others = (pairs.items * num_labels + pairs.labels for pairs in (self, other))
        kept = np.isin(own, others)
        return Pairs(self.items[kept], self.labels[kept])


@dataclass(frozen=True)
class Outcomes:
    """What one run said of N test items.

    Attributes:
        gold: Labels of the items.
        predicted: Those that the model gave them.
        weights: ``(N,)`` importance; ``accuracy`` alone is weighted by it.
        num_labels: C.
        level_offsets: Where the levels begin if the labels are nodes of a tree, else empty.
    """

    gold: Pairs
    predicted: Pairs
    weights: Floats
    num_labels: int
    level_offsets: Sequence[int] = ()


def resampled_scores(
    runs: Sequence[Outcomes], metric: str, resamples: int = 1000, seed: int = 0
) -> Floats:
    """Scores of a model on the test items, and on resamples of them.

    A resample draws N test items with replacement. Its draws depend on N and ``seed`` alone, so
    those of two models on the same items are paired, as are those of all training seeds of a model,
    over which the mean is taken.

    Args:
        runs: One per training seed, all with the same items in the same order.
        metric: ``accuracy`` (weighted share of the items with a gold label among the predicted),
            ``micro_f1``, ``micro_f1_L<level>``, ``macro_f1`` (over all labels),
            ``macro_f1_supported`` (over those that are gold for any of the N items) or
            ``weighted_f1`` (by the positives in the resample).
        resamples: Number of resamples.
        seed: Seed of the draws.

    Returns:
        ``(1 + resamples,)``, the score of the items as they are first.

    Raises:
        ValueError: If the metric is none of these, or the runs have no such level.
    """
    scores = [_score(run, metric) for run in runs]
    items = len(runs[0].weights)
    random = np.random.default_rng(seed)
    shares = np.full(items, 1 / items)
    found = np.empty(1 + resamples)
    found[0] = np.mean([score(np.ones(items)) for score in scores])
    for number in range(1, 1 + resamples):  # one at a time: all would take resamples x N numbers
        counts = random.multinomial(items, shares).astype(np.float64)
        found[number] = np.mean([score(counts) for score in scores])
    return found


def difference(first: Floats, second: Floats) -> Difference:
    """Compare two models by their :func:`resampled_scores` with the same seed.

    Koehn (2004), "Statistical Significance Tests for Machine Translation Evaluation"; Efron and
    Tibshirani, Chapter 13. It answers for the choice of test items; the deviation over training
    seeds answers for the rest.
    """
    differences = second - first
    differences[np.abs(differences) < TIE] = 0.0
    observed, drawn = differences[0], differences[1:]
    low, high = np.quantile(drawn, [0.025, 0.975])
    tail = min((drawn <= 0).mean(), (drawn >= 0).mean())
    return Difference(float(observed), float(low), float(high), float(min(1.0, 2 * tail)))


def paired_bootstrap(
    gold: Ints, first: Ints, second: Ints, num_labels: int, resamples: int = 1000, seed: int = 0
) -> dict[str, Difference]:
    """Compare two models of a single-label task in micro and macro F1.

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
    models = [[_single(gold, row, num_labels) for row in model] for model in (first, second)]
    return {
        name: difference(*(resampled_scores(runs, metric, resamples, seed) for runs in models))
        for name, metric in (("micro", "micro_f1"), ("macro", "macro_f1_supported"))
    }


def _single(gold: Ints, predicted: Ints, num_labels: int) -> Outcomes:
    items = np.arange(len(gold))
    return Outcomes(Pairs(items, gold), Pairs(items, predicted), np.ones(len(gold)), num_labels)


def _score(run: Outcomes, metric: str) -> Score:
    """The score as a function of how often each item was drawn."""
    if metric == "accuracy":
        return _accuracy(run)
    if metric in ("macro_f1", "macro_f1_supported", "weighted_f1"):
        return _mean_f1(run, metric)
    level = LEVEL.fullmatch(metric)
    if metric != "micro_f1" and not (level and int(level[1]) < len(run.level_offsets)):
        raise ValueError(f"no paired bootstrap of {metric} on these test items")
    return _micro_f1(run, int(level[1]) if level else 0)


def _accuracy(run: Outcomes) -> Score:
    right = np.zeros(len(run.weights))
    hits = run.gold.in_both(run.predicted, run.num_labels).items
    right[hits] = run.weights[hits]
    return _share(right, run.weights)


def _micro_f1(run: Outcomes, level: int) -> Score:
    """Of one level, or of all labels for level 0."""
    gold, predicted = run.gold, run.predicted
    if level:
        start, end = run.level_offsets[level - 1 : level + 1]
        gold, predicted = gold.of(start, end), predicted.of(start, end)
    hits = gold.in_both(predicted, run.num_labels)
    positives, answers, right = (
        np.bincount(pairs.items, minlength=len(run.weights)) for pairs in (gold, predicted, hits)
    )
    return _share((2 * right).astype(np.float64), (positives + answers).astype(np.float64))


def _share(part: Floats, whole: Floats) -> Score:
    """Ratio of two sums over the drawn items; 0 where the second is."""

    def score(counts: Floats) -> float:
        below = float(counts @ whole)
        return float(counts @ part) / below if below else 0.0

    return score


def _mean_f1(run: Outcomes, metric: str) -> Score:
    """F1 of each label, then their mean."""
    hits = run.gold.in_both(run.predicted, run.num_labels)
    supported = np.unique(run.gold.labels)

    def score(counts: Floats) -> float:
        right, positives, answers = (
            np.bincount(pairs.labels, counts[pairs.items], run.num_labels)
            for pairs in (hits, run.gold, run.predicted)
        )
        f1 = 2 * right / np.maximum(positives + answers, 1)
        if metric == "weighted_f1":
            return float(f1 @ positives / max(positives.sum(), 1))
        return float(f1.mean() if metric == "macro_f1" else f1[supported].mean())

    return score
