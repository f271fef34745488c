"""Graph convolution over a tree whose edges are of three kinds (SST's HiMatch, Section V-D)."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn


@dataclass(frozen=True)
class RelationalOptions:
    """The Relational-GCN over the nodes.

    Attributes:
        num_layers: Layers; each hears from relatives one edge, or one sibling, further away.
        width: Of the nodes' states, and of the space that texts and labels are matched in.
        dropout: On what a layer adds to its input.
    """

    num_layers: int = 2
    width: int = 200
    dropout: float = 0.1

    def __post_init__(self) -> None:
        """Refuse sizes that are none.

        Raises:
            ValueError: If there would be no layer or no width.
        """
        if self.num_layers < 1 or self.width < 1:
            raise ValueError(
                f"rgcn: num_layers and width must be positive, got {self.num_layers}, {self.width}"
            )


class RelationalGCN(nn.Module):
    r"""States of all nodes from features of all nodes (Schlichtkrull et al., 2018).

    .. math::
        h_i' = \mathrm{LN}\Big(h_i + \mathrm{ReLU}\Big(W_0 h_i + \sum_r
            \frac{1}{|N_i^r|} \sum_{j \in N_i^r} W_r h_j\Big)\Big),
            \quad r \in \{\text{parent}, \text{child}, \text{sibling}\}

    without a basis decomposition. A relation that a node has nobody in adds nothing.

    Args:
        parents: Parent of each node, -1 at a root.
        input_size: Width of the features.
        options: Size.

    Shape:
        - features: ``(C, input_size)``
        - output: ``(C, width)``
    """

    def __init__(
        self, parents: NDArray[np.int32], input_size: int, options: RelationalOptions
    ) -> None:
        super().__init__()
        self.inputs = nn.Linear(input_size, options.width)
        self.relatives = TreeMeans(parents)
        self.layers = nn.ModuleList(
            _Layer(options.width, options.dropout) for _ in range(options.num_layers)
        )

    def forward(self, features: Tensor) -> Tensor:
        """Pass all layers."""
        states: Tensor = self.inputs(features)
        for layer in self.layers:
            states = layer(states, *self.relatives(states))
        return states


class _Layer(nn.Module):
    def __init__(self, width: int, dropout: float) -> None:
        super().__init__()
        self.own = nn.Linear(width, width)
        # One product each: side by side, the four inputs would be the largest tensor of the step.
        self.parent, self.child, self.sibling = (
            nn.Linear(width, width, bias=False) for _ in range(3)
        )
        self.dropout = nn.Dropout(dropout)
        self.norm = nn.LayerNorm(width)

    def forward(
        self, states: Tensor, parents: Tensor, children: Tensor, siblings: Tensor
    ) -> Tensor:
        heard = self.own(states) + self.parent(parents)
        heard = heard + self.child(children) + self.sibling(siblings)
        normed: Tensor = self.norm(states + self.dropout(torch.relu(heard)))
        return normed


class TreeMeans(nn.Module):
    """Means over each node's parent, children and siblings, in time and memory of C nodes.

    There are no edges between siblings, whose number is quadratic in that of children: the sum over
    all children of the parent, less the node itself, is that over its siblings. Roots are siblings
    of each other. The sums are in float32.

    Args:
        parents: Parent of each node, -1 at a root.

    Shape:
        - states: ``(C, k)``
        - output: three of ``(C, k)``; zeros where a node has nobody
    """

    places: Tensor
    is_root: Tensor
    num_children: Tensor
    num_siblings: Tensor

    def __init__(self, parents: NDArray[np.int32]) -> None:
        super().__init__()
        places = torch.from_numpy(parents).long() + 1  # 0: the node above the roots
        counts = torch.bincount(places, minlength=len(parents) + 1).float()
        self.register_buffer("places", places, persistent=False)
        self.register_buffer("is_root", (places == 0)[:, None], persistent=False)
        self.register_buffer("num_children", counts[1:, None], persistent=False)
        self.register_buffer("num_siblings", counts[places, None] - 1, persistent=False)

    def forward(self, states: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Parent, mean of the children, mean of the siblings."""
        states = states if states.dtype == torch.float64 else states.float()
        above = states[(self.places - 1).clamp(min=0)].masked_fill(self.is_root, 0.0)
        sums = states.new_zeros(len(states) + 1, states.shape[1])
        sums = sums.index_add(0, self.places, states)
        children = sums[1:] / self.num_children.clamp(min=1)
        siblings = (sums[self.places] - states) / self.num_siblings.clamp(min=1)
        # Of an only child, what is left of the difference is rounding.
        return above, children, siblings.masked_fill(self.num_siblings == 0, 0.0)
