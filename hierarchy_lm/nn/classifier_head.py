"""The two-layer head of the department and leaf classifiers (DHPC, Section C.1)."""

import math
from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn import functional as F

from hierarchy_lm.nn.norm import SyncedBatchNorm


@dataclass(frozen=True)
class HeadOptions:
    """The classifier's head.

    Attributes:
        hidden: Width of the hidden layer.
        dropout: Dropout in front of the last layer.
        norm: Batch normalisation of the hidden layer.
    """

    hidden: int = 768
    dropout: float = 0.1
    norm: bool = True

    def __post_init__(self) -> None:
        if self.hidden < 1:
            raise ValueError(f"head.hidden must be at least 1, got {self.hidden}")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"head.dropout must be in [0, 1), got {self.dropout}")


class ClassifierHead(nn.Module):
    """Linear, BatchNorm, ReLU, Dropout, Linear.

    The last biases start at ``-log(N - 1)``, where each of N classes has probability 1/N: from zero
    the first steps would be spent on telling every class no.

    Args:
        input_size: d, width of the pooled states.
        num_labels: N.
        options: Width, dropout, norm.

    Shape:
        - input: ``(B, d)``
        - output: ``(B, N)``, or ``(B, S)`` for S columns
    """

    def __init__(self, input_size: int, num_labels: int, options: HeadOptions) -> None:
        super().__init__()
        self.hidden = nn.Linear(input_size, options.hidden)
        self.norm = SyncedBatchNorm(options.hidden) if options.norm else None
        self.dropout = nn.Dropout(options.dropout)
        self.output = nn.Linear(options.hidden, num_labels)
        for layer in (self.hidden, self.output):
            nn.init.normal_(layer.weight, std=0.02)
            nn.init.zeros_(layer.bias)
        nn.init.constant_(self.output.bias, -math.log(max(1, num_labels - 1)))

    def forward(
        self, states: Tensor, counted: bool = True, columns: Tensor | None = None
    ) -> Tensor:
        """Logits of all labels, or of some.

        Args:
            states: Pooled states.
            counted: Whether the rows belong into the batch's statistics (see the norm).
            columns: ``(S,)`` label ids; None for all.
        """
        values = self.hidden(states)
        if self.norm is not None:
            values = self.norm(values, counted)
        values = self.dropout(F.relu(values))
        if columns is None:
            logits: Tensor = self.output(values)
            return logits
        return F.linear(values, self.output.weight[columns], self.output.bias[columns])
