"""What is known of the labels, and how likely it makes each as a negative."""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hierarchy_lm.batches import SparseTargets

# Weight of a label that nothing speaks for, beside a sibling's estimated probability in [0, 1].
CONFUSION_FLOOR = 0.1
# Share of the weight that is spread evenly over all labels, whatever their names.
SEMANTIC_FLOOR = 0.5
SEMANTIC_TEMPERATURE = 0.1
SEMANTIC_NEIGHBOURS = 64
_SIMILARITY_ROWS = 1024


class LabelSpace(NamedTuple):
    """What the samplers may know of N labels.

    Shape:
        - counts: ``(N,)`` training items per label
        - parents: ``(N,)`` int64, parent node of each label, -1 for roots; equal for siblings
        - vectors: ``(N, k)`` embeddings of the labels' names
    """

    counts: Tensor
    parents: Tensor
    vectors: Tensor


class Pairs(NamedTuple):
    """Documents and the labels that stand out for them, each pair once, sorted.

    Shape:
        - documents, labels: ``(K,)`` int64
        - weights: ``(K,)`` what each label weighs, against the one floor of all others
    """

    documents: Tensor
    labels: Tensor
    weights: Tensor


class Families(nn.Module):
    """The siblings of each label, looked up without a table of pairs.

    Args:
        parents: ``(N,)`` int64, equal for siblings.
    """

    family: Tensor
    members: Tensor
    sizes: Tensor

    def __init__(self, parents: Tensor) -> None:
        super().__init__()
        _, family, sizes = torch.unique(parents, return_inverse=True, return_counts=True)
        self.register_buffer("family", family, persistent=False)
        self.register_buffer("members", family.argsort(stable=True), persistent=False)
        self.register_buffer("sizes", sizes, persistent=False)

    def siblings(self, targets: SparseTargets) -> SparseTargets:
        """All siblings of the documents' labels that are not their labels themselves."""
        families, num_labels = self.family[targets.labels], len(self.family)
        repeats = self.sizes[families]
        documents = targets.documents.repeat_interleave(repeats)
        first = (self.sizes.cumsum(0) - self.sizes)[families] - (repeats.cumsum(0) - repeats)
        places = torch.arange(len(documents), device=documents.device)
        members = self.members[places + first.repeat_interleave(repeats)]
        keys = torch.unique(documents * num_labels + members)
        return _without_positives(keys, targets, num_labels)


def frequency_weights(counts: Tensor) -> Tensor:
    """Square root of each label's items, plus one.

    In proportion to the items, labels of the tail would hardly ever be pushed down; evenly, most
    draws go to labels the model gives no chance to. The root stands half way between.

    Shape:
        - counts: ``(N,)``
        - output: ``(N,)``
    """
    return (counts.float() + 1.0).sqrt()


def nearest_names(vectors: Tensor) -> tuple[Tensor, Tensor]:
    """The labels with the nearest names, and the softmax of their cosines over them.

    Shape:
        - vectors: ``(N, k)``
        - output: ``(N, M)`` int64 and ``(N, M)``, M = 64 at the most
    """
    unit = F.normalize(vectors.float(), dim=1)
    size = min(SEMANTIC_NEIGHBOURS, len(unit) - 1)
    found = []
    for start in range(0, len(unit), _SIMILARITY_ROWS):
        cosines = unit[start : start + _SIMILARITY_ROWS] @ unit.T
        cosines.diagonal(start).fill_(-torch.inf)
        found.append(cosines.topk(size, dim=1))
    neighbours = torch.cat([indices for _, indices in found])
    shares = torch.softmax(torch.cat([values for values, _ in found]) / SEMANTIC_TEMPERATURE, dim=1)
    return neighbours, shares


def semantic_pairs(targets: SparseTargets, neighbours: Tensor, shares: Tensor) -> Pairs:
    """Labels whose names are near those of a document's labels; a mean over the latter.

    Shape:
        - neighbours, shares: ``(N, M)``, as ``nearest_names`` gives them
    """
    num_labels = len(neighbours)
    keys = (targets.documents[:, None] * num_labels + neighbours[targets.labels]).flatten()
    labels_of = torch.bincount(targets.documents)
    weights = shares[targets.labels] / labels_of[targets.documents, None]
    unique, position = torch.unique(keys, return_inverse=True)
    sums = weights.new_zeros(len(unique)).index_add_(0, position, weights.flatten())
    negatives = _without_positives(unique, targets, num_labels)
    sums = sums[torch.searchsorted(unique, negatives.documents * num_labels + negatives.labels)]
    return Pairs(*negatives, (1.0 - SEMANTIC_FLOOR) * sums + SEMANTIC_FLOOR / num_labels)


def contains(ordered: Tensor, keys: Tensor) -> Tensor:
    """Which keys are among the sorted ones; for few keys much faster than ``torch.isin``.

    Shape:
        - ordered: ``(P,)``
        - keys: ``(K,)``
        - output: ``(K,)`` bool
    """
    if not len(ordered):
        return torch.zeros_like(keys, dtype=torch.bool)
    places = torch.searchsorted(ordered, keys).clamp_(max=len(ordered) - 1)
    return ordered[places] == keys


def _without_positives(keys: Tensor, targets: SparseTargets, num_labels: int) -> SparseTargets:
    positives = (targets.documents * num_labels + targets.labels).sort().values
    kept = keys[~contains(positives, keys)]
    return SparseTargets(kept // num_labels, kept % num_labels)
