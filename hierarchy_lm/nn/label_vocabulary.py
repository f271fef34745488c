"""Nodes of the tree as words of their own (HPT, HBGL): embedded at the input, scored at the end."""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hierarchy_lm.nn.node_head import even_odds

BiasInit = Literal["even_odds", "zero"]
"""Whether the probabilities of nodes that compete sum to 1 at first, or are one half each."""


class LabelVocabulary(nn.Module):
    """One vector per node, in the space of the word embeddings, tied between input and output.

    It stands beside the encoder's table of words instead of extending it: the two are never
    concatenated, and the encoder that is exported has no rows of nodes.

    Args:
        vectors: Initial vectors, in the order of the node ids.
        least_length: Mean length that they are brought to where it is less; 0 leaves them. Words of
            random weights, N(0, 0.02), are so short that all nodes score alike and hardly any
            gradient reaches the encoder; AdamW takes thousands of steps to lengthen them. Trained
            words are about one long.
        bias_init: What the biases start from.
        sizes: How many nodes compete with each other, group by group; C in all.

    Attributes:
        weight: ``(C, E)``; E is the width of the word embeddings (128 for ALBERT).
        bias: ``(C,)`` of the scores.
    """

    def __init__(
        self, vectors: Tensor, least_length: float, bias_init: BiasInit, sizes: Sequence[int]
    ) -> None:
        super().__init__()
        factor = (least_length / vectors.detach().norm(dim=1).mean()).clamp(min=1.0)
        self.weight = nn.Parameter(factor * vectors.detach())
        even = even_odds(sizes)
        self.bias = nn.Parameter(even if bias_init == "even_odds" else torch.zeros_like(even))

    def sums(self, nodes: Tensor, offsets: Tensor) -> Tensor:
        """Sum of the vectors of each of N bags of nodes, ``(N, E)``; 0 for an empty bag.

        Args:
            nodes: Node ids of all bags, one after the other.
            offsets: ``(N,)`` start of each bag.
        """
        return F.embedding_bag(nodes, self.weight, offsets, mode="sum")

    def score(self, states: Tensor, start: int, end: int) -> Tensor:
        """Scores of a range of nodes, a level say.

        Args:
            states: ``(M, E)``, as :meth:`MLMHead.transform` makes them of hidden states.
            start: First node.
            end: Behind the last.

        Shape:
            - output: ``(M, end - start)``
        """
        return F.linear(states, self.weight[start:end], self.bias[start:end])

    def score_levels(self, states: Tensor, level_sizes: Sequence[int]) -> Tensor:
        """Scores of all nodes, those of level l by the l-th state alone.

        Shape:
            - states: ``(B, L, E)``, as for :meth:`score`
            - output: ``(B, C)``
        """
        # split, not slices: the gradient of L slices of the matrix would be L matrices of its size.
        sizes = list(level_sizes)
        weights, biases = self.weight.split_with_sizes(sizes), self.bias.split_with_sizes(sizes)
        levels = zip(states.unbind(dim=1), weights, biases, strict=True)
        return torch.cat([F.linear(state, weight, bias) for state, weight, bias in levels], dim=1)
