"""Does distance in the space follow distance in the tree?"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hierarchy_lm.embeddings.documents import Documents
from hierarchy_lm.embeddings.ragged import unroll
from hierarchy_lm.hierarchy import Hierarchy

CHUNK = 8192


@dataclass(frozen=True)
class DistanceProfile:
    """Pairs of documents by their distance in the tree.

    Attributes:
        tree: Tree distances that occur, ascending.
        pairs: Pairs at each of them.
        cosine: Mean cosine distance of these pairs, 1 minus the cosine.
        spearman: Rank correlation over all pairs; NaN if all have one distance.
        spearman_within: The same over the pairs with a root in common.
        pairs_within: Number of these.
    """

    tree: list[int]
    pairs: list[int]
    cosine: list[float]
    spearman: float
    spearman_within: float
    pairs_within: int


def distance_profile(
    documents: Documents, hierarchy: Hierarchy, pairs: int, seed: int
) -> DistanceProfile | None:
    """Compare distances of pairs of documents; ``None`` for less than two with a node.

    All pairs of different documents with a node, or ``pairs`` random ones, drawn with replacement,
    where there are more.
    """
    labelled = np.unique(documents.rows)
    if len(labelled) < 2:
        return None
    left, right = (labelled[part] for part in _pairs(len(labelled), pairs, seed))
    tree, within = tree_distances(documents, hierarchy, left, right)
    space = cosine_distances(documents.vectors, left, right)
    distances, inverse, counts = np.unique(tree, return_inverse=True, return_counts=True)
    means = np.bincount(inverse, weights=space) / counts
    return DistanceProfile(
        tree=distances.tolist(),
        pairs=counts.tolist(),
        cosine=means.tolist(),
        spearman=spearman(tree, space),
        spearman_within=spearman(tree[within], space[within]),
        pairs_within=int(within.sum()),
    )


def _pairs(count: int, most: int, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    if count * (count - 1) // 2 <= most:
        left, right = np.triu_indices(count, 1)
        return left.astype(np.int64), right.astype(np.int64)
    random = np.random.default_rng(seed)
    first = random.integers(count, size=most)
    return first, (first + random.integers(1, count, size=most)) % count


def tree_distances(
    documents: Documents,
    hierarchy: Hierarchy,
    left: NDArray[np.int64],
    right: NDArray[np.int64],
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Edges between the most specific nodes of documents, the smallest over their paths.

    Edges are counted through the lowest common ancestor, between two roots' trees through a virtual
    root above them.

    Args:
        documents: With at least one node each.
        hierarchy: Their tree.
        left: ``(n,)`` the first documents of the pairs.
        right: ``(n,)`` the second ones.

    Returns:
        The distances, and whether any two nodes of a pair have a root in common.
    """
    rows, nodes = hierarchy.most_specific(documents.rows, documents.nodes)
    counts = np.bincount(rows, minlength=len(documents))
    starts = np.cumsum(counts) - counts
    size = counts[left] * counts[right]  # all combinations of the pair's nodes
    pair, number = unroll(size)
    a = nodes[starts[left][pair] + number // counts[right][pair]]
    b = nodes[starts[right][pair] + number % counts[right][pair]]
    common = _common_levels(hierarchy, a, b)
    edges = hierarchy.levels[a].astype(np.int64) + hierarchy.levels[b] - 2 * common
    firsts = np.cumsum(size) - size
    return np.minimum.reduceat(edges, firsts), np.maximum.reduceat(common, firsts) > 0


def _common_levels(
    hierarchy: Hierarchy, a: NDArray[np.int64], b: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Level of the lowest common ancestor; 0 without one."""
    lines = lineage(hierarchy)
    same = np.zeros(len(a), dtype=np.int64)
    for line in lines:  # one level of all nodes
        same += (line[a] == line[b]) & (line[a] >= 0)
    return same


def lineage(hierarchy: Hierarchy) -> NDArray[np.int64]:
    """``(L, C)``: the ancestor of each node on each level, itself on its own, -1 below."""
    lines = np.full((hierarchy.depth, hierarchy.num_nodes), -1)
    ancestors = np.arange(hierarchy.num_nodes)
    here = np.arange(hierarchy.num_nodes)
    while len(here):
        lines[hierarchy.levels[ancestors] - 1, here] = ancestors
        above = hierarchy.parents[ancestors].astype(np.int64)
        here, ancestors = here[above >= 0], above[above >= 0]
    return lines


def cosine_distances(
    vectors: Tensor, left: NDArray[np.int64], right: NDArray[np.int64]
) -> NDArray[np.float64]:
    """``(n,)`` 1 minus the cosine of pairs of rows."""
    units = torch.nn.functional.normalize(vectors, dim=1)
    parts = [
        (units[a] * units[b]).sum(dim=1)
        for a, b in zip(
            torch.split(torch.from_numpy(left), CHUNK),
            torch.split(torch.from_numpy(right), CHUNK),
            strict=True,
        )
    ]
    distances: NDArray[np.float64] = 1 - torch.cat(parts).double().numpy()
    return distances


def spearman(x: NDArray[np.int64], y: NDArray[np.float64]) -> float:
    """Correlation of ranks, ties at their mean rank; NaN where either is constant."""
    a, b = (_ranks(values) - (len(values) + 1) / 2 for values in (x, y))
    norm = np.sqrt((a @ a) * (b @ b))
    return float(a @ b / norm) if norm > 0 else float("nan")


def _ranks(values: NDArray[np.int64] | NDArray[np.float64]) -> NDArray[np.float64]:
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    ranks: NDArray[np.float64] = (np.cumsum(counts) - (counts - 1) / 2)[inverse]
    return ranks
