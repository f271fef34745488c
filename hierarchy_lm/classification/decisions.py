"""From scores to a decision: accept the leaf, back off to the department, or abstain."""

from typing import NamedTuple

import torch
from torch import Tensor

from hierarchy_lm.cascade_folder import Calibration

DECISIONS = ("leaf", "department", "abstain")
REASONS = ("accepted", "below_threshold", "no_leaf_model", "no_text")


class Decisions(NamedTuple):
    """Numbers into :data:`DECISIONS` and :data:`REASONS`, each ``(B,)`` int64."""

    decision: Tensor
    reason: Tensor


class Thresholds:
    """Least confidence of a leaf, per department, and least probability of a department.

    Args:
        calibration: Where they come from; a threshold of None accepts nothing.
        departments: Number of departments.
    """

    def __init__(self, calibration: Calibration, departments: int) -> None:
        leaf = [calibration.leaf_threshold] * departments
        if calibration.per_department:
            for node, threshold in calibration.departments.items():
                leaf[int(node)] = threshold
        self.leaf = torch.tensor([_number(value) for value in leaf])
        self.department = _number(calibration.department_threshold)

    def decide(
        self, department: Tensor, leaf: Tensor, p_department: Tensor, score: Tensor, empty: Tensor
    ) -> Decisions:
        """Decide for B items.

        An item without any text is never decided: its scores are those of an empty string.

        Args:
            department: Predicted department.
            leaf: Predicted leaf, -1 if nothing could answer.
            p_department: Probability of the department.
            score: Confidence in the leaf.
            empty: Whether the item has no text.
        """
        accepted = (leaf >= 0) & (score >= self.leaf.to(score.device)[department]) & ~empty
        backed_off = ~accepted & (p_department >= self.department) & ~empty
        decision = torch.where(accepted, 0, torch.where(backed_off, 1, 2))
        reason = torch.where(accepted, 0, torch.where(leaf < 0, 2, 1))
        return Decisions(decision, torch.where(empty, 3, reason))


def _number(threshold: float | None) -> float:
    return float("inf") if threshold is None else threshold
