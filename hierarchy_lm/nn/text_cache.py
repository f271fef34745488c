"""Reading a text once and then other tokens behind it, on its cached keys and values."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from hierarchy_lm.backbones import Backbone, EmbeddedTokens

CACHED = "hierarchy_lm_cached"
"""Name under which the library finds the attention of the cache in use."""


class TextCache:
    """Keys and values of what an encoder has read, one pair per layer.

    Possible wherever earlier tokens never attend to later ones: their states are then the same in
    a pass of their own as in a joint one. Layers are told apart by the order in which they attend,
    since ALBERT's share one module. For inference: nothing is kept for a backward pass.

    Args:
        backbone: The encoder, in evaluation mode.

    Attributes:
        length: Tokens in the cache.
    """

    def __init__(self, backbone: Backbone) -> None:
        self.backbone = backbone
        self.length = 0
        self._layers: list[tuple[Tensor, Tensor]] = []
        self._calls = 0
        self._keep = 0

    @torch.no_grad()
    def read(self, tokens: EmbeddedTokens, keep: int) -> Tensor:
        """States of tokens that may attend to all that is cached.

        Args:
            tokens: Their mask has a column for each cached token, then one for each of their own.
            keep: How many of them, the first ones, join the cache.

        Shape:
            - tokens.mask: ``(B, S, length + S)``
            - output: ``(B, S, k)``
        """
        self._calls, self._keep = 0, keep
        ALL_ATTENTION_FUNCTIONS[CACHED] = self._attend
        try:
            with self.backbone.attention_by(CACHED):
                states = self.backbone.encode(tokens)
        finally:
            ALL_ATTENTION_FUNCTIONS.pop(CACHED)  # else the table keeps this cache's tensors alive
        self.length += keep
        return states

    def _attend(
        self,
        module: nn.Module,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attention_mask: Tensor | None,
        dropout: float = 0.0,
        scaling: float | None = None,
        **_: Any,  # noqa: ANN401  (what other attention functions take)
    ) -> tuple[Tensor, None]:
        layer, self._calls = self._calls, self._calls + 1
        if layer < len(self._layers):
            key = torch.cat([self._layers[layer][0], key], dim=2)
            value = torch.cat([self._layers[layer][1], value], dim=2)
        kept = self.length + self._keep
        self._layers[layer : layer + 1] = [(key[:, :, :kept], value[:, :, :kept])]
        states = F.scaled_dot_product_attention(
            query, key, value, attn_mask=attention_mask, scale=scaling
        )
        return states.transpose(1, 2).contiguous(), None
