"""From options, or from a checkpoint's plain data, to a backbone."""

from collections.abc import Mapping
from typing import Any, cast

from torch import nn
from transformers import AutoConfig, PreTrainedConfig, PreTrainedModel

from hierarchy_lm.backbones.backbone import Backbone
from hierarchy_lm.backbones.loading import load_config, load_encoder, new_encoder
from hierarchy_lm.backbones.options import BackboneOptions
from hierarchy_lm.backbones.registry import find_entry
from hierarchy_lm.backbones.sources import weights_source
from hierarchy_lm.backbones.stages import load_stage
from hierarchy_lm.backbones.surgery import extend_segments, keep_layers
from hierarchy_lm.errors import UserError


def create_backbone(options: BackboneOptions, vocab_size: int, pad_token_id: int) -> Backbone:
    """Build the encoder that an experiment asks for, in train mode with float32 weights.

    Args:
        options: Which encoder, which weights.
        vocab_size: Ids the tokenizer knows.
        pad_token_id: Its padding id.

    Raises:
        UserError: If the weights cannot be had, or do not fit the name or the tokenizer.
    """
    encoder = _start(options, vocab_size, pad_token_id)
    if options.num_layers is not None:
        keep_layers(encoder, options.num_layers)
    extend_segments(encoder, options.num_segments)
    return Backbone(encoder, options.gradient_checkpointing, options.freeze)


def _start(options: BackboneOptions, vocab_size: int, pad_token_id: int) -> PreTrainedModel:
    """The encoder before any surgery."""
    source = options.init_from or weights_source(options)
    if source is None:
        return new_encoder(_new_config(options.name, vocab_size, pad_token_id))
    if options.init_from is not None:
        encoder = load_stage(source)
    else:
        encoder = load_encoder(source)
        _check_family(options, encoder)
    _check_tokenizer(source, encoder, vocab_size, pad_token_id)
    return encoder


def backbone_from_config(
    config: Mapping[str, Any], gradient_checkpointing: bool = False
) -> Backbone:
    """Build the architecture of a :attr:`Backbone.config_dict` with random weights.

    A checkpoint carries the config and all weights, so the place where they first came from need
    not exist any more.
    """
    return Backbone(new_encoder(AutoConfig.for_model(**config)), gradient_checkpointing)


def _new_config(name: str, vocab_size: int, pad_token_id: int) -> PreTrainedConfig:
    entry = find_entry(name)
    config = load_config(name) if entry is None else entry.config()
    config.vocab_size = vocab_size
    config.pad_token_id = pad_token_id
    return config


def _check_family(options: BackboneOptions, encoder: PreTrainedModel) -> None:
    entry = find_entry(options.name)
    found = encoder.config.model_type
    if entry is not None and entry.config().model_type != found:
        raise UserError(
            f"backbone.pretrained: '{options.pretrained}' holds a model of type '{found}', but "
            f"'{options.name}' is of type '{entry.config().model_type}'; set backbone.name to the "
            "folder itself"
        )


def _check_tokenizer(
    source: str, encoder: PreTrainedModel, vocab_size: int, pad_token_id: int
) -> None:
    embeddings = cast(nn.Embedding, encoder.get_input_embeddings())
    rows = embeddings.num_embeddings
    if vocab_size > rows:
        raise UserError(
            f"backbone '{source}': the tokenizer knows {vocab_size} ids, the weights only {rows}; "
            "use the tokenizer that belongs to the weights"
        )
    expected = encoder.config.pad_token_id
    if expected is not None and expected != pad_token_id:
        raise UserError(
            f"backbone '{source}': padding is id {pad_token_id} in the tokenizer and {expected} in "
            "the weights; use the tokenizer that belongs to the weights"
        )
