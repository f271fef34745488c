"""Hierarchy pre-training: one paper, one file, one module."""

from hierarchy_lm.pretraining.conditional import ConditionalPretrainer
from hierarchy_lm.pretraining.hbgl import HBGLPretrainer
from hierarchy_lm.pretraining.hbgl_labels import HBGLLabelOptions
from hierarchy_lm.pretraining.hgclr import HGCLRPretrainer
from hierarchy_lm.pretraining.hgclr_options import ContrastOptions
from hierarchy_lm.pretraining.hiagm import HiAGMPretrainer
from hierarchy_lm.pretraining.himatch import HiMatchPretrainer
from hierarchy_lm.pretraining.hpt import HPTPretrainer
from hierarchy_lm.pretraining.masking import MaskingOptions
from hierarchy_lm.pretraining.mlm import MLMPretrainer
from hierarchy_lm.pretraining.multi_label import MultiLabelPretrainer
from hierarchy_lm.pretraining.multi_task import MultiTaskPretrainer
from hierarchy_lm.pretraining.node_only import NodeOnlyPretrainer
from hierarchy_lm.pretraining.sst import SSTPretrainer

__all__ = [
    "ConditionalPretrainer",
    "ContrastOptions",
    "HBGLLabelOptions",
    "HBGLPretrainer",
    "HGCLRPretrainer",
    "HPTPretrainer",
    "HiAGMPretrainer",
    "HiMatchPretrainer",
    "MLMPretrainer",
    "MaskingOptions",
    "MultiLabelPretrainer",
    "MultiTaskPretrainer",
    "NodeOnlyPretrainer",
    "SSTPretrainer",
]
