"""Hierarchy pre-training: one paper, one file, one module."""

from hierarchy_lm.pretraining.sst import SSTPretrainer

__all__ = ["SSTPretrainer"]
