"""Do the nearest neighbours of a document share its node?"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hierarchy_lm.embeddings.documents import Documents, sample
from hierarchy_lm.embeddings.ragged import unroll
from hierarchy_lm.hierarchy import Hierarchy

BLOCK_NUMBERS = 1 << 25
"""Similarities in memory at a time, 128 MiB."""


@dataclass(frozen=True)
class LevelPrecision:
    """Precision among the nearest neighbours on one level.

    Attributes:
        level: From 1, the roots.
        documents: Documents with a node on the level; all others are left out.
        queries: Those of them whose neighbours were searched.
        precision: By k; ``None`` where there are fewer than k other documents.
        best: The highest possible precision by k; below 1 where fewer than k others share a node.
        chance: The precision to expect of neighbours drawn at random.
    """

    level: int
    documents: int
    queries: int
    precision: dict[int, float | None]
    best: dict[int, float | None]
    chance: float


@dataclass(frozen=True)
class LevelSets:
    """The documents of one level, grouped by the set of nodes that they have there.

    Attributes:
        documents: ``(n,)`` row numbers, ascending.
        sets: ``(n,)`` number of each one's set, below S.
        sharing: Sorted keys ``a * S + b`` of the pairs of sets with a common node.
        sizes: ``(S,)`` documents of each set.
    """

    documents: NDArray[np.int64]
    sets: Tensor
    sharing: Tensor
    sizes: Tensor

    def share(self, first: Tensor, second: Tensor) -> Tensor:
        """Whether sets have a node in common, element by element."""
        keys = first * len(self.sizes) + second
        at = torch.searchsorted(self.sharing, keys).clamp(max=len(self.sharing) - 1)
        return self.sharing[at] == keys

    def partners(self) -> Tensor:
        """``(S,)`` documents that share a node with a document of the set, itself included."""
        first, second = self.sharing // len(self.sizes), self.sharing % len(self.sizes)
        sums = torch.zeros_like(self.sizes)
        return sums.index_add_(0, first, self.sizes[second])


def neighbour_precision(
    documents: Documents, hierarchy: Hierarchy, ks: Sequence[int], queries: int
) -> list[LevelPrecision]:
    """Precision@k of exact cosine neighbours, level by level.

    A neighbour is right if it shares one of the document's nodes of the level. The document itself
    is no neighbour. Documents whose paths stop above a level are neither queries nor neighbours
    there. Levels with fewer than two documents are left out.

    Args:
        documents: Candidates.
        hierarchy: Their tree.
        ks: Numbers of neighbours.
        queries: At most so many documents, a sample by the hash of their ids, are queries.
    """
    asked = np.zeros(len(documents), dtype=bool)
    asked[sample(documents.item_ids, queries)] = True
    vectors = torch.nn.functional.normalize(documents.vectors, dim=1)
    found = []
    for level in range(1, hierarchy.depth + 1):
        first, end = hierarchy.level_offsets[level - 1 : level + 1].tolist()
        sets = level_sets(documents, first, end)
        positions = torch.from_numpy(np.flatnonzero(asked[sets.documents]))
        if len(sets.documents) > 1 and len(positions):
            found.append(_level(level, vectors, sets, positions, ks))
    return found


def level_sets(documents: Documents, first: int, end: int) -> LevelSets:
    """Group documents by their nodes from id ``first`` up to ``end``, exclusive."""
    kept = (documents.nodes >= first) & (documents.nodes < end)
    rows, nodes = documents.rows[kept], documents.nodes[kept] - first
    owners, starts = np.unique(rows, return_index=True)
    if not len(owners):
        empty = torch.empty(0, dtype=torch.long)
        return LevelSets(owners, empty, empty, empty)
    # A random number for each node: the sums of two different sets are never equal in practice.
    numbers = np.random.default_rng(0).integers(1 << 63, size=end - first, dtype=np.uint64)
    sums = np.add.reduceat(numbers[nodes], starts)
    _, example, sets, sizes = np.unique(
        sums, return_index=True, return_inverse=True, return_counts=True
    )
    of_pair = np.searchsorted(owners, rows)
    kept = np.isin(of_pair, example)  # one document for each set
    sharing = _sharing(sets[of_pair[kept]], nodes[kept], len(sizes))
    return LevelSets(owners, *map(torch.from_numpy, (sets, sharing, sizes)))


def _sharing(sets: NDArray[np.int64], nodes: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """Keys ``a * count + b`` of the sets with a common node, of the pairs of a set and a node."""
    order = np.argsort(nodes, kind="stable")
    sets, nodes = sets[order], nodes[order]
    _, starts, node, members = np.unique(
        nodes, return_index=True, return_inverse=True, return_counts=True
    )
    entry, place = unroll(members[node])
    return np.unique(sets[entry] * count + sets[starts[node][entry] + place])


def _level(
    level: int, vectors: Tensor, sets: LevelSets, positions: Tensor, ks: Sequence[int]
) -> LevelPrecision:
    count = len(sets.documents)
    most = min(max(ks), count - 1)
    hits = _hits(vectors[torch.from_numpy(sets.documents)], sets, positions, most)
    share = hits.double() / len(positions)
    others = sets.partners()[sets.sets[positions]].double() - 1
    return LevelPrecision(
        level=level,
        documents=count,
        queries=len(positions),
        precision={k: float(share[:k].mean()) if k <= most else None for k in ks},
        best={k: float(others.clamp(max=k).mean() / k) if k <= most else None for k in ks},
        chance=float(others.mean() / (count - 1)),
    )


def _hits(vectors: Tensor, sets: LevelSets, positions: Tensor, most: int) -> Tensor:
    """``(most,)`` queries whose first, second, ... neighbour shares a node."""
    hits = torch.zeros(most, dtype=torch.long)
    for block in torch.split(positions, max(1, BLOCK_NUMBERS // len(vectors))):
        similarity = vectors[block] @ vectors.T
        similarity[torch.arange(len(block)), block] = -torch.inf
        nearest = similarity.topk(most, dim=1).indices
        hits += sets.share(sets.sets[block].unsqueeze(1), sets.sets[nearest]).sum(dim=0)
    return hits
