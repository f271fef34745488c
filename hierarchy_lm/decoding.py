"""From the logits of all nodes to the nodes that a document is said to have."""

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor

from hierarchy_lm.batches import SparseTargets
from hierarchy_lm.hierarchy import Hierarchy

Constraint = Literal["none", "parent", "top1"]


@dataclass(frozen=True)
class DecodeOptions:
    """Which nodes are predicted; the paper (SST, Section VI-D) names no rule.

    Attributes:
        constraint: ``none`` takes every node whose probability exceeds the threshold, so that a
            document may have several paths, and broken ones. ``parent`` drops those of them that
            have an ancestor at or below the threshold. ``top1`` takes the most probable node of
            each level, whatever that of the level above is.
        threshold: By default one half, and 0 for ``top1``, which then names a node on every level
            down to the deepest. With a threshold it leaves out the levels whose best node does not
            exceed it: that is how a path ends above the deepest level.
    """

    constraint: Constraint = "none"
    threshold: float | None = None

    def __post_init__(self) -> None:
        """Refuse what no probability can exceed.

        Raises:
            ValueError: If the threshold is outside [0, 1).
        """
        if self.threshold is not None and not 0 <= self.threshold < 1:
            raise ValueError(
                f"decode.threshold must be a probability below 1, got {self.threshold}"
            )

    @property
    def least_logit(self) -> float:
        """What the logit of a predicted node must exceed.

        Compared with logits, not probabilities, since a sigmoid of a small positive one is rounded
        to one half.
        """
        default = 0.0 if self.constraint == "top1" else 0.5
        threshold = default if self.threshold is None else self.threshold
        return math.log(threshold / (1 - threshold)) if threshold else -math.inf


def decode(
    logits: Tensor, hierarchy: Hierarchy, options: DecodeOptions = DecodeOptions()
) -> SparseTargets:
    """Predicted nodes of every document.

    Args:
        logits: Of all nodes, in the order of their ids.
        hierarchy: The tree that the nodes are of.
        options: The rule.

    Returns:
        Pairs of documents and nodes, each once, sorted by document and node.

    Shape:
        - logits: ``(B, C)``
    """
    if options.constraint == "top1":
        return _best_of_levels(logits, hierarchy, options.least_logit)
    chosen = logits > options.least_logit
    if options.constraint == "parent":
        _drop_orphans(chosen, hierarchy)
    return SparseTargets(*torch.nonzero(chosen, as_tuple=True))


def _drop_orphans(chosen: Tensor, hierarchy: Hierarchy) -> None:
    """Unset the nodes whose parent is not set, from the roots down."""
    parents = torch.from_numpy(hierarchy.parents).to(chosen.device)
    for start, end in list(pairwise(hierarchy.level_offsets.tolist()))[1:]:
        chosen[:, start:end] &= chosen[:, parents[start:end]]


def _best_of_levels(logits: Tensor, hierarchy: Hierarchy, least: float) -> SparseTargets:
    levels = list(pairwise(hierarchy.level_offsets.tolist()))
    nodes = torch.stack(
        [logits[:, start:end].argmax(dim=1) + start for start, end in levels], dim=1
    )
    documents, columns = torch.nonzero(logits.gather(1, nodes) > least, as_tuple=True)
    return SparseTargets(documents, nodes[documents, columns])
