"""Scores of labels by their cosine with a text."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from hierarchy_lm.nn.node_head import even_odds

START_SCALE = 20.0
"""Enough to lift a cosine of one half over the bias of a level of 10,000 nodes."""


class MatchHead(nn.Module):
    r"""Logits :math:`\tau \langle t, l_c \rangle + b_c`.

    The biases start where a level's probabilities sum to 1, as :class:`NodeHead`'s; :math:`\tau` is
    learnt as its logarithm.

    Shape:
        - texts: ``(B, w)`` unit vectors
        - labels: ``(C, w)`` unit vectors
        - output: ``(B, C)``
    """

    def __init__(self, level_sizes: Sequence[int]) -> None:
        super().__init__()
        self.log_scale = nn.Parameter(torch.tensor(math.log(START_SCALE)))
        self.bias = nn.Parameter(even_odds(level_sizes))

    def forward(self, texts: Tensor, labels: Tensor) -> Tensor:
        """One product, in float32: in bfloat16 labels that differ in the third digit tie."""
        with torch.autocast(texts.device.type, enabled=False):
            return (self.log_scale.exp() * texts) @ labels.T + self.bias
