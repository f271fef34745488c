"""Text encoders by name: the registry, its entries, and any Hugging Face id or folder."""

from hierarchy_lm.backbones import architectures as architectures  # fills the registry
from hierarchy_lm.backbones.backbone import Backbone
from hierarchy_lm.backbones.create import backbone_from_config, create_backbone
from hierarchy_lm.backbones.embedded import EmbeddedTokens
from hierarchy_lm.backbones.mlm_heads import find_mlm_head, head_of_checkpoint
from hierarchy_lm.backbones.options import BackboneOptions
from hierarchy_lm.backbones.registry import list_backbones, register_backbone
from hierarchy_lm.backbones.sources import check_backbone, tokenizer_source
from hierarchy_lm.backbones.stages import encoder_from_checkpoint

__all__ = [
    "Backbone",
    "BackboneOptions",
    "EmbeddedTokens",
    "backbone_from_config",
    "check_backbone",
    "create_backbone",
    "encoder_from_checkpoint",
    "find_mlm_head",
    "head_of_checkpoint",
    "list_backbones",
    "register_backbone",
    "tokenizer_source",
]
