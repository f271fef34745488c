"""What the DataModules share: token caches, the batch plan and the loaders."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
from lightning.pytorch import LightningDataModule
from lightning.pytorch.utilities import rank_zero_info
from numpy.typing import NDArray
from torch.utils.data import DataLoader

from data_modules.batching import (
    BatchOptions,
    BatchPlan,
    EvaluationBatches,
    ProductRows,
    TrainBatches,
)
from data_modules.encoding import read_columns
from data_modules.shards import Shard, find_shards
from data_modules.tokens import CacheSpec, TokenStore, open_cache
from hierarchy_lm.batches import ProductBatch
from hierarchy_lm.dataset import SPLITS
from hierarchy_lm.dataset_folder import Dataset
from hierarchy_lm.errors import UserError
from hierarchy_lm.hierarchy import Hierarchy
from hierarchy_lm.text import TextOptions
from hierarchy_lm.vocabulary import load_vocabulary

Split = Literal["train", "validation", "test", "all"]
STAGE_SPLITS: dict[str, list[Split]] = {
    "fit": ["train", "validation"],
    "validate": ["validation"],
    "test": ["test"],
}


@dataclass(frozen=True)
class Source:
    """Shards and what their labels mean.

    Attributes:
        dataset: The dataset folder that they are of.
        folder: Folder of the shards.
        schema: Their columns.
        label_column: Column of label ids.
        num_labels: Number of distinct label ids.
        cache: Folder for the token caches.
        pair: Whether a query stands before the product.
        hierarchy: If given, label ids are node ids and are closed under ancestors.
        labelled_only: Leave out rows without a label when training and evaluating.
    """

    dataset: Dataset
    folder: Path
    schema: pa.Schema
    label_column: str
    num_labels: int
    cache: Path
    pair: bool = False
    hierarchy: Hierarchy | None = None
    labelled_only: bool = False


def cache_folder(dataset: Path, cache_dir: str | None, part: str) -> Path:
    """Folder for the token caches of one part of a dataset."""
    return (Path(cache_dir) / dataset.name if cache_dir else dataset / ".cache") / part


class TokenDataModule(LightningDataModule):
    """Batches of the shards of one source.

    Args:
        source: The shards.
        tokenizer: Folder or hub id of the tokenizer.
        text: How fields become tokens.
        batch: Size of a batch.
        num_workers: Loader processes; the cache rarely needs any.
        predict_split: The split that ``predict`` reads.
    """

    def __init__(
        self,
        source: Source,
        tokenizer: str,
        text: TextOptions,
        batch: BatchOptions,
        num_workers: int,
        predict_split: Split,
    ) -> None:
        super().__init__()
        self.source = source
        self.vocabulary = load_vocabulary(tokenizer)
        self.text = text
        self.batch = batch
        self.num_workers = num_workers
        self.predict_split = predict_split
        self.max_length = text.max_length
        self.num_segments = text.num_segments(source.pair)
        self.num_labels = source.num_labels
        self.stores: dict[str, TokenStore] = {}
        self._labelled: dict[str, NDArray[np.int64]] = {}

    def setup(self, stage: str) -> None:
        """Check the shards of the stage's splits and open their token caches.

        Every rank may build: a file lock lets one through, and no rank waits in a collective.
        """
        for split in STAGE_SPLITS.get(stage, [self.predict_split]):
            if split not in self.stores:
                self.stores[split] = self._open(split)

    def _open(self, split: Split) -> TokenStore:
        return open_cache(self._spec(split, self.source.folder), self.source.cache, split)

    def _source(self, split: Split) -> Source:
        """Where a split's labels come from; a subclass may train on others than it evaluates."""
        return self.source

    def _spec(self, split: Split, folder: Path) -> CacheSpec:
        source = self._source(split)
        weighted = "weight" in source.schema.names
        pattern = "*" if split == "all" else split
        columns = read_columns(self.text, source.pair, source.label_column, weighted)
        return CacheSpec(
            shards=tuple(find_shards(folder, pattern, source.schema, columns)),
            vocabulary=self.vocabulary,
            text=self.text,
            pair=source.pair,
            label_column=source.label_column,
            num_labels=source.num_labels,
            hierarchy=source.hierarchy,
            weighted=weighted,
        )

    def _rows(self, split: Split) -> NDArray[np.int64]:
        if not self.source.labelled_only:
            return np.arange(len(self.stores[split]))
        if split not in self._labelled:  # loaders and trainer ask again; it is said once
            self._labelled[split] = self._find_labelled(split)
        return self._labelled[split]

    def _find_labelled(self, split: Split) -> NDArray[np.int64]:
        store = self.stores[split]
        rows = np.flatnonzero(store.label_counts)
        if len(rows) == 0:
            raise UserError(f"{self.source.folder}: no row of the {split} split has a label")
        if len(rows) < len(store):
            rank_zero_info(f"{split}: {len(store) - len(rows):,} rows without a label are left out")
        return rows

    def _plan(self, split: Split, rows: NDArray[np.int64]) -> BatchPlan:
        world_size = self.trainer.world_size if self.trainer else 1
        return BatchPlan(self.stores[split].lengths[rows], self.batch, world_size)

    @property
    def _rank(self) -> int:
        return self.trainer.global_rank if self.trainer else 0

    def _first_step(self) -> int:
        """Batches of the current epoch that a resumed run has trained on already."""
        if self.trainer is None:
            return 0
        # Not `completed`: it lags by one in a checkpoint that was saved at the end of a batch.
        current: Any = self.trainer.fit_loop.epoch_loop.batch_progress.current
        done = int(current.processed)
        return done if done < self.num_train_batches else 0

    @property
    def num_train_batches(self) -> int:
        """Batches that an epoch trains on, known before any loader starts."""
        batches = len(self._plan("train", self._rows("train")))
        limit = self.trainer.limit_train_batches if self.trainer else 1.0
        return min(batches, limit) if isinstance(limit, int) else int(batches * limit)

    def _loader(
        self, split: Split, rows: NDArray[np.int64], batches: TrainBatches | EvaluationBatches
    ) -> DataLoader[ProductBatch]:
        # batch_size=None: an item of the dataset is a whole batch.
        return DataLoader(
            ProductRows(self.stores[split], rows),
            batch_size=None,
            sampler=batches,
            num_workers=self.num_workers,
            pin_memory=self.trainer is not None
            and self.trainer.strategy.root_device.type == "cuda",
        )

    def train_dataloader(self) -> DataLoader[ProductBatch]:
        """Shuffled batches; the same number of steps on every rank and in every epoch."""
        rows = self._rows("train")
        batches = TrainBatches(self._plan("train", rows), self._rank, self._first_step)
        if self.trainer is not None:
            # Lightning tells the epoch too late for loader processes, which fetch ahead.
            epoch: Any = self.trainer.fit_loop.epoch_progress.current
            batches.set_epoch(epoch.processed)
        return self._loader("train", rows, batches)

    def val_dataloader(self) -> DataLoader[ProductBatch]:
        """Every row of the validation split once, over all ranks."""
        return self._evaluation("validation", self._rows("validation"))

    def test_dataloader(self) -> DataLoader[ProductBatch]:
        """Every row of the test split once, over all ranks."""
        return self._evaluation("test", self._rows("test"))

    def predict_dataloader(self) -> DataLoader[ProductBatch]:
        """Every row of ``predict_split`` once, with or without labels."""
        rows = np.arange(len(self.stores[self.predict_split]))
        return self._evaluation(self.predict_split, rows)

    def item_ids(self, rows: NDArray[np.int64], split: Split | None = None) -> pa.Array:
        """Item ids of rows of a split, by default ``predict_split``."""
        return self.stores[split or self.predict_split].item_ids(rows)

    def splits(self, rows: NDArray[np.int64]) -> pa.DictionaryArray:
        """Split that each row of ``predict_split`` comes from, also where that is ``all``."""
        names = [shard.path.name.rpartition("-")[0] for shard in self._shards]
        ends = np.cumsum([shard.num_rows for shard in self._shards])
        codes = np.array([SPLITS.index(name) for name in names], dtype=np.int8)
        owners = codes[np.searchsorted(ends, rows, side="right")]
        return pa.DictionaryArray.from_arrays(pa.array(owners), pa.array(SPLITS))

    @cached_property
    def _shards(self) -> tuple[Shard, ...]:
        return self._spec(self.predict_split, self.source.folder).shards

    def _evaluation(self, split: Split, rows: NDArray[np.int64]) -> DataLoader[ProductBatch]:
        plan = self._plan(split, rows)
        if plan.most_rows < plan.world_size:  # a rank without a batch would not meet the others
            raise UserError(
                f"{self.source.folder}: a batch of the {split} split has {plan.most_rows} rows at "
                f"most, too few for {plan.world_size} processes; use --trainer.devices 1"
            )
        return self._loader(split, rows, EvaluationBatches(plan, self._rank))
