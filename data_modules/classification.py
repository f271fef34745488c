"""Products for the two stages of DHPC: departments, and the leaves of one department."""

import hashlib
import json
from dataclasses import asdict, replace

import numpy as np
import pyarrow as pa
from lightning.pytorch.utilities import rank_zero_info
from numpy.typing import NDArray
from torch.utils.data import DataLoader

from data_modules.augmentation import AugmentationOptions, augmented_shard
from data_modules.base import Source, Split, TokenDataModule
from data_modules.batching import BatchOptions
from data_modules.node_store import NodeStore
from data_modules.products import LabelColumn, product_source
from data_modules.sampling import Draw, SamplingOptions, draw
from data_modules.tokens import TokenStore, open_cache
from hierarchy_lm.batches import ProductBatch
from hierarchy_lm.errors import UserError
from hierarchy_lm.hierarchy import Hierarchy
from hierarchy_lm.text import TextOptions


class ClassifierDataModule(TokenDataModule):
    """Products labelled with some nodes of the tree, resampled and augmented for training.

    Args:
        source: The products.
        hierarchy: Their tree.
        nodes: Node of each label.
        tokenizer: Folder or hub id of the tokenizer.
        text: How fields become tokens.
        batch: Size of a batch.
        sampling: How many training items each leaf gives.
        augmentation: Copies with the label's name.
        num_workers: Loader processes.
        predict_split: The split that ``predict`` reads.

    Attributes:
        drawn: What the sampling drew; None before ``setup``.
    """

    def __init__(
        self,
        source: Source,
        hierarchy: Hierarchy,
        nodes: NDArray[np.int64],
        tokenizer: str,
        text: TextOptions,
        batch: BatchOptions,
        sampling: SamplingOptions,
        augmentation: AugmentationOptions,
        num_workers: int,
        predict_split: Split,
    ) -> None:
        super().__init__(source, tokenizer, text, batch, num_workers, predict_split)
        self.hierarchy = hierarchy
        self.nodes = nodes
        self.num_labels = len(nodes)
        self.sampling = sampling
        self.augmentation = augmentation
        self.drawn: Draw | None = None
        self._train_rows: NDArray[np.int64] = np.empty(0, dtype=np.int64)

    def _source(self, split: Split) -> Source:
        # Training never sees the truth, and augmented copies do not hold it.
        return replace(self.source, label_column="node_ids") if split == "train" else self.source

    def _open(self, split: Split) -> NodeStore:  # type: ignore[override]
        base = super()._open(split)
        label_of = np.full(self.hierarchy.num_nodes, -1)
        label_of[self.nodes] = np.arange(len(self.nodes))
        store = NodeStore(base, label_of)
        if split != "train":
            return store
        self._train_rows = self._draw(base, store)
        if self.augmentation.rate == 0 or len(self._train_rows) == 0:
            return store
        originals, copies = self._augment(store, self._train_rows)
        rank_zero_info(f"train: {len(originals):,} copies with shuffled titles and label names")
        if copies is None:
            return store
        if self.augmentation.mode == "replace":
            self._train_rows = self._train_rows[~np.isin(self._train_rows, originals)]
        added = len(base) + np.arange(len(copies))
        self._train_rows = np.concatenate([self._train_rows, added])
        return NodeStore(base, label_of, copies)

    def _draw(self, base: TokenStore, store: NodeStore) -> NDArray[np.int64]:
        rows = np.flatnonzero(store.label_counts)
        if len(rows) == 0:
            return rows
        items, leaves = self.hierarchy.most_specific(*base.labels(rows))
        # Not the nodes outside of this department, which the item may have as well.
        own = np.isin(leaves, self.nodes) | np.isin(self.hierarchy.roots[leaves], self.nodes)
        self.drawn = draw(items[own], leaves[own], self.sampling)
        if self.sampling.per_leaf is not None:
            rank_zero_info(
                f"train: {len(self.drawn.items):,} of {len(rows):,} items drawn, at most "
                f"{self.sampling.per_leaf:,} of each of {len(self.drawn.leaves):,} leaves; "
                f"{int((self.drawn.available < self.sampling.per_leaf).sum()):,} have fewer"
            )
        chosen: NDArray[np.int64] = rows[self.drawn.items]
        return chosen

    def _augment(
        self, store: NodeStore, rows: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], TokenStore | None]:
        """Rows that have a copy, and the copies; None where every label has too few items."""
        parts = {
            "cache": store.base.folder.name,
            "nodes": self.nodes.tolist(),
            "sampling": asdict(self.sampling),
            "augmentation": asdict(self.augmentation),
        }
        key = hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]
        folder = self.source.cache / f"augmented-{key}"
        folder.mkdir(parents=True, exist_ok=True)
        rows = np.unique(rows)
        spec = self._spec("train", self.source.folder)
        originals = augmented_shard(
            spec.shards,
            rows,
            [self.hierarchy.names[node] for node in self.nodes],
            *store.labels(rows),
            self.augmentation,
            self.sampling.seed or 0,
            folder / "train-00000.parquet",
        )
        if len(originals) == 0:
            return originals, None
        return originals, open_cache(self._spec("train", folder), folder, "train")

    def _rows(self, split: Split) -> NDArray[np.int64]:
        rows = self._train_rows if split == "train" else np.flatnonzero(self._counts(split))
        if len(rows) == 0:
            raise UserError(
                f"{self.source.folder}: no item of the {split} split has one of the "
                f"{self.num_labels} labels {self._labels_in_words()}"
            )
        return rows

    def predict_dataloader(self) -> DataLoader[ProductBatch]:
        """Every row of ``predict_split`` once, with or without labels, and no augmented copy."""
        store = self.stores[self.predict_split]
        assert isinstance(store, NodeStore)
        return self._evaluation(self.predict_split, np.arange(len(store.base)))

    def _counts(self, split: Split) -> NDArray[np.int64]:
        return self.stores[split].label_counts

    def _labels_in_words(self) -> str:
        first, last = self.nodes[[0, -1]]
        return f"('{self.hierarchy.paths[first]}' to '{self.hierarchy.paths[last]}')"

    def label_frequencies(self) -> NDArray[np.int64]:
        """Training items of each label."""
        _, labels = self.stores["train"].labels(self._train_rows)
        return np.bincount(labels, minlength=self.num_labels)

    def sampling_report(self) -> pa.Table:
        """Leaves of the training split with their available and drawn items."""
        assert self.drawn is not None
        paths = [self.hierarchy.paths[node] for node in self.drawn.leaves]
        return pa.table(
            {"leaf": paths, "available": self.drawn.available, "drawn": self.drawn.drawn}
        )


class DepartmentDataModule(ClassifierDataModule):
    """Products labelled with their departments, the roots of the tree.

    Rows without a node are left out of training and evaluation.

    Args:
        dataset: Dataset folder, or ``sample``.
        tokenizer: Folder or hub id of the tokenizer; the command line takes it from the backbone.
        text: How fields become tokens.
        batch: Size of a batch.
        sampling: How many training items each leaf gives.
        augmentation: Copies with the department's name.
        label_column: ``true_node_ids`` evaluates a generated catalogue against the truth.
        num_workers: Loader processes; the token cache rarely needs any.
        cache_dir: Where the token cache goes; by default ``.cache`` in the dataset folder.
        predict_split: The split that ``hlm predict`` reads, or ``all``.
    """

    def __init__(
        self,
        dataset: str,
        tokenizer: str,
        text: TextOptions = TextOptions(segments="fields"),
        batch: BatchOptions = BatchOptions(),
        sampling: SamplingOptions = SamplingOptions(per_leaf=300),
        augmentation: AugmentationOptions = AugmentationOptions(),
        label_column: LabelColumn = "node_ids",
        num_workers: int = 0,
        cache_dir: str | None = None,
        predict_split: Split = "test",
    ) -> None:
        source, hierarchy = product_source(dataset, cache_dir, label_column)
        nodes = np.arange(hierarchy.level_sizes[0])
        super().__init__(
            source,
            hierarchy,
            nodes,
            tokenizer,
            text,
            batch,
            sampling,
            augmentation,
            num_workers,
            predict_split,
        )


class LeafDataModule(ClassifierDataModule):
    """Products of one department labelled with their leaves.

    Rows of other departments, and rows whose path stops above a leaf, are left out of training and
    evaluation.

    Args:
        dataset: Dataset folder, or ``sample``.
        department: Name of the department, a root of the tree.
        tokenizer: Folder or hub id of the tokenizer; the command line takes it from the backbone.
        text: How fields become tokens.
        batch: Size of a batch.
        sampling: How many training items each leaf gives.
        augmentation: Copies with the leaf's name.
        label_column: ``true_node_ids`` evaluates a generated catalogue against the truth.
        num_workers: Loader processes; the token cache rarely needs any.
        cache_dir: Where the token cache goes; by default ``.cache`` in the dataset folder.
        predict_split: The split that ``hlm predict`` reads, or ``all``.
    """

    def __init__(
        self,
        dataset: str,
        department: str,
        tokenizer: str,
        text: TextOptions = TextOptions(segments="fields"),
        batch: BatchOptions = BatchOptions(),
        sampling: SamplingOptions = SamplingOptions(per_leaf=3000),
        augmentation: AugmentationOptions = AugmentationOptions(),
        label_column: LabelColumn = "node_ids",
        num_workers: int = 0,
        cache_dir: str | None = None,
        predict_split: Split = "test",
    ) -> None:
        source, hierarchy = product_source(dataset, cache_dir, label_column)
        nodes = hierarchy.leaves_of(hierarchy.department(department))
        super().__init__(
            source,
            hierarchy,
            nodes,
            tokenizer,
            text,
            batch,
            sampling,
            augmentation,
            num_workers,
            predict_split,
        )
