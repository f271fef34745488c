"""Metrics by counting: memory grows with the number of labels, never with that of the documents."""

from hierarchy_lm.metrics.cascade import CascadeMetrics, DepartmentScores
from hierarchy_lm.metrics.collapse import Alignment, Spread
from hierarchy_lm.metrics.confidence import CoverageCurve
from hierarchy_lm.metrics.consistency import PathConsistency
from hierarchy_lm.metrics.f1 import LabelF1, LevelF1
from hierarchy_lm.metrics.outcomes import CascadeOutcome, Judgement, judge

__all__ = [
    "Alignment",
    "CascadeMetrics",
    "CascadeOutcome",
    "CoverageCurve",
    "DepartmentScores",
    "Judgement",
    "LabelF1",
    "LevelF1",
    "PathConsistency",
    "Spread",
    "judge",
]
