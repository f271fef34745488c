"""Hierarchy pre-training: one paper, one file, one module."""

from hierarchy_lm.pretraining.masking import MaskingOptions
from hierarchy_lm.pretraining.mlm import MLMPretrainer
from hierarchy_lm.pretraining.sst import SSTPretrainer

__all__ = ["MLMPretrainer", "MaskingOptions", "SSTPretrainer"]
