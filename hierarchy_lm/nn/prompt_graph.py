"""The graph attention that makes the level prompts of HPT out of the nodes of the tree."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hierarchy_lm.nn.block import INIT_STD

NEGATIVE_SLOPE = 0.2


class PromptGraph(nn.Module):
    r"""One layer of graph attention (Velickovic et al., 2018), of which only L outputs are needed.

    HPT's graph (Section 3.2) has the nodes of the tree and one virtual node per level, which is
    joined to the nodes of its level; the outputs of the virtual nodes are the level prompts. In one
    layer a virtual node hears its neighbours only, with weights

    .. math::
        \alpha_{lc} \propto \exp \mathrm{LeakyReLU}(a_d \cdot W t_l + a_s \cdot W g_c),
        \qquad c \in H_l \cup \{l\},

    so that the edges inside the tree have no part in them and
    :math:`\sum_c \alpha_{lc} W g_c = W \sum_c \alpha_{lc} g_c`: two products of the labels' table
    with a vector instead of a layer over the graph. Dropout, residual and LayerNorm follow.

    Args:
        num_levels: L.
        width: E, that of the word embeddings.
        dropout: On what the neighbours say.

    Attributes:
        levels: ``(L, E)`` the virtual nodes before the layer.

    Shape:
        - labels: ``(N, E)`` vectors of the nodes that are heard, level by level
        - output: ``(L, E)``, float32
    """

    def __init__(self, num_levels: int, width: int, dropout: float = 0.1) -> None:
        super().__init__()
        self.levels = nn.Parameter(INIT_STD * torch.randn(num_levels, width))
        self.map = nn.Linear(width, width)
        nn.init.xavier_uniform_(self.map.weight)
        nn.init.zeros_(self.map.bias)
        bound = (6 / (1 + width)) ** 0.5
        self.source = nn.Parameter(torch.empty(width).uniform_(-bound, bound))
        self.target = nn.Parameter(torch.empty(width).uniform_(-bound, bound))
        self.norm = nn.LayerNorm(width, eps=1e-12)
        self.dropout = nn.Dropout(dropout)

    def forward(self, labels: Tensor, sizes: Sequence[int]) -> Tensor:
        """Level prompts.

        Args:
            labels: What is heard.
            sizes: How many of them each level has; a level of none hears itself.
        """
        with torch.autocast(labels.device.type, enabled=False):
            source, target = self.source @ self.map.weight, self.target @ self.map.weight
            own, wanted = self.levels @ source, self.levels @ target
            # split, not slices: the gradient of L slices would be L tables of all nodes.
            parts = labels.split_with_sizes(list(sizes))
            scores = (labels @ source).split_with_sizes(list(sizes))
            heard = []
            for level, (nodes, of_nodes) in enumerate(zip(parts, scores, strict=True)):
                joined = torch.cat([own[level : level + 1], of_nodes]) + wanted[level]
                weights = F.leaky_relu(joined, NEGATIVE_SLOPE).softmax(dim=0)
                heard.append(weights[0] * self.levels[level] + weights[1:] @ nodes)
            messages = self.dropout(self.map(torch.stack(heard)))
            prompts: Tensor = self.norm(self.levels + messages)
        return prompts
