"""Attention among the nodes of a tree that knows how far apart they are (HGCLR's label encoder)."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hierarchy_lm.nn.block import INIT_STD, TransformerBlock
from hierarchy_lm.nn.relatives import Relatives

NUM_DISTANCES = 20
"""Distances with a bias of their own; the last stands for all that are longer."""


class TreeBias(nn.Module):
    r"""What is added to the attention score of two nodes, from where they are in the tree.

    A bias of their distance, and the mean of a learned scalar over the edges between them (HGCLR,
    Graph Encoder, after Graphormer):

    .. math::
        B_{ij} = b_{d(i, j)} + \frac{1}{d(i, j)} \sum_{e \in \text{path}(i, j)} w_e
               = b_{d(i, j)} + \frac{s_i + s_j - 2 s_{lca(i, j)}}{d(i, j)}

    Every edge belongs to the node at its lower end, and :math:`s_i` is the sum over the edges from
    the root down to i: neither a distance matrix nor a list of edges is ever stored. Trees of a
    forest hang from a root above their roots, with an edge to each of them.

    Args:
        relatives: Tables of the tree.

    Shape:
        - nodes: ``(N,)`` int64
        - output: ``(N, N)``
    """

    def __init__(self, relatives: Relatives) -> None:
        super().__init__()
        self.relatives = relatives
        self.distance_bias = nn.Parameter(INIT_STD * torch.randn(NUM_DISTANCES, 1))
        self.edges = nn.Parameter(INIT_STD * torch.randn(len(relatives.levels)))

    def forward(self, nodes: Tensor) -> Tensor:
        """Biases of all pairs of the nodes given."""
        distances = self.relatives.distance(nodes[:, None], nodes[None])
        biases = F.embedding(distances.clamp(max=NUM_DISTANCES - 1), self.distance_bias)
        return biases.squeeze(-1) + self._edge_means(nodes, distances)

    def _edge_means(self, nodes: Tensor, distances: Tensor) -> Tensor:
        """Mean edge scalar on the path of each pair; 0 from a node to itself."""
        path = self.relatives.ancestors[:, nodes].T  # (N, L), a node's own level last, then -1
        steps = self.edges[path.clamp(min=0)] * (path >= 0)
        sums = F.pad(steps.cumsum(dim=1), (1, 0))  # (N, L + 1), first that of the root above all
        levels = self.relatives.levels[nodes]
        shared = (levels[:, None] + levels - distances) // 2  # levels down to the common ancestor
        whole = sums[:, -1]
        between = whole[:, None] + whole - 2 * sums.gather(1, shared)
        return between / distances.clamp(min=1)


class Graphormer(nn.Module):
    """Layers of BERT's kind over the nodes, their attention under :class:`TreeBias`.

    As in HGCLR's code the last one ends with its attention (dropout, residual and LayerNorm
    included), without a feed-forward sub-layer.

    Args:
        relatives: Tables of the tree.
        width: E of the nodes' features; ``num_heads`` must divide it.
        num_layers: At least 1.
        num_heads: Of every layer.
        dropout: Inside the layers.

    Shape:
        - features: ``(N, E)``
        - nodes: ``(N,)`` int64, which nodes they are of
        - output: ``(N, E)``
    """

    def __init__(
        self, relatives: Relatives, width: int, num_layers: int, num_heads: int, dropout: float
    ) -> None:
        super().__init__()
        self.bias = TreeBias(relatives)
        ffn_sizes = [4 * width] * (num_layers - 1) + [0]
        self.layers = nn.ModuleList(
            TransformerBlock(width, num_heads, ffn_size, dropout) for ffn_size in ffn_sizes
        )

    def forward(self, features: Tensor, nodes: Tensor) -> Tensor:
        """Features that know of each other."""
        bias = self.bias(nodes)
        for layer in self.layers:
            features = layer(features[None], bias)[0]
        return features
