"""The probability of a node given its parent: losses on it, and its product along a path."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from hierarchy_lm.batches import SparseTargets
from hierarchy_lm.precision import at_least_float32

Activation = Literal["softmax", "sigmoid"]


class ConditionalLoss(nn.Module):
    r"""Minus the log-probability of every node of a document's paths, given the node above it.

    Siblings, the children of one parent, compete among themselves only; the roots are siblings.
    With :math:`G_b` the parents whose children a document b is asked for (the artificial super-root
    and the document's own nodes) and :math:`P_{bp}` its nodes among the children of p:

    .. math::
        L_\text{softmax} = -\frac{1}{B} \sum_b \sum_{p \in G_b, P_{bp} \ne \emptyset}
            \frac{1}{|P_{bp}|} \sum_{c \in P_{bp}}
            \log \frac{\exp z_{bc}}{\sum_{s \in \text{children of } p} \exp z_{bs}}

    .. math::
        L_\text{sigmoid} = \frac{1}{B} \sum_b \sum_{p \in G_b} \sum_{c \in \text{children of } p}
            \mathrm{BCE}(z_{bc}, [c \in P_{bp}])

    (*Revisiting Hierarchical Text Classification*, CoNLL 2024; the dynamic masks that won the MWPD
    2020.) Nodes whose parent is not the document's own have no loss. Where a path ends, ``softmax``
    has no loss on the children below, since a distribution has no "none of them"; ``sigmoid`` has
    them all as negatives, and so learns where paths end.

    Args:
        parents: Parent of each node, -1 at a root; children after their parents.
        activation: One softmax or one set of sigmoids over each set of siblings.

    Shape:
        - logits: ``(B, C)``, any float dtype
        - targets: closed under ancestors
        - output: float32 scalar, mean over documents
    """

    set_of: Tensor
    set_below: Tensor

    def __init__(self, parents: ArrayLike, activation: Activation) -> None:
        super().__init__()
        above, siblings = np.unique(np.asarray(parents), return_inverse=True)
        self.activation = activation
        self.num_sets = len(above)
        # Where a leaf's children would be: one set too many, which no node is in.
        children = np.full(len(siblings), self.num_sets)
        children[above[1:]] = np.arange(1, self.num_sets)
        self.register_buffer("set_of", torch.from_numpy(siblings), persistent=False)
        self.register_buffer("set_below", torch.from_numpy(children), persistent=False)

    def forward(self, logits: Tensor, targets: SparseTargets) -> Tensor:
        """Mean over documents."""
        if self.activation == "softmax":
            return self._softmax_loss(logits, targets)
        return self._sigmoid_loss(logits, targets)

    def log_probabilities(self, logits: Tensor) -> Tensor:
        """``(B, C)`` log of the probability of each node given its parent."""
        if self.activation == "sigmoid":
            return F.logsigmoid(at_least_float32(logits))
        logits = at_least_float32(logits)
        sets = (len(logits), self.num_sets)
        index = self.set_of.expand_as(logits)
        highest = logits.new_full(sets, -torch.inf).scatter_reduce(
            1, index, logits.detach(), "amax"
        )
        shifted = logits - highest.index_select(1, self.set_of)
        totals = logits.new_zeros(sets).index_add(1, self.set_of, shifted.exp())
        return shifted - totals.log().index_select(1, self.set_of)

    def _softmax_loss(self, logits: Tensor, targets: SparseTargets) -> Tensor:
        cells = targets.documents * self.num_sets + self.set_of[targets.labels]
        counts = torch.bincount(cells, minlength=len(logits) * self.num_sets)
        terms = self.log_probabilities(logits)[targets.documents, targets.labels]
        return -(terms / counts[cells]).sum() / len(logits)

    def _sigmoid_loss(self, logits: Tensor, targets: SparseTargets) -> Tensor:
        logits = at_least_float32(logits)
        asked = torch.zeros(len(logits), self.num_sets + 1, dtype=torch.bool, device=logits.device)
        asked[:, 0] = True  # the roots
        asked[targets.documents, self.set_below[targets.labels]] = True
        silent = F.softplus(logits).masked_fill(~asked.index_select(1, self.set_of), 0.0)
        return (silent.sum() - logits[targets.documents, targets.labels].sum()) / len(logits)


def path_log_probabilities(
    conditional: Tensor, parents: Tensor, level_offsets: Sequence[int]
) -> Tensor:
    """Log-probability of the whole path to each node: sums from the root down, level by level.

    Args:
        conditional: Log-probability of each node given its parent.
        parents: Parent of each node, -1 at a root.
        level_offsets: Level l holds the nodes from ``level_offsets[l - 1]`` up to
            ``level_offsets[l]``, exclusive.

    Shape:
        - conditional, output: ``(B, C)``
        - parents: ``(C,)``
    """
    sizes = np.diff(level_offsets).tolist()
    levels = list(conditional.split_with_sizes(sizes, dim=1))
    above = parents.split_with_sizes(sizes)
    for level in range(1, len(levels)):
        whole = levels[level - 1].index_select(1, above[level] - level_offsets[level - 1])
        levels[level] = levels[level] + whole
    return torch.cat(levels, dim=1)


def logit_of_log(log_probabilities: Tensor) -> Tensor:
    """Logit of probabilities given by their logarithm, exact in float32 near 0 and near 1 alike.

    Their logit is plus infinity at a probability of 1, that of an only child under softmax.
    """
    log_rest = torch.where(  # log(1 - p)
        log_probabilities > -0.5,
        torch.log(-torch.expm1(log_probabilities)),
        torch.log1p(-torch.exp(log_probabilities)),
    )
    return log_probabilities - log_rest


def log_relative_priors(
    frequencies: NDArray[np.int64], parents: NDArray[np.int32]
) -> NDArray[np.float32]:
    r"""Log of how much more frequent a node is than its siblings are on average.

    .. math::
        \log \frac{n_c + 1}{\sum_{s} (n_s + 1) / S}

    over the S siblings s of node c, itself included: its prior given its parent, with one document
    added to every node so that unseen ones have a finite one, times S. Under a softmax over the
    siblings the factor S cancels. Under a sigmoid it leaves the typical sibling where it is, so
    that a threshold of one half keeps its meaning.

    Shape:
        - frequencies, parents, output: ``(C,)``
    """
    _, siblings = np.unique(parents, return_inverse=True)
    smoothed = frequencies + 1.0
    mean = np.bincount(siblings, weights=smoothed) / np.bincount(siblings)
    return np.log(smoothed / mean[siblings]).astype(np.float32)
