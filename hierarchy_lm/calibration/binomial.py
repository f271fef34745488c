"""Exact binomial tails, without SciPy."""

import math

import numpy as np

_HALVINGS = 50


def at_most(errors: int, items: int, error_rate: float) -> float:
    """P(X <= errors) for X ~ Binomial(items, error_rate), with 0 < error_rate < 1.

    The p-value of the hypothesis that the accuracy is below ``1 - error_rate``.
    """
    if errors >= items:
        return 1.0
    step = np.arange(errors, dtype=np.float64)
    ratios = np.log((items - step) / (step + 1)) + math.log(error_rate / (1 - error_rate))
    log_terms = items * math.log1p(-error_rate) + np.concatenate([[0.0], np.cumsum(ratios)])
    return min(1.0, float(np.exp(log_terms).sum()))


def accuracy_lower_bound(errors: int, items: int, error_probability: float) -> float:
    """One-sided Clopper-Pearson bound: the true accuracy is higher with 1 - error_probability."""
    low, high = 0.0, 1.0
    if errors >= items:
        return low
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        rejected = at_most(errors, items, 1 - middle) <= error_probability
        low, high = (middle, high) if rejected else (low, middle)
    return low


def fewest_items(target: float, error_probability: float) -> int:
    """Items below which even a faultless sample does not show an accuracy of ``target``."""
    items = math.ceil(math.log(error_probability) / math.log(target))
    # The logarithms' last bit must not decide.
    return next(
        n for n in (items - 1, items, items + 1) if at_most(0, n, 1 - target) <= error_probability
    )
