"""Temperature scaling of one stage (Guo et al. 2017, for sigmoid outputs)."""

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

MIN_TEMPERATURE, MAX_TEMPERATURE = 0.05, 20.0
_HALVINGS = 60  # of an interval of length 6 in log T: to the last bit of a float64


def fit_temperature(logits: ArrayLike, correct: ArrayLike, weights: ArrayLike) -> float:
    """Temperature T that minimises the weighted log loss of ``sigmoid(logit / T)``.

    The loss is convex in 1/T, so that bisecting its derivative finds the one minimum; where the
    minimum lies outside [0.05, 20] the nearer end is returned. Deterministic.

    One number cannot be learnt from nothing: T is 1 where there are no items or no weight,
    where all items are correct or all are wrong (the best T would be 0 or infinite, and promise
    certainty after a handful of items), and where all logits are 0.

    Args:
        logits: Logit of the class that the stage chose, not of all its classes.
        correct: Whether that class was right.
        weights: Importance of each item, not negative.

    Shape:
        - logits, correct, weights: ``(B,)``

    Raises:
        ValueError: If the shapes differ, a logit is not finite or a weight is negative.
    """
    z, y, w = _columns(logits, correct, weights)
    if not (w @ y > 0 and w @ (1 - y) > 0 and z.any()):
        return 1.0

    def slope(log_temperature: float) -> float:
        """Derivative of the loss by 1/T; rises with 1/T."""
        scaled = z * math.exp(-log_temperature)
        return float(w @ (z * (_sigmoid(scaled) - y)))

    low, high = math.log(MIN_TEMPERATURE), math.log(MAX_TEMPERATURE)
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if slope(middle) > 0 else (low, middle)
    return math.exp((low + high) / 2)


def tuning_items(num_items: int, share: float = 0.2, seed: int = 0) -> NDArray[np.bool_]:
    """Mask of the items to fit temperatures on, drawn by the seed; the rest are for thresholds.

    A threshold's promise is exact only for items that had no part in the scores it cuts.

    Raises:
        ValueError: If ``share`` is not in [0, 1].
    """
    if not 0 <= share <= 1:
        raise ValueError(f"tuning share must lie in [0, 1], got {share}")
    return np.random.default_rng(seed).permutation(num_items) < round(share * num_items)


def _columns(
    logits: ArrayLike, correct: ArrayLike, weights: ArrayLike
) -> list[NDArray[np.float64]]:
    columns = [np.asarray(column, dtype=np.float64) for column in (logits, correct, weights)]
    if len({column.shape for column in columns}) > 1 or columns[0].ndim != 1:
        shapes = [column.shape for column in columns]
        raise ValueError(f"temperature: logits, correct and weights must be alike, got {shapes}")
    if not np.isfinite(columns[0]).all() or not (columns[2] >= 0).all():
        raise ValueError("temperature: logits must be finite and weights not negative")
    return columns


def _sigmoid(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Without overflow for any finite logit."""
    return 0.5 * (1 + np.tanh(0.5 * x))
