"""Length-aware batches as a pure function of seed, epoch and world size."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset, DistributedSampler

from data_modules.tokens import TokenStore
from hierarchy_lm.batches import ProductBatch, SparseTargets, TokenBatch

BUCKET_WIDTH = 4
"""Documents whose lengths differ by less than this many tokens are shuffled among each other."""


@dataclass(frozen=True)
class BatchOptions:
    """Size of a batch on one device.

    Attributes:
        tokens: Most tokens, padding included.
        documents: Most documents.
        seed: Seed of the shuffle, on which with the epoch the order depends; by default that of the
            run (``seed_everything``), or 0 without the command line.
    """

    tokens: int = 4096
    documents: int = 256
    seed: int | None = None

    def __post_init__(self) -> None:
        if self.tokens < 1 or self.documents < 1:
            raise ValueError(f"batch.tokens and batch.documents must be positive, got {self}")


class RankBatch(NamedTuple):
    """One rank's part of a global batch: row numbers and :attr:`ProductBatch.loss_scale`."""

    rows: NDArray[np.int64]
    loss_scale: float


class BatchPlan:
    """Cuts documents into batches of similar length that fill a token budget.

    Where batches begin and end depends on the sorted lengths only, so every epoch has the same
    number of steps; which documents share a batch, and the order of the batches, is drawn anew from
    (seed, epoch). A global batch is dealt out to the ranks document by document, so two ranks with
    half the budget each train on the same global batches as one rank with all of it.

    Args:
        lengths: ``(N,)`` tokens of each document.
        options: Size of a batch.
        world_size: Number of ranks.
    """

    def __init__(self, lengths: NDArray[np.int64], options: BatchOptions, world_size: int) -> None:
        self.options = options
        self.world_size = world_size
        self._buckets = -(-lengths // BUCKET_WIDTH)
        self._bounds = self._cut(np.sort(self._buckets) * BUCKET_WIDTH)

    def _cut(self, lengths: NDArray[np.int64]) -> NDArray[np.int64]:
        """Batch boundaries over ascending lengths."""
        budget = self.options.tokens * self.world_size
        most = self.options.documents * self.world_size
        bounds = [0]
        while bounds[-1] < len(lengths):
            window = lengths[bounds[-1] : bounds[-1] + most]
            sizes = window * np.arange(1, len(window) + 1)  # padded size, ascending
            # A document longer than the budget is a batch of its own.
            bounds.append(bounds[-1] + max(1, int(np.searchsorted(sizes, budget, side="right"))))
        return np.array(bounds)

    def __len__(self) -> int:
        return len(self._bounds) - 1

    @property
    def most_rows(self) -> int:
        """Rows of the largest global batch; a rank beyond them never gets any."""
        return int(np.diff(self._bounds).max(initial=0))

    def epoch(self, number: int) -> Iterator[NDArray[np.int64]]:
        """Global batches of an epoch, shuffled."""
        random = np.random.default_rng([self.options.seed or 0, number])
        shuffled = random.permutation(len(self._buckets))
        order = shuffled[np.argsort(self._buckets[shuffled], kind="stable")]
        for batch in random.permutation(len(self)):
            yield order[self._bounds[batch] : self._bounds[batch + 1]]

    def in_order(self) -> Iterator[NDArray[np.int64]]:
        """Global batches without a shuffle, shortest documents first."""
        order = np.argsort(self._buckets, kind="stable")
        yield from np.split(order, self._bounds[1:-1])

    def part(self, rows: NDArray[np.int64], rank: int) -> RankBatch:
        """A rank's documents of a global batch.

        A rank that gets none repeats the first with a loss of zero weight, to stay in step.
        """
        own = rows[rank :: self.world_size]
        if len(own):
            return RankBatch(own, len(own) * self.world_size / len(rows))
        return RankBatch(rows[:1], 0.0)


class TrainBatches(DistributedSampler[RankBatch]):
    """A rank's batches of the current epoch, from any step on.

    It is a ``DistributedSampler`` because Lightning would wrap any other sampler in one.

    Args:
        plan: The batches.
        rank: This process.
        first_step: Called when an epoch starts: the step to resume at, 0 for a fresh epoch.
    """

    def __init__(self, plan: BatchPlan, rank: int, first_step: Callable[[], int]) -> None:
        super().__init__(range(len(plan)), plan.world_size, rank)  # type: ignore[arg-type]
        self.plan = plan
        self.first_step = first_step

    def __iter__(self) -> Iterator[RankBatch]:
        first = self.first_step()
        for step, rows in enumerate(self.plan.epoch(self.epoch)):
            if step >= first:
                yield self.plan.part(rows, self.rank)

    def __len__(self) -> int:
        return len(self.plan)


class EvaluationBatches(DistributedSampler[RankBatch]):
    """A rank's batches of a split in which every row counts exactly once.

    Ranks may have different numbers of batches: evaluation synchronises at its end only.
    """

    def __init__(self, plan: BatchPlan, rank: int) -> None:
        super().__init__(range(len(plan)), plan.world_size, rank)  # type: ignore[arg-type]
        parts = (plan.part(rows, rank) for rows in plan.in_order())
        self.batches = [part for part in parts if part.loss_scale > 0]

    def __iter__(self) -> Iterator[RankBatch]:
        return iter(self.batches)

    def __len__(self) -> int:
        return len(self.batches)


class ProductRows(Dataset[ProductBatch]):
    """Whole batches out of a token cache.

    Args:
        store: The cache.
        rows: Row numbers of the cache that take part.
    """

    def __init__(self, store: TokenStore, rows: NDArray[np.int64]) -> None:
        self.store = store
        self.rows = rows

    def __getitem__(self, index: RankBatch) -> ProductBatch:
        """The batch whose documents are ``self.rows[index.rows]``."""
        rows = self.rows[index.rows]
        tokens = (torch.from_numpy(array) for array in self.store.tokens(rows))
        targets = (torch.from_numpy(array) for array in self.store.labels(rows))
        return ProductBatch(
            tokens=TokenBatch(*tokens),
            targets=SparseTargets(*targets),
            rows=torch.from_numpy(rows),
            weights=torch.from_numpy(self.store.weights(rows)),
            loss_scale=index.loss_scale,
        )

    def __len__(self) -> int:
        return len(self.rows)
