"""The head that scores the nodes of a tree."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hierarchy_lm.nn.block import INIT_STD


def even_odds(level_sizes: Sequence[int]) -> Tensor:
    """Logits ``(C,)`` with which all nodes of a level are alike and sum to 1: logit(1 / C_l).

    A level of one node has one half.
    """
    odds = [-math.log(max(1, size - 1)) for size in level_sizes for _ in range(size)]
    return torch.tensor(odds)


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
        self.bias = nn.Parameter(even_odds(self.level_sizes))

    def forward(self, states: Tensor) -> Tensor:
        """One product per level, concatenated."""
        # split, not slices: the gradient of L slices of the matrix would be L matrices of its size.
        weights = self.weight.split_with_sizes(self.level_sizes)
        biases = self.bias.split_with_sizes(self.level_sizes)
        levels = zip(states.unbind(dim=1), weights, biases, strict=True)
        return torch.cat([F.linear(state, weight, bias) for state, weight, bias in levels], dim=1)

    def of_one(self, state: Tensor) -> Tensor:
        """All levels from the same state, ``(B, k)``, in one product."""
        return F.linear(state, self.weight, self.bias)
