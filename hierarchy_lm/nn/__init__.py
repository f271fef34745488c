"""Networks on top of an encoder."""

from hierarchy_lm.nn.classifier_head import ClassifierHead, HeadOptions
from hierarchy_lm.nn.knowledge_skip import KnowledgeSkip, SkipOptions
from hierarchy_lm.nn.label_vocabulary import LabelVocabulary
from hierarchy_lm.nn.mlm_head import MLMHead
from hierarchy_lm.nn.structural_options import StructuralOptions
from hierarchy_lm.nn.structural_transformer import StructuralTransformer

__all__ = [
    "ClassifierHead",
    "HeadOptions",
    "KnowledgeSkip",
    "LabelVocabulary",
    "MLMHead",
    "SkipOptions",
    "StructuralOptions",
    "StructuralTransformer",
]
