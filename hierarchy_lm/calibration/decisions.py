"""Thresholds for the cascade's decision: accept the leaf, back off, or abstain."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hierarchy_lm.calibration.threshold import Threshold, choose_threshold


class ValidationItems(NamedTuple):
    """The cascade's answers for B items with known gold.

    Shape:
        - department: ``(B,)`` int, *predicted* department; the gold one is not known when a
          threshold is applied
        - leaf: ``(B,)`` int, -1 where no leaf model could answer
        - department_correct, leaf_correct: ``(B,)`` bool
        - p_department, confidence: ``(B,)`` in [0, 1]; ``confidence`` is that in the leaf
        - weight: ``(B,)`` importance
    """

    department: NDArray[np.int64]
    leaf: NDArray[np.int64]
    department_correct: NDArray[np.bool_]
    leaf_correct: NDArray[np.bool_]
    p_department: NDArray[np.float64]
    confidence: NDArray[np.float64]
    weight: NDArray[np.float64]


class DecisionThresholds(NamedTuple):
    """Thresholds on ``confidence`` for the leaf and on ``p_department`` for backing off.

    The department's ``coverage`` is the share of the items that were turned away by the leaf's.
    """

    leaf: Threshold
    department: Threshold


class CascadeThresholds(NamedTuple):
    """One pair for all items, and one for each predicted department by its node id."""

    overall: DecisionThresholds
    by_department: dict[int, DecisionThresholds]


def choose_thresholds(
    items: ValidationItems,
    departments: Sequence[int],
    target: float,
    error_probability: float = 0.05,
) -> CascadeThresholds:
    """Thresholds for a promised accuracy, overall and for each department.

    Leaf: weighted accuracy of the accepted leaves. Department: weighted accuracy of the department
    among the items backed off, those that the leaf threshold turns away. Both as in
    :func:`~hierarchy_lm.calibration.threshold.choose_threshold`. That the department's threshold is
    chosen after the leaf's errs on the safe side: what is turned away is new to it, but for the one
    step of the grid at which the leaf's search met too many errors.

    Each promise holds by itself, with ``error_probability``: out of twenty departments at 0.05 one
    may miss its target.

    Args:
        items: Answers on items that no fitting has looked at.
        departments: Node ids to choose for; one that was never predicted gets "no items".
        target: Accuracy to promise, in (0, 1).
        error_probability: Of each promise, in (0, 1).

    Raises:
        ValueError: As :func:`~hierarchy_lm.calibration.threshold.choose_threshold`.
    """
    return CascadeThresholds(
        _choose_pair(items, target, error_probability),
        {
            department: _choose_pair(
                _rows(items, items.department == department), target, error_probability
            )
            for department in departments
        },
    )


def _choose_pair(
    items: ValidationItems, target: float, error_probability: float
) -> DecisionThresholds:
    has_leaf = items.leaf >= 0
    rated = _rows(items, has_leaf)
    leaf = choose_threshold(
        rated.confidence, rated.leaf_correct, rated.weight, target, error_probability
    )
    if leaf.threshold is not None:  # coverage of all items, not of those with a leaf
        leaf = leaf._replace(
            coverage=leaf.coverage * float(rated.weight.sum() / items.weight.sum())
        )
    rest = _rows(items, ~(has_leaf & (items.confidence >= leaf.cut)))
    department = choose_threshold(
        rest.p_department, rest.department_correct, rest.weight, target, error_probability
    )
    return DecisionThresholds(leaf, department)


def _rows(items: ValidationItems, mask: NDArray[np.bool_]) -> ValidationItems:
    return ValidationItems._make(column[mask] for column in items)
