"""Changes to a Hugging Face encoder that its own library does not offer."""

from functools import partial

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint
from transformers import PreTrainedModel

from hierarchy_lm.backbones.dnn import DNNModel
from hierarchy_lm.errors import UserError


def layer_modules(encoder: PreTrainedModel) -> nn.ModuleList:
    """The modules that run once per layer; one module for several layers if they share weights.

    Raises:
        UserError: If the encoder is built in another way.
    """
    count = _distinct_layers(encoder)
    for module in encoder.modules():
        if isinstance(module, nn.ModuleList) and len(module) == count:
            return module
    kind = encoder.config.model_type
    raise UserError(f"backbone of type '{kind}' has no list of layers; use a BERT-like encoder")


def _distinct_layers(encoder: PreTrainedModel) -> int:
    """Distinct layers: ALBERT has one group of weights for all."""
    groups: int | None = getattr(encoder.config, "num_hidden_groups", None)
    return groups or int(encoder.config.num_hidden_layers)


def keep_layers(encoder: PreTrainedModel, count: int) -> None:
    """Drop all layers but the first ``count`` (PruneBERT, DHPC Section C.1).

    Raises:
        UserError: If the encoder has fewer, or shares weights in several groups.
    """
    config = encoder.config
    if count > config.num_hidden_layers:
        raise UserError(
            f"backbone.num_layers: {count} layers asked for, the encoder has "
            f"{config.num_hidden_layers}"
        )
    if getattr(config, "num_hidden_groups", 1) > 1:
        raise UserError("backbone.num_layers: not possible for layers that share weights in groups")
    if not hasattr(config, "num_hidden_groups"):
        del layer_modules(encoder)[count:]
    config.num_hidden_layers = count
    if getattr(config, "layer_types", None):
        config.layer_types = config.layer_types[:count]


def segment_table(encoder: PreTrainedModel) -> nn.Embedding | None:
    """The embedding of segment ids; None where the architecture has none."""
    table = getattr(encoder.get_submodule("embeddings"), "token_type_embeddings", None)
    return table if isinstance(table, nn.Embedding) else None


def count_segments(encoder: PreTrainedModel) -> int:
    """Segment ids that the encoder tells apart; 0 where the architecture has none."""
    if isinstance(encoder, DNNModel):
        return encoder.config.num_views
    table = segment_table(encoder)
    return 0 if table is None else table.num_embeddings


def extend_segments(encoder: PreTrainedModel, count: int) -> None:
    """Give the segment table at least ``count`` rows; new ones copy the last one.

    Where BERT knows two, the third field starts as the second (DHPC, Section C.1). Where XLM-R
    knows one, all segments start alike, just as it was pre-trained. The DNN's new views start
    untrained.
    """
    if isinstance(encoder, DNNModel):
        if encoder.config.num_views < count:
            encoder.extend_views(count)
        return
    table = segment_table(encoder)
    if table is None or table.num_embeddings >= count:
        return
    weight = table.weight.detach()
    new_rows = weight[-1:].expand(count - len(weight), -1)
    longer = nn.Embedding(count, weight.shape[1])
    longer.weight = nn.Parameter(torch.cat([weight, new_rows]))
    encoder.get_submodule("embeddings").token_type_embeddings = longer
    encoder.config.type_vocab_size = count


def checkpoint_layers(encoder: PreTrainedModel) -> None:
    """Recompute every layer's activations in the backward pass.

    The library's own switch does not know ALBERT. Hooks on a layer stay outside and run once.

    Raises:
        UserError: If a second forward pass would change the encoder, as the DNN's BatchNorm does.
    """
    if isinstance(encoder, DNNModel):
        raise UserError(
            "backbone.gradient_checkpointing: the dnn has no activations worth it; leave it out"
        )
    for layer in layer_modules(encoder):
        layer.forward = partial(checkpoint, layer.forward, use_reentrant=False)


def first_position(encoder: PreTrainedModel) -> int:
    """Id of a text's first position. RoBERTa's kind counts from behind the padding id."""
    embeddings = encoder.get_submodule("embeddings")
    shifted = hasattr(embeddings, "create_position_ids_from_input_ids")
    return int(encoder.config.pad_token_id) + 1 if shifted else 0


def readable_positions(encoder: PreTrainedModel) -> int:
    """Longest text in tokens."""
    return int(encoder.config.max_position_embeddings) - first_position(encoder)
