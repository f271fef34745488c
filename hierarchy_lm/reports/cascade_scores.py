"""All figures of one cascade together, and the same numbers as text."""

from dataclasses import dataclass

from hierarchy_lm.reports.cascade_data import Evaluation
from hierarchy_lm.reports.cascade_figures import (
    Curve,
    Departments,
    Judgement,
    Reliability,
    accuracy,
    by_department,
    coverage_curve,
    judge,
    reliability,
)

MISSING = "–"


@dataclass(frozen=True)
class Scores:
    """An evaluation with everything computed from it.

    Attributes:
        label: How the report calls it.
    """

    label: str
    evaluation: Evaluation
    judgement: Judgement
    department_accuracy: float | None
    leaf_accuracy: float | None
    curve: Curve
    reliability: Reliability
    departments: Departments


def score(evaluation: Evaluation, label: str) -> Scores:
    """Compute all figures of an evaluation."""
    judgement = judge(evaluation)
    weight = evaluation.weight
    return Scores(
        label=label,
        evaluation=evaluation,
        judgement=judgement,
        department_accuracy=accuracy(weight, judgement.department_right, judgement.labelled),
        leaf_accuracy=accuracy(weight, judgement.leaf_right, judgement.labelled),
        curve=coverage_curve(evaluation, judgement),
        reliability=reliability(evaluation, judgement),
        departments=by_department(evaluation, judgement),
    )


def share(value: float | None) -> str:
    """A share or accuracy with four decimals, as the paper prints them."""
    return MISSING if value is None or value != value else f"{value:.4f}"


def gain(value: float | None, base: float | None) -> str:
    """Improvement (+) or downgrade (-) over the baseline."""
    if value is None or base is None or value != value or base != base:
        return MISSING
    difference = round(value - base, 4)
    return f"{difference or 0.0:+.4f}"


def count(value: int) -> str:
    """A number of items with thousands apart."""
    return f"{value:,}"


def threshold_text(value: float) -> str:
    """A confidence, with more digits where a model is nearly certain."""
    return f"{value:.6f}" if value > 0.999 else f"{value:.4f}"
