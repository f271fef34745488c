"""The Structural-Transformer of SST: from a document's embedding to scores of all nodes."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from hierarchy_lm.nn.block import INIT_STD, TransformerBlock
from hierarchy_lm.nn.node_head import NodeHead
from hierarchy_lm.nn.structural_options import StructuralOptions, level_mask


class StructuralTransformer(nn.Module):
    r"""Predict the nodes of every level from [CLS], each level knowing those above it.

    The inputs :math:`I_l = W_l h_{CLS} + b_l` pass a small transformer over the L levels under the
    mask of Eq. 1; the state :math:`o_l` then scores the nodes of level l (SST, Section IV-A).

    Args:
        level_sizes: Nodes of each level, roots first.
        hidden_size: Width k of the encoder.
        options: Depth, width and ablations.

    Shape:
        - h_cls: ``(B, k)``
        - output: ``(B, C)`` logits, one level after the other

    Raises:
        ValueError: If the options do not fit the tree or the width.
    """

    mask: Tensor | None

    def __init__(
        self, level_sizes: Sequence[int], hidden_size: int, options: StructuralOptions
    ) -> None:
        super().__init__()
        self.level_sizes = list(level_sizes)
        self.sequential = options.readout == "sequential"
        self.inputs = LevelInputs(len(self.level_sizes), hidden_size, options)
        num_layers = options.layers_for(len(self.level_sizes))
        self.repeats = num_layers if options.share_layers else 1
        self.layers = nn.ModuleList(
            TransformerBlock(
                hidden_size,
                options.heads_for(hidden_size),
                options.ffn_size or 4 * hidden_size,
                options.dropout,
            )
            for _ in range(1 if options.share_layers else num_layers)
        )
        self.head = NodeHead(self.level_sizes, hidden_size)
        mask = level_mask(options.mask, len(self.level_sizes))
        self.register_buffer("mask", mask, persistent=False)

    def forward(self, h_cls: Tensor) -> Tensor:
        """Score all nodes."""
        return self.head(self.level_states(self.inputs(h_cls)))  # type: ignore[no-any-return]

    def level_states(self, inputs: Tensor) -> Tensor:
        """States :math:`o_l` from which the levels are scored; input and output ``(B, L, k)``."""
        states = inputs
        after_own_layer = []
        for _ in range(self.repeats):
            for layer in self.layers:
                states = layer(states, self.mask)
                after_own_layer.append(states)
        if not self.sequential:
            return states
        return torch.stack(
            [states[:, level] for level, states in enumerate(after_own_layer)], dim=1
        )


class LevelInputs(nn.Module):
    """One input vector per level from the document embedding.

    Shape:
        - h_cls: ``(B, k)``
        - output: ``(B, L, k)``
    """

    def __init__(self, num_levels: int, hidden_size: int, options: StructuralOptions) -> None:
        super().__init__()
        self.num_levels = num_levels
        self.projection: nn.Linear | None = None
        if options.projection != "none":
            maps = num_levels if options.projection == "per_level" else 1
            self.projection = nn.Linear(hidden_size, maps * hidden_size)
            nn.init.normal_(self.projection.weight, std=INIT_STD)
            nn.init.zeros_(self.projection.bias)
        self.positions: nn.Parameter | None = None
        if options.use_positions:
            self.positions = nn.Parameter(INIT_STD * torch.randn(num_levels, hidden_size))
        self.norm = nn.LayerNorm(hidden_size, eps=1e-12)
        self.dropout = nn.Dropout(options.dropout)

    def forward(self, h_cls: Tensor) -> Tensor:
        """Project, add positions, normalise."""
        inputs = h_cls if self.projection is None else self.projection(h_cls)
        inputs = inputs.view(len(h_cls), -1, h_cls.shape[1])  # (B, L or 1, k)
        inputs = inputs.expand(-1, self.num_levels, -1)
        if self.positions is not None:
            inputs = inputs + self.positions
        dropped: Tensor = self.dropout(self.norm(inputs))
        return dropped
