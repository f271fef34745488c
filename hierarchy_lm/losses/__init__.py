"""Losses on logits and sparse targets, always computed in float32."""

from hierarchy_lm.losses.dhpc import DHPCLoss
from hierarchy_lm.losses.dhpc_options import (
    BootstrapOptions,
    DHPCOptions,
    NegativeOptions,
    TemperatureOptions,
)
from hierarchy_lm.losses.functional import sparse_bce
from hierarchy_lm.losses.label_space import LabelSpace
from hierarchy_lm.losses.path import NodeReduction, PathLoss

__all__ = [
    "BootstrapOptions",
    "DHPCLoss",
    "DHPCOptions",
    "LabelSpace",
    "NegativeOptions",
    "NodeReduction",
    "PathLoss",
    "TemperatureOptions",
    "sparse_bce",
]
