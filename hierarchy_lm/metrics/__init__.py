"""Metrics by counting: memory grows with the number of labels, never with that of the documents."""

from hierarchy_lm.metrics.f1 import LabelF1, LevelF1

__all__ = ["LabelF1", "LevelF1"]
