"""The Structural-Transformer of SST: from a document's embedding to scores of all nodes."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hierarchy_lm.nn.block import INIT_STD, TransformerBlock
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


class NodeHead(nn.Module):
    """Scores of all nodes, those of level l from the l-th state alone.

    All levels are stored as one ``(C, k)`` matrix whose rows are in the order of the node ids. The
    biases start where each level's probabilities sum to 1: from 0, a level of 1,000 nodes would
    spend its first hundreds of steps on learning that most nodes are wrong.

    Shape:
        - states: ``(B, L, k)``
        - output: ``(B, C)``
    """

    def __init__(self, level_sizes: Sequence[int], hidden_size: int) -> None:
        super().__init__()
        self.level_sizes = list(level_sizes)
        num_nodes = sum(self.level_sizes)
        self.weight = nn.Parameter(INIT_STD * torch.randn(num_nodes, hidden_size))
        # logit(1 / C_l); a level of one node starts at one half
        odds = [-math.log(max(1, size - 1)) for size in self.level_sizes for _ in range(size)]
        self.bias = nn.Parameter(torch.tensor(odds))

    def forward(self, states: Tensor) -> Tensor:
        """One product per level, concatenated."""
        # split, not slices: the gradient of L slices of the matrix would be L matrices of its size.
        weights = self.weight.split_with_sizes(self.level_sizes)
        biases = self.bias.split_with_sizes(self.level_sizes)
        levels = zip(states.unbind(dim=1), weights, biases, strict=True)
        return torch.cat([F.linear(state, weight, bias) for state, weight, bias in levels], dim=1)
