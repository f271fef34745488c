"""All figures of one cascade together."""

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
