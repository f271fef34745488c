"""A batch of documents with positives in a wide tree."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from benchmarks.corpus import wide_tree
from hierarchy_lm.batches import ProductBatch, SparseTargets, TokenBatch

DEPTH = 10
POSITIVE_LOGIT_SHIFT = 4.0


@dataclass(frozen=True)
class WideBatch:
    """Tokens and positives of ``size`` documents of equal length."""

    size: int
    length: int
    vocab_size: int
    level_offsets: list[int]
    tokens: TokenBatch
    targets: SparseTargets

    @property
    def num_nodes(self) -> int:
        """C."""
        return self.level_offsets[-1]

    @property
    def level_sizes(self) -> list[int]:
        """Nodes of each level."""
        return np.diff(self.level_offsets).tolist()

    def dense(self) -> Tensor:
        """Multi-hot targets, ``(B, C)``."""
        return self.targets.dense(self.size, self.num_nodes)

    def logits(self) -> Tensor:
        """Logits of a model that has begun to learn: few are positive. A leaf with gradient."""
        values = torch.randn(self.size, self.num_nodes) - POSITIVE_LOGIT_SHIFT
        values[self.targets.documents, self.targets.labels] += 2 * POSITIVE_LOGIT_SHIFT
        return values.requires_grad_()

    def product_batch(self) -> ProductBatch:
        """As the data path hands it over."""
        return ProductBatch(
            self.tokens, self.targets, torch.arange(self.size), torch.ones(self.size), 1.0
        )


@lru_cache
def wide_batch(quick: bool, size: int = 256, length: int = 31) -> WideBatch:
    """Documents of one length in a tree of 30,000 nodes, or far fewer in a far smaller one."""
    size, num_nodes, vocab_size = (8, 300, 1000) if quick else (size, 30_000, 30_522)
    random = np.random.default_rng(0)
    tree = wide_tree(num_nodes, DEPTH)
    counts = random.integers(1, 4, size)
    leaves = random.choice(np.flatnonzero(tree.is_leaf).astype(np.int32), int(counts.sum()))
    labels, offsets = tree.close(leaves, np.concatenate([[0], np.cumsum(counts)]))
    documents = np.repeat(np.arange(size), np.diff(offsets))
    input_ids = torch.from_numpy(random.integers(1, vocab_size, (size, length)))
    tokens = TokenBatch(input_ids, torch.zeros_like(input_ids), torch.ones_like(input_ids))
    targets = SparseTargets(torch.from_numpy(documents), torch.from_numpy(labels.astype(np.int64)))
    return WideBatch(size, length, vocab_size, tree.level_offsets.tolist(), tokens, targets)


def dense_loss(logits: Tensor, batch: WideBatch) -> Tensor:
    """Binary cross-entropy against a multi-hot matrix made for the batch."""
    return functional.binary_cross_entropy_with_logits(logits, batch.dense())
