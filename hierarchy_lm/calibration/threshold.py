"""A threshold on confidence whose accuracy holds on new items, not only where it was read."""

from statistics import NormalDist
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hierarchy_lm.calibration.binomial import accuracy_lower_bound, at_most, fewest_items

Reason = Literal["reached", "not reachable", "too few items", "no items"]

# Descending and fixed beforehand; finer near 1, where sigmoids crowd.
THRESHOLDS: NDArray[np.float64] = np.unique(
    np.concatenate([np.arange(1001) / 1000, 1 - np.logspace(-6, -3, 61)])
)[::-1]
_POWER = 0.9
_SEED = 0


class Threshold(NamedTuple):
    """A chosen threshold, or why there is none.

    Attributes:
        threshold: Accept items with confidence >= this (in float64); None if none keeps the
            promise.
        coverage: Accepted share of the weight, 0 without a threshold.
        accuracy: Weighted accuracy of the accepted items, as observed.
        lower_bound: Clopper-Pearson bound of that accuracy; one for this threshold alone, while
            the promise, accuracy >= target, takes the choosing into account.
        items: Number of accepted items.
        reason: "reached"; "not reachable": the first test failed; "too few items": not even
            faultless ones would show the target; "no items": none, or none with a weight.

    Without a threshold, ``accuracy``, ``lower_bound`` and ``items`` are those of the first
    threshold tested, or of all items if none was, 0 without items.
    """

    threshold: float | None
    coverage: float
    accuracy: float
    lower_bound: float
    items: int
    reason: Reason

    @property
    def cut(self) -> float:
        """The threshold as a number to compare with: infinity where nothing may be accepted."""
        return np.inf if self.threshold is None else self.threshold


class _Counts(NamedTuple):
    """Sums over the items at or above each of ``THRESHOLDS``; ``*_drawn`` after thinning."""

    weight: NDArray[np.float64]
    correct_weight: NDArray[np.float64]
    items: NDArray[np.int64]
    drawn: NDArray[np.int64]
    wrong_drawn: NDArray[np.int64]


def choose_threshold(
    confidence: ArrayLike,
    correct: ArrayLike,
    weights: ArrayLike,
    target: float,
    error_probability: float = 0.05,
) -> Threshold:
    """Lowest threshold whose weighted accuracy on new items is at least ``target``.

    The promise: over the draw of the items given here, the accuracy on new items from the same
    source falls below the target with probability ``error_probability`` at most. It needs items
    that are independent and that no fitting, early stopping or temperature has looked at.

    *Testing* (learn then test, Angelopoulos et al. 2021). The thresholds of a fixed grid are tested
    from the strictest down, each with the exact binomial (Clopper-Pearson) test of "accuracy below
    target" at level ``error_probability``; the first one not rejected ends the search. A broken
    promise needs a false rejection at the first threshold j* that misses the target, so that no
    correction for the number of thresholds is due.

    *Where to begin.* The strictest thresholds hold hardly any items and would end the search by
    bad luck. Thresholds with fewer than m accepted items are therefore passed over, where m depends
    only on the number of items, the target and ``error_probability``: see :func:`_first_count`.
    Passing over looks at no label, and the promise stays exact if accuracy does not rise as the
    threshold falls: if j* is tested, the count at j* alone says so, and given it the
    errors there are binomial. If j* is passed over and the first test is at j, then, given the
    counts at j - 1 and j, the items above j - 1 and those between are two binomial samples whose
    accuracies are both below the target, so that the test rejects with ``error_probability`` at
    most. Without that assumption the probability is larger by at most that of finding fewer than m
    items above j*.

    *Weights.* The weighted accuracy E[w c] / E[w] is the plain accuracy among items drawn with
    probability proportional to w. So every item is kept with probability w / max w (a fixed seed,
    blind to the labels) and the same exact test is applied to the kept ones; with equal weights all
    are. Bounds of the weighted mean (Hoeffding, Bernstein, betting) would use every item but pay
    more for their tails: in simulations a mixture of bets covered less, from hundreds of items to
    ten thousand. New items must not weigh more than the heaviest given.

    Args:
        confidence: In [0, 1].
        correct: Whether the answer was right.
        weights: Importance, not negative.
        target: Accuracy to promise, in (0, 1).
        error_probability: In (0, 1).

    Shape:
        - confidence, correct, weights: ``(B,)``

    Raises:
        ValueError: If the shapes differ or a number is out of its range.
    """
    check_shares(target, error_probability)
    columns = _columns(confidence, correct, weights)
    if not columns[2].any():
        return Threshold(None, 0.0, 0.0, 0.0, 0, "no items")
    counts = _count(*columns)
    needed = fewest_items(target, error_probability)
    if counts.drawn[-1] < needed:
        return _describe(counts, -1, error_probability, "too few items")
    first = _first_count(int(counts.drawn[-1]), target, error_probability)
    start = int(np.argmax(counts.drawn >= first))
    passed = _last_passed(counts, start, target, error_probability)
    if passed < start:
        return _describe(counts, start, error_probability, "not reachable")
    return _describe(counts, passed, error_probability, "reached")


def _first_count(num_items: int, target: float, error_probability: float) -> int:
    """Items that the first test must hold: enough to pass by more than luck.

    As many as let an accuracy half-way between the target and 1 pass in nine of ten draws (by the
    normal approximation), but at most a quarter of the items, and never fewer than could pass.
    """
    better = (1 + target) / 2
    quantile = NormalDist().inv_cdf
    noise = quantile(1 - error_probability) * (target * (1 - target)) ** 0.5
    noise += quantile(_POWER) * (better * (1 - better)) ** 0.5
    strong = int((max(noise, 0.0) / (better - target)) ** 2)
    return max(fewest_items(target, error_probability), min(strong, num_items // 4))


def _last_passed(counts: _Counts, start: int, target: float, error_probability: float) -> int:
    """Index of the last threshold of the unbroken run of rejections, ``start - 1`` if none."""
    tested = None
    for step in range(start, len(THRESHOLDS)):
        sample = (int(counts.wrong_drawn[step]), int(counts.drawn[step]))
        if sample != tested and at_most(*sample, 1 - target) > error_probability:
            return step - 1
        tested = sample
    return len(THRESHOLDS) - 1


def _describe(counts: _Counts, step: int, error_probability: float, reason: Reason) -> Threshold:
    weight, drawn, wrong = counts.weight[step], counts.drawn[step], counts.wrong_drawn[step]
    reached = reason == "reached"
    return Threshold(
        threshold=float(THRESHOLDS[step]) if reached else None,
        coverage=float(weight / counts.weight[-1]) if reached else 0.0,
        accuracy=float(counts.correct_weight[step] / weight),
        lower_bound=accuracy_lower_bound(int(wrong), int(drawn), error_probability),
        items=int(counts.items[step]),
        reason=reason,
    )


def _count(
    confidence: NDArray[np.float64], correct: NDArray[np.float64], weights: NDArray[np.float64]
) -> _Counts:
    draws = np.random.default_rng(_SEED).random(len(weights))
    kept = draws * weights.max() < weights  # draws are below 1: equal weights keep all
    order = np.argsort(-confidence, kind="stable")
    above = np.searchsorted(-confidence[order], -THRESHOLDS, side="right")

    def total(values: NDArray[np.float64]) -> NDArray[np.float64]:
        summed: NDArray[np.float64] = np.concatenate([[0.0], np.cumsum(values[order])])[above]
        return summed

    drawn, wrong = total(kept), total(kept * (1 - correct))
    return _Counts(
        total(weights),
        total(weights * correct),
        above.astype(np.int64),
        drawn.astype(np.int64),
        wrong.astype(np.int64),
    )


def _columns(
    confidence: ArrayLike, correct: ArrayLike, weights: ArrayLike
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    stated, right, weight = (
        np.asarray(column, dtype=np.float64) for column in (confidence, correct, weights)
    )
    if not stated.shape == right.shape == weight.shape or stated.ndim != 1:
        shapes = (stated.shape, right.shape, weight.shape)
        raise ValueError(f"threshold: confidence, correct and weights must be alike, got {shapes}")
    if not ((stated >= 0) & (stated <= 1)).all() or not (np.isfinite(weight) & (weight >= 0)).all():
        raise ValueError("threshold: confidence must lie in [0, 1] and weights be finite, from 0")
    return stated, right, weight


def check_shares(target: float, error_probability: float) -> None:
    """Refuse what no sample can promise.

    Raises:
        ValueError: If one of the two does not lie between 0 and 1.
    """
    if not 0 < target < 1:
        raise ValueError(f"target accuracy must lie between 0 and 1 (no sample shows 1): {target}")
    if not 0 < error_probability < 1:
        raise ValueError(f"error_probability must lie between 0 and 1, got {error_probability}")
