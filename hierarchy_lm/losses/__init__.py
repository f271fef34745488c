"""Losses on logits and sparse targets, always computed in float32."""

from hierarchy_lm.losses.functional import sparse_bce
from hierarchy_lm.losses.path import NodeReduction, PathLoss

__all__ = ["NodeReduction", "PathLoss", "sparse_bce"]
