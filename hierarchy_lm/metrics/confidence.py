"""Accuracy against coverage and calibration error, by counting in fixed bins of confidence.

Bins add up over batches and ranks, so nothing is kept per item.
"""

from typing import NamedTuple

import torch
from torch import Tensor

CURVE_BINS = 10_001
RELIABILITY_BINS = 15
_ROUNDING = 1e-12  # sums of weights in another order may miss the target by an ulp


class CoverageCurve(NamedTuple):
    """What accepting every item with confidence >= threshold gives, threshold by threshold.

    Attributes:
        threshold: ``(CURVE_BINS,)`` 0, 0.0001, ..., 1.
        coverage: Accepted share of the weight, in [0, 1].
        accuracy: Correct share of the accepted weight; NaN where nothing is accepted.
        items: Number of accepted items.
        correct_items: Number of accepted items whose leaf is correct.
    """

    threshold: Tensor
    coverage: Tensor
    accuracy: Tensor
    items: Tensor
    correct_items: Tensor


def curve_bins(confidence: Tensor, correct: Tensor, weight: Tensor) -> Tensor:
    """Count items in bins of confidence of width 0.0001.

    Bin k holds [k, k + 1) / 10,000, compared in float64; the last bin holds exactly 1. A NaN
    counts as 0: it must never be accepted before anything else.

    Shape:
        - confidence, correct, weight: ``(B,)``
        - output: ``(4, CURVE_BINS)`` float64: weight, correct weight, items, correct items
    """
    edges = curve_thresholds(confidence.device)
    bins = torch.bucketize(confidence.double().nan_to_num(0.0).clamp(0, 1), edges, right=True) - 1
    weight, hits = weight.double(), correct.double()
    values = torch.stack([weight, weight * hits, torch.ones_like(hits), hits])
    return values.new_zeros(4, CURVE_BINS).index_add_(1, bins, values)


def curve_thresholds(device: torch.device | None = None) -> Tensor:
    """The lower edges of the curve's bins, ``(CURVE_BINS,)`` float64."""
    steps = CURVE_BINS - 1
    return torch.arange(CURVE_BINS, dtype=torch.float64, device=device) / steps


def coverage_curve(bins: Tensor) -> CoverageCurve:
    """Curve from the sums of :func:`curve_bins`; exact at its thresholds."""
    weight, correct, items, correct_items = bins.flip(1).cumsum(1).flip(1)
    total = bins[0].sum()
    coverage = torch.where(total > 0, weight / total, 0.0)
    accuracy = torch.where(items > 0, correct / weight, torch.nan)
    return CoverageCurve(
        curve_thresholds(bins.device), coverage, accuracy, items.long(), correct_items.long()
    )


def coverage_at(bins: Tensor, target_accuracy: float) -> Tensor:
    """Coverage at accuracy a (DHPC, C.2; ambiguity 29).

    The largest weighted share of items with confidence >= tau, over all tau, such that the
    weighted accuracy among them is at least a; 0 if no tau reaches it.
    """
    curve = coverage_curve(bins)
    reached = curve.accuracy >= target_accuracy - _ROUNDING  # NaN is not
    return (curve.coverage * reached).max()


def reliability_bins(confidence: Tensor, correct: Tensor, weight: Tensor) -> Tensor:
    """Sum what calibration needs: bin k of n holds [k, k + 1) / n, the last one also 1.

    Shape:
        - confidence, correct, weight: ``(B,)``
        - output: ``(3, RELIABILITY_BINS)`` float64: weight, weighted confidence, correct weight
    """
    stated, weight = confidence.double().nan_to_num(0.0).clamp(0, 1), weight.double()
    bins = (stated * RELIABILITY_BINS).long().clamp(max=RELIABILITY_BINS - 1)
    values = torch.stack([weight, weight * stated, weight * correct])
    return values.new_zeros(3, RELIABILITY_BINS).index_add_(1, bins, values)


def expected_calibration_error(bins: Tensor) -> Tensor:
    """Mean over the weight of abs(accuracy - mean confidence) of the bin; 0 without items."""
    weight, confidence, correct = bins
    gap: Tensor = (correct - confidence).abs().sum()
    total: Tensor = weight.sum()
    return torch.where(total > 0, gap / total, gap)
