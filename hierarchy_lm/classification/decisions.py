"""From scores to a decision: accept the leaf, back off to the department, or abstain."""

from typing import NamedTuple

import torch
from torch import Tensor

from hierarchy_lm.cascade_answers import DECISIONS
from hierarchy_lm.cascade_folder import Calibration

__all__ = ["DECISIONS", "REASONS", "Decisions", "Thresholds"]

REASONS = ("accepted", "below_threshold", "no_leaf_model", "no_text")


class Decisions(NamedTuple):
    """Numbers into :data:`DECISIONS` and :data:`REASONS`, each ``(B,)`` int64."""

    decision: Tensor
    reason: Tensor


class Thresholds:
    """Least confidence of a leaf and least probability of a department, by predicted department.

    Args:
        calibration: Where they come from; a threshold of None accepts nothing.
        departments: Number of departments.
    """

    def __init__(self, calibration: Calibration, departments: int) -> None:
        overall = {
            "leaf": calibration.leaf_threshold,
            "department": calibration.department_threshold,
        }
        own = calibration.departments if calibration.per_department else {}
        pairs = [own.get(str(node), overall) for node in range(departments)]
        self.leaf, self.department = (
            # As exact as the grid they were chosen from.
            torch.tensor([_number(pair[name]) for pair in pairs], dtype=torch.float64)
            for name in ("leaf", "department")
        )

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
        leaf_cut, department_cut = (
            cuts.to(score.device)[department] for cuts in (self.leaf, self.department)
        )
        accepted = (leaf >= 0) & (score >= leaf_cut) & ~empty
        backed_off = ~accepted & (p_department >= department_cut) & ~empty
        decision = torch.where(accepted, 0, torch.where(backed_off, 1, 2))
        reason = torch.where(accepted, 0, torch.where(leaf < 0, 2, 1))
        return Decisions(decision, torch.where(empty, 3, reason))


def _number(threshold: float | None) -> float:
    return float("inf") if threshold is None else threshold
