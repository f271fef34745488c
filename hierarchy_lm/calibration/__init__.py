"""Temperatures and thresholds: from scores to promises about accuracy. NumPy only."""

from hierarchy_lm.calibration.decisions import (
    CascadeThresholds,
    DecisionThresholds,
    ValidationItems,
    choose_thresholds,
)
from hierarchy_lm.calibration.temperature import fit_temperature, tuning_items
from hierarchy_lm.calibration.threshold import Reason, Threshold, check_shares, choose_threshold

__all__ = [
    "CascadeThresholds",
    "DecisionThresholds",
    "Reason",
    "Threshold",
    "ValidationItems",
    "check_shares",
    "choose_threshold",
    "choose_thresholds",
    "fit_temperature",
    "tuning_items",
]
