"""Hierarchy-GCN: gated messages along the edges of a tree (HiAGM, Zhou et al., 2020)."""

from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

ChildStart = Literal["sum", "mean"]


class HierarchyGCN(nn.Module):
    r"""One layer in which every node hears from its children, its parent and itself.

    .. math::
        h_c' = \mathrm{ReLU}\big(\sigma(h_c w_{in} + b_c^{in}) \, (A_{in} h + E_{in})_c
            + \sigma(h_c w_{out} + b_c^{out}) \, (A_{out} h + E_{out})_c
            + \sigma(h_c w_{loop}) \, h_c\big)

    :math:`A_{in}` takes children to parents, :math:`A_{out}` parents to children. Both are one
    number per edge, trained; the official code has two dense matrices of C x C masked to the edges.
    All gates' biases start at 0: the official code leaves those of :math:`A_{out}` as the memory
    happens to be, which no option can give back.

    Args:
        parents: Parent of each node, -1 at a root.
        width: d.
        dropout: On each of the three parts.
        children: A parent starts with the ``sum`` of its children, 1 per edge as in the paper, or
            with their ``mean``, which does not grow with their number.

    Attributes:
        up, down: ``(C - roots,)`` what each node but the roots sends to its parent and hears from
            it; ``down`` starts evenly, see :meth:`set_prior`.

    Shape:
        - features, output: ``(..., C, d)``
    """

    above: Tensor

    def __init__(
        self,
        parents: NDArray[np.int32],
        width: int,
        dropout: float = 0.05,
        children: ChildStart = "sum",
    ) -> None:
        super().__init__()
        num_nodes = len(parents)
        above = torch.from_numpy(parents).long()
        self.num_roots = int((above < 0).sum())
        self.register_buffer("above", above[self.num_roots :], persistent=False)
        self.even = 1 / torch.bincount(self.above, minlength=num_nodes)[self.above].float()
        self.up = nn.Parameter(
            torch.ones_like(self.even) if children == "sum" else self.even.clone()
        )
        self.down = nn.Parameter(self.even.clone())
        self.up_bias = nn.Parameter(torch.zeros(num_nodes, width))
        self.down_bias = nn.Parameter(torch.zeros(num_nodes, width))
        gates = nn.init.xavier_normal_(torch.empty(width, 3))  # of children, parent, loop
        self.gates = nn.Parameter(gates)
        self.gate_bias = nn.Parameter(torch.zeros(num_nodes, 2))
        self.dropout = nn.Dropout(dropout)

    @torch.no_grad()
    def set_prior(self, frequencies: NDArray[np.int64]) -> None:
        """Start ``down`` at P(child | parent).

        Args:
            frequencies: Training products at or below each node, ``(C,)``. Children of which none
                has any stay even.
        """
        counts = torch.from_numpy(frequencies)[self.num_roots :].to(self.down)
        totals = counts.new_zeros(len(frequencies)).index_add(0, self.above, counts)[self.above]
        shares = counts / totals.clamp(min=1)
        self.down.copy_(torch.where(totals > 0, shares, self.even.to(shares)))

    def forward(self, features: Tensor) -> Tensor:
        """One round of messages."""
        rising, falling = self._messages(features)
        gates = features @ self.gates
        inner, outer = torch.split(torch.sigmoid(gates[..., :2] + self.gate_bias), 1, dim=-1)
        loop = torch.sigmoid(gates[..., 2:])
        parts = (inner * rising, outer * falling, loop * features)
        return torch.relu(sum((self.dropout(part) for part in parts), torch.zeros_like(features)))

    def _messages(self, features: Tensor) -> tuple[Tensor, Tensor]:
        rising = self._to_parents(self.up[:, None] * features[..., self.num_roots :, :])
        falling = self.down[:, None] * features[..., self.above, :]
        falling = F.pad(falling, (0, 0, self.num_roots, 0))  # to roots nobody speaks
        return rising + self.up_bias, falling + self.down_bias

    def _to_parents(self, messages: Tensor) -> Tensor:
        shape = (*messages.shape[:-2], len(self.up_bias), messages.shape[-1])
        return messages.new_zeros(shape).index_add(-2, self.above, messages)

    def scores(self, documents: Tensor, labels: Tensor, heads: Tensor) -> Tensor:
        r"""Dot products of heads with the layer's output for :math:`z_{bc} = u_b + e_c`.

        Without ReLU and dropout, and without a tensor of B x C x d. The document's part is the same
        at every node, so that a sum over edges of it is the sum of the edges' numbers: with
        :math:`s^{in}_c = \sum_j A^{in}_{cj}`, :math:`P = A_{in} e + E_{in}` (out: likewise, Q)

        .. math::
            v_c \cdot z'_{bc} = (g^{in}_{bc} s^{in}_c + g^{out}_{bc} s^{out}_c + g^{loop}_{bc})
                \, u_b \cdot v_c + g^{in}_{bc} P_c \cdot v_c + g^{out}_{bc} Q_c \cdot v_c
                + g^{loop}_{bc} e_c \cdot v_c,

        where the gates split as well: :math:`g^{in}_{bc} = \sigma(u_b w_{in} + e_c w_{in} +
        b^{in}_c)`. With a ReLU nothing of this would hold.

        Args:
            documents: u.
            labels: e.
            heads: v.

        Shape:
            - documents: ``(B, d)``
            - labels, heads: ``(C, d)``
            - output: ``(B, C)``
        """
        ones = labels.new_ones(len(labels), 1)
        biases = F.pad(self.gate_bias, (0, 1))
        own = (labels @ self.gates + biases).T  # (3, C)
        theirs = (documents @ self.gates).T  # (3, B)
        match = documents @ heads.T
        total = torch.zeros_like(match)
        sums = (*self._edge_sums(ones), ones)
        for gate, parts in enumerate(zip(sums, (*self._messages(labels), labels), strict=True)):
            scale, message = parts
            sent = match * scale[:, 0] + (message * heads).sum(dim=1)
            total = total + torch.sigmoid(theirs[gate, :, None] + own[gate]) * sent
        return total

    def _edge_sums(self, ones: Tensor) -> tuple[Tensor, Tensor]:
        """``(C, 1)`` each node's sums of the numbers of its edges from below and from above."""
        rising = self._to_parents(self.up[:, None] * ones[self.num_roots :])
        return rising, F.pad(self.down[:, None] * ones[self.num_roots :], (0, 0, self.num_roots, 0))


class TextPropagation(nn.Module):
    """Features of a text at every node, passed through the tree (HiAGM-TP; HiMatch's text side).

    A linear map to C x d numbers with as many rows of parameters: for small trees only.

    Args:
        parents: Parent of each node, -1 at a root.
        hidden_size: k, of [CLS].
        width: d.
        dropout: On the features.

    Shape:
        - h_cls: ``(B, k)``
        - output: ``(B, C * d)``
    """

    def __init__(
        self, parents: NDArray[np.int32], hidden_size: int, width: int, dropout: float = 0.1
    ) -> None:
        super().__init__()
        self.shape = (len(parents), width)
        self.features = nn.Linear(hidden_size, len(parents) * width)
        self.dropout = nn.Dropout(dropout)
        self.gcn = HierarchyGCN(parents, width)

    def forward(self, h_cls: Tensor) -> Tensor:
        """Map, propagate, flatten."""
        features = self.dropout(self.features(h_cls)).unflatten(-1, self.shape)
        propagated: Tensor = self.gcn(features)
        return propagated.flatten(-2)


class LabelAttention(nn.Module):
    """Every label attends to the tokens of a text (HiAGM-LA), for small trees only.

    Args:
        parents: Parent of each node, -1 at a root.
        hidden_size: k, of the tokens' states.
        width: d.

    Shape:
        - states: ``(B, T, k)``
        - mask: ``(B, T)``, 1 on tokens
        - output: ``(B, C * d)``
    """

    def __init__(self, parents: NDArray[np.int32], hidden_size: int, width: int) -> None:
        super().__init__()
        self.labels = nn.Parameter(nn.init.kaiming_uniform_(torch.empty(len(parents), width)))
        self.features = nn.Linear(hidden_size, width)
        self.gcn = HierarchyGCN(parents, width)

    def forward(self, states: Tensor, mask: Tensor) -> Tensor:
        """Mean of the tokens' features under each label's attention."""
        features: Tensor = self.features(states)
        weights = self.gcn(self.labels) @ features.transpose(1, 2)  # (B, C, T)
        weights = weights.masked_fill(mask[:, None] == 0, -torch.inf).softmax(dim=-1)
        attended: Tensor = weights @ features
        return attended.flatten(-2)
