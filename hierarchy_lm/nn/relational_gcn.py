"""Graph convolution over a tree whose edges are of three kinds (SST's HiMatch, Section V-D)."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from hierarchy_lm.precision import at_least_float32


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
        - nodes: ``(N,)`` int64
        - output: ``(C, width)``, or ``(N, width)`` of the given nodes
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

    def forward(self, features: Tensor, nodes: Tensor | None = None) -> Tensor:
        """Pass all layers; if nodes are given, with those alone that their states depend on."""
        if nodes is None:
            everyone = torch.arange(len(features), device=features.device)
            reach = [everyone] * (len(self.layers) + 1)
        else:
            reach = [torch.unique(nodes)]
            for _ in self.layers:
                reach.insert(0, self.relatives.with_relatives(reach[0]))
        states: Tensor = self.inputs(features[reach[0]])
        for layer, inside, wanted in zip(self.layers, reach, reach[1:], strict=False):
            own = states[torch.searchsorted(inside, wanted)]
            states = layer(own, *self.relatives(states, inside, wanted))
        return states if nodes is None else states[torch.searchsorted(reach[-1], nodes)]


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
        - states: ``(M, k)``
        - inside: ``(M,)`` int64, ascending
        - wanted: ``(N,)`` int64
        - output: three of ``(N, k)``; zeros where a node has nobody
    """

    places: Tensor
    num_children: Tensor
    num_siblings: Tensor

    def __init__(self, parents: NDArray[np.int32]) -> None:
        super().__init__()
        places = torch.from_numpy(parents).long() + 1  # 0: the node above the roots
        counts = torch.bincount(places, minlength=len(parents) + 1).float()
        self.register_buffer("places", places, persistent=False)
        self.register_buffer("num_children", counts[1:, None], persistent=False)
        self.register_buffer("num_siblings", counts[places, None] - 1, persistent=False)

    def with_relatives(self, nodes: Tensor) -> Tensor:
        """Nodes together with their parents, children and siblings, ascending."""
        families = torch.zeros(len(self.places) + 1, dtype=torch.bool, device=nodes.device)
        families[self.places[nodes]] = True  # their siblings, and themselves
        families[nodes + 1] = True  # their children
        kept = families[self.places]
        above = self.places[nodes] - 1
        kept[above[above >= 0]] = True
        return kept.nonzero()[:, 0]

    def forward(
        self, states: Tensor, inside: Tensor, wanted: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Parent, mean of the children, mean of the siblings.

        Args:
            states: Of the nodes inside.
            inside: All nodes, or some that hold the wanted ones and all their relatives.
            wanted: Whose means are computed.
        """
        states = at_least_float32(states)
        places = self.places[wanted]
        # The place of a root's parent may be any.
        above = torch.searchsorted(inside, places - 1).clamp(max=len(states) - 1)
        parents = states[above].masked_fill((places == 0)[:, None], 0.0)
        sums = states.new_zeros(len(self.places) + 1, states.shape[1])
        sums = sums.index_add(0, self.places[inside], states)
        children = sums[wanted + 1] / self.num_children[wanted].clamp(min=1)
        others = self.num_siblings[wanted]
        own = states[torch.searchsorted(inside, wanted)]
        siblings = (sums[places] - own) / others.clamp(min=1)
        # Of an only child, what is left of the difference is rounding.
        return parents, children, siblings.masked_fill(others == 0, 0.0)
