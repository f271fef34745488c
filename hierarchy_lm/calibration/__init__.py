"""Temperatures and thresholds: from scores to promises about accuracy. NumPy only."""

from hierarchy_lm.calibration.decisions import (
    DECISIONS,
    CascadeThresholds,
    DecisionThresholds,
    ValidationItems,
    choose_thresholds,
    decide,
)
from hierarchy_lm.calibration.temperature import fit_temperature, tuning_items
from hierarchy_lm.calibration.threshold import Reason, Threshold, choose_threshold

__all__ = [
    "DECISIONS",
    "CascadeThresholds",
    "DecisionThresholds",
    "Reason",
    "Threshold",
    "ValidationItems",
    "choose_threshold",
    "choose_thresholds",
    "decide",
    "fit_temperature",
    "tuning_items",
]
