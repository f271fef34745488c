"""A small transformer over [CLS] and the outputs of a text's level tokens (SST, Fig. 5)."""

import torch
from torch import Tensor, nn

from hierarchy_lm.nn.block import INIT_STD, TransformerBlock
from hierarchy_lm.nn.structural_options import StructuralOptions


class OutputTransformer(nn.Module):
    """Mix [CLS] with one output per level; the state in the place of [CLS] is what comes out.

    Learned positions tell the levels apart; heads and widths are those of the
    Structural-Transformer, every state may look at every other.

    Args:
        num_levels: L.
        hidden_size: Width k of the encoder.
        num_layers: Depth; the paper does not name it.
        dropout: On the inputs and inside the layers.

    Shape:
        - states: ``(B, 1 + L, k)``, [CLS] first
        - output: ``(B, k)``
    """

    def __init__(
        self, num_levels: int, hidden_size: int, num_layers: int = 2, dropout: float = 0.1
    ) -> None:
        super().__init__()
        self.positions = nn.Parameter(INIT_STD * torch.randn(1 + num_levels, hidden_size))
        self.norm = nn.LayerNorm(hidden_size, eps=1e-12)
        self.dropout = nn.Dropout(dropout)
        heads = StructuralOptions().heads_for(hidden_size)
        self.layers = nn.ModuleList(
            TransformerBlock(hidden_size, heads, 4 * hidden_size, dropout)
            for _ in range(num_layers)
        )

    def forward(self, states: Tensor) -> Tensor:
        """Add positions, normalise, mix."""
        mixed: Tensor = self.dropout(self.norm(states + self.positions))
        for layer in self.layers:
            mixed = layer(mixed)
        return mixed[:, 0]
