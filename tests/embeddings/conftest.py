"""Documents of every kind in a small tree: several paths, early stops, none at all."""

from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pytest
import torch

from hierarchy_lm.embeddings.documents import Documents
from hierarchy_lm.hierarchy import Hierarchy

TREE = Hierarchy.from_paths(
    [("a", "aa", "aaa"), ("a", "aa", "aab"), ("a", "ab"), ("b", "ba", "baa"), ("b", "bb"), ("c",)]
)

MakeDocuments = Callable[..., Documents]


def closed(nodes) -> set[int]:
    return {above for node in nodes for above in [node, *TREE.ancestors(node)]}


def documents_of(sets: list[set[int]], vectors: torch.Tensor) -> Documents:
    pairs = [(row, node) for row, nodes in enumerate(sets) for node in sorted(nodes)]
    rows, nodes = np.array(pairs, dtype=np.int64).reshape(-1, 2).T
    ids = pa.array([f"item-{row:04d}" for row in range(len(sets))])
    return Documents(ids, vectors, rows, nodes)


@pytest.fixture
def make_documents() -> MakeDocuments:
    """Documents with random nodes, and with vectors that lean towards those of their nodes."""

    def make(count: int, seed: int = 0, width: int = 6) -> tuple[Documents, list[set[int]]]:
        random = np.random.default_rng(seed)
        sizes = random.choice([0, 1, 1, 1, 2, 3], size=count)
        sets = [closed(random.choice(TREE.num_nodes, size, replace=False)) for size in sizes]
        directions = np.random.default_rng(99).normal(size=(TREE.num_nodes, width))
        vectors = random.normal(size=(count, width)) * 0.7
        for row, nodes in enumerate(sets):
            vectors[row] += directions[sorted(nodes)].sum(axis=0)
        return documents_of(sets, torch.from_numpy(vectors).float()), sets

    return make
