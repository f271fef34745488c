"""The paths of a batch of products, on the batch's own device."""

from typing import Literal

import torch
from torch import Tensor

from hierarchy_lm.batches import SparseTargets
from hierarchy_lm.pretraining.draws import random_bits

PathMode = Literal["union", "sample_one"]


def most_specific(targets: SparseTargets, parents: Tensor) -> SparseTargets:
    """The nodes at which a product's paths end.

    Closed targets do not tell a product that is linked to a node and to one below it from a product
    that is linked to the lower one only: of both, the lower node is taken.

    Args:
        targets: Closed under ancestors.
        parents: Parent of each node, -1 at a root.

    Shape:
        - parents: ``(C,)`` int64
    """
    # A root's parent, -1, would be the last node of the document before: let it be no pair.
    above = parents[targets.labels]
    inner = torch.where(above < 0, -1, targets.documents * len(parents) + above)
    ends = ~torch.isin(targets.documents * len(parents) + targets.labels, inner)
    return SparseTargets(targets.documents[ends], targets.labels[ends])


def one_path(
    targets: SparseTargets, parents: Tensor, depth: int, rows: Tensor, seed: int
) -> SparseTargets:
    """One whole path of each document, drawn evenly from where its paths end.

    Which one depends on ``seed`` and the document's row alone, not on the batch or the rank.

    Args:
        targets: Closed under ancestors, sorted by document.
        parents: Parent of each node, -1 at a root.
        depth: Levels of the tree.
        rows: Row number of each document.
        seed: Of the draw, within 64 bits, signed.

    Shape:
        - parents: ``(C,)`` int64
        - rows: ``(B,)`` int64
    """
    ends = most_specific(targets, parents)
    counts = torch.bincount(ends.documents, minlength=len(rows))
    drawn = random_bits(rows, 1, seed, epoch=0)[:, 0]
    places = counts.cumsum(0) - counts + drawn.remainder(counts.clamp(min=1))
    (documents,) = torch.nonzero(counts, as_tuple=True)
    path = [ends.labels[places[documents]]]
    for _ in range(depth - 1):
        below = path[-1]
        path.append(torch.where(below < 0, -1, parents[below]))
    nodes = torch.stack(path[::-1], dim=1)  # (documents, L), roots first
    owners, levels = torch.nonzero(nodes >= 0, as_tuple=True)
    return SparseTargets(documents[owners], nodes[owners, levels])
