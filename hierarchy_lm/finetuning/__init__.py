"""Downstream tasks on a plain encoder."""

from hierarchy_lm.finetuning.downstream import DownstreamFinetuner

__all__ = ["DownstreamFinetuner"]
