"""Subtrees as one padded batch of label graphs, and the loss of their masked nodes (HBGL)."""

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F
from torch.nn.utils.rnn import pad_sequence

from hierarchy_lm.precision import at_least_float32
from hierarchy_lm.pretraining.hbgl_subtrees import Subtree


class LabelGraphs(NamedTuple):
    """K subtrees of up to N nodes. Place 0 of a sequence is [CLS], the nodes are at 1 to N.

    Shape:
        - nodes: ``(K, N)`` int64 ids, 0 on padding
        - above: ``(K, N)`` int64 place of each node's parent, 0 if that is [CLS]
        - leaf, masked, real: ``(K, N)`` bool; leaves have no child in the subtree; padding is none
          of the three
    """

    nodes: Tensor
    above: Tensor
    leaf: Tensor
    masked: Tensor
    real: Tensor

    def links(self, both_ways: bool) -> Tensor:
        """Who attends to whom, ``(K, N + 1, N + 1)`` bool.

        Both ways: a node to its parent and to its children, [CLS] to the tops; not to itself.
        Otherwise parents to their children alone. Who is left without anybody, which are the leaves
        then, attends to all: that is what softmax makes of a row that is wholly blocked.
        """
        count, size = self.nodes.shape
        rows = torch.arange(count, device=self.nodes.device)[:, None]
        places = torch.arange(1, size + 1, device=self.nodes.device)
        links = torch.zeros(count, size + 1, size + 1, dtype=torch.bool, device=rows.device)
        links[rows, self.above, places] = self.real
        if both_ways:
            links = links | links.transpose(1, 2)
        alone = ~links.any(dim=2, keepdim=True)
        return links | (alone & F.pad(self.real, (1, 0), value=True)[:, None, :])


def batch_graphs(subtrees: Sequence[Subtree], masks: Sequence[NDArray[np.bool_]]) -> LabelGraphs:
    """Pad subtrees, each with its masked nodes, to one size."""

    def pad(parts: Sequence[NDArray[np.generic]]) -> Tensor:
        return pad_sequence([torch.from_numpy(part) for part in parts], batch_first=True)

    return LabelGraphs(
        pad([subtree.nodes for subtree in subtrees]),
        pad([subtree.parents + 1 for subtree in subtrees]),
        pad([subtree.leaves for subtree in subtrees]),
        pad(list(masks)),
        pad([np.ones(len(mask), dtype=bool) for mask in masks]),
    )


def graph_targets(graphs: LabelGraphs, siblings: bool, official_bug: bool) -> Tensor:
    """What each masked node stands for, ``(K, N, N)`` bool.

    Itself; a leaf also for all masked leaves below the same parent, which nothing in the input
    tells from it.

    Args:
        graphs: The subtrees.
        siblings: False for every node itself alone.
        official_bug: Read leaf and parent of the node before; the first one is no leaf.
    """
    targets = torch.eye(graphs.nodes.shape[1], dtype=torch.bool, device=graphs.nodes.device)
    targets = targets & graphs.masked[:, :, None]
    if not siblings:
        return targets
    leaf, above = graphs.leaf, graphs.above
    if official_bug:
        leaf, above = F.pad(leaf[:, :-1], (1, 0)), F.pad(above[:, :-1], (1, 0))
    grouped = leaf & graphs.masked
    same = above[:, :, None] == above[:, None, :]
    return targets | (same & grouped[:, :, None] & grouped[:, None, :])


def graph_loss(
    states: Tensor,
    vectors: Tensor,
    graphs: LabelGraphs,
    table: Tensor | None,
    loss: Literal["bce", "ce"],
    official_bug: bool,
) -> Tensor:
    """Loss summed over masked nodes, and for BCE over candidates; without biases.

    Args:
        states: Of the nodes, in the space of the vectors.
        vectors: Of the nodes.
        graphs: The subtrees.
        table: Vectors of all nodes if these are the candidates, instead of those of the subtree.
        loss: Binary or over all candidates.
        official_bug: See :func:`graph_targets`.

    Shape:
        - states, vectors: ``(K, N, E)``
        - table: ``(C, E)``
    """
    targets = graph_targets(graphs, loss == "bce", official_bug)[graphs.masked]  # (M, N)
    rows, places = torch.nonzero(targets, as_tuple=True)
    owners = torch.nonzero(graphs.masked, as_tuple=True)[0]
    if table is None:
        scores = (states @ vectors.transpose(1, 2))[graphs.masked]
        scores = scores.masked_fill(~graphs.real[owners], -torch.inf)
    else:
        scores = F.linear(states[graphs.masked], table)
        places = graphs.nodes[owners[rows], places]
    scores = at_least_float32(scores)
    others = F.softplus(scores) if loss == "bce" else scores.logsumexp(dim=1)
    return others.sum() - scores[rows, places].sum()
