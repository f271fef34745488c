"""The encoder as all models see it: tokens in, [CLS] out."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self, cast

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from hierarchy_lm.backbones.dnn import DNNModel
from hierarchy_lm.backbones.embedded import EmbeddedTokens
from hierarchy_lm.backbones.surgery import (
    checkpoint_layers,
    count_segments,
    first_position,
    layer_modules,
    readable_positions,
)
from hierarchy_lm.batches import TokenBatch
from hierarchy_lm.errors import UserError


class Backbone(nn.Module):
    """A Hugging Face encoder, in train mode, whose output is the last hidden state of [CLS].

    Args:
        encoder: Encoder without a pooler.
        gradient_checkpointing: Recompute activations in the backward pass.
        freeze: Never train the encoder, whatever mode the module is in.

    Attributes:
        encoder: The Hugging Face model.
        hidden_size: Width k.
        max_length: Longest text in tokens.
        num_segments: Segment ids it tells apart; 0 if the architecture knows none.

    Shape:
        - output: ``(B, k)``, in the order of the documents
    """

    def __init__(
        self,
        encoder: PreTrainedModel,
        gradient_checkpointing: bool = False,
        freeze: bool = False,
    ) -> None:
        super().__init__()
        self.frozen = freeze
        self.encoder = encoder.requires_grad_(not freeze)
        # Loaded in eval mode, which Lightning would keep: dropout would stay off.
        self.train()
        self.hidden_size: int = encoder.config.hidden_size
        self.max_length = readable_positions(encoder)
        self.num_segments = count_segments(encoder)
        self._first_position = first_position(encoder)
        self._fused_attention = encoder.config._attn_implementation
        self._own_attention: str | None = None
        if gradient_checkpointing:
            checkpoint_layers(encoder)

    def train(self, mode: bool = True) -> Self:
        """Set the mode, which for a frozen encoder is evaluation always."""
        return super().train(mode and not self.frozen)

    @property
    def num_layers(self) -> int:
        """Layers a text passes, whether or not they share weights."""
        return int(self.encoder.config.num_hidden_layers)

    @property
    def has_token_states(self) -> bool:
        """Whether every token has a state of its own; the DNN has one for the whole text."""
        return not isinstance(self.encoder, DNNModel)

    @property
    def attends_locally(self) -> bool:
        """Whether some layers look no further than a window of places, as ModernBERT's do.

        The library puts a mask with a row for each query in the place of their windows.
        """
        kinds = getattr(self.encoder.config, "layer_types", None) or ()
        return any(kind != "full_attention" for kind in kinds)

    @property
    def word_embeddings(self) -> Tensor:
        """Its table of word embeddings ``(V, E)``; ALBERT's are narrower than its layers."""
        return cast(nn.Embedding, self.encoder.get_input_embeddings()).weight

    @property
    def config_dict(self) -> dict[str, Any]:
        """The architecture as plain JSON, for :func:`backbone_from_config`."""
        config: dict[str, Any] = json.loads(self.encoder.config.to_json_string(use_diff=False))
        config.pop("_name_or_path", None)  # a path of this machine
        return config

    def forward(self, tokens: TokenBatch) -> Tensor:
        """Embed documents."""
        return self.hidden_states(tokens)[:, 0]

    def hidden_states(self, tokens: TokenBatch) -> Tensor:
        """Last hidden state of every token, ``(B, T, k)``; of the DNN the one that it has.

        Raises:
            UserError: If the texts are longer than the encoder can read.
        """
        self._check_length(tokens.input_ids.shape[1])
        inputs = {"input_ids": tokens.input_ids, "attention_mask": tokens.attention_mask}
        if self.num_segments:
            inputs["token_type_ids"] = tokens.token_type_ids
        self._choose_attention(tokens.input_ids.device)
        states: Tensor = self.encoder(**inputs).last_hidden_state
        return states

    def encode(self, tokens: EmbeddedTokens) -> Tensor:
        """Last hidden state of every token, ``(B, S, k)``, of sequences beyond plain texts.

        Words alone, with running positions and a mask of the padding, give the states that
        :meth:`hidden_states` gives.

        Raises:
            UserError: If positions reach further than the encoder can read, it is the DNN, or it
                attends locally and the mask has a row for each query.
        """
        if not self.has_token_states:
            raise UserError("the dnn has no states of single tokens; use a transformer")
        if tokens.mask.dim() == 3 and self.attends_locally:
            raise UserError(
                f"the encoder of type '{self.encoder.config.model_type}' has layers with local "
                "attention, which a mask for each token would switch off; use a BERT-like one"
            )
        batch, length = tokens.embeddings.shape[:2]
        if length > self.max_length:  # blocks may share positions; asking for them waits for a GPU
            self._check_length(int(tokens.positions.max()) + 1)
        self._choose_attention(tokens.embeddings.device)
        inputs = {
            "inputs_embeds": tokens.embeddings,
            "attention_mask": self._attention_mask(tokens.mask),
            "position_ids": tokens.positions.expand(batch, length) + self._first_position,
        }
        if self.num_segments:
            inputs["token_type_ids"] = tokens.segments.expand(batch, length)
        states: Tensor = self.encoder(**inputs).last_hidden_state
        return states

    def _attention_mask(self, allowed: Tensor) -> Tensor:
        """The library's form of a mask: the plain products add it, the fused kernel asks it."""
        if allowed.dim() == 2:
            return allowed.long()
        allowed = allowed.unsqueeze(1)
        if self.encoder.config._attn_implementation != "eager":
            return allowed
        blocked = torch.zeros(allowed.shape, device=allowed.device)
        return blocked.masked_fill_(~allowed, torch.finfo(blocked.dtype).min)

    def _check_length(self, length: int) -> None:
        if length > self.max_length:
            raise UserError(
                f"the encoder reads at most {self.max_length} tokens, got a text of {length}; "
                "lower text.max_length"
            )

    def _choose_attention(self, device: torch.device) -> None:
        # On a CPU in bfloat16 the backward pass of the fused kernel is slow: without dropout on the
        # attention weights (ALBERT) a step takes 1.4 to 1.8 times as long as with plain products.
        plain = self.training and device.type == "cpu" and torch.is_autocast_enabled("cpu")
        wanted = self._own_attention or ("eager" if plain else self._fused_attention)
        if self.encoder.config._attn_implementation != wanted:
            self.encoder.set_attn_implementation(wanted)

    @contextmanager
    def attention_by(self, name: str) -> Iterator[None]:
        """Let a function that is registered with the library under a name compute attention.

        :meth:`encode` hands it masks ``(B, 1, S, keys)`` of booleans as they are.
        """
        self._own_attention = name
        try:
            yield
        finally:
            self._own_attention = None
            self.encoder.set_attn_implementation(self._fused_attention)

    def all_layer_cls(self, tokens: TokenBatch) -> Tensor:
        """[CLS] after each layer, ``(B, num_layers, k)``, for knowledge skip (DHPC, C.1).

        The last one is what :meth:`forward` returns. Other tokens' states are not kept.
        """
        collected: list[Tensor] = []

        def keep_cls(_layer: nn.Module, _inputs: Any, output: Any) -> None:  # noqa: ANN401
            states: Tensor = output[0] if isinstance(output, tuple) else output
            # A clone, since a view would keep the states of all tokens alive.
            collected.append(states[:, 0].clone())

        hooks = [layer.register_forward_hook(keep_cls) for layer in layer_modules(self.encoder)]
        try:
            # Some architectures normalise once more after their last layer.
            collected[-1:] = [self(tokens)]
        finally:
            for hook in hooks:
                hook.remove()
        return torch.stack(collected, dim=1)

    def save_pretrained(self, folder: Path) -> None:
        """Write config and weights (safetensors) as a Hugging Face folder."""
        self.encoder.save_pretrained(folder)
