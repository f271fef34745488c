"""Products with their nodes in the category tree."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from data_modules.base import Source, Split, TokenDataModule, cache_folder
from data_modules.batching import BatchOptions
from data_modules.datasets import find_dataset
from hierarchy_lm.dataset import PRODUCT_SCHEMA
from hierarchy_lm.hierarchy import Hierarchy
from hierarchy_lm.text import TextOptions

ROWS_AT_ONCE = 1_000_000
LabelColumn = Literal["node_ids", "true_node_ids"]


def product_source(
    dataset: str, cache_dir: str | None, label_column: LabelColumn = "node_ids"
) -> tuple[Source, Hierarchy]:
    """The products of a dataset folder with their nodes, those without any included."""
    found = find_dataset(dataset)
    hierarchy = found.hierarchy
    schema = PRODUCT_SCHEMA
    if label_column not in schema.names:
        schema = schema.append(pa.field(label_column, pa.list_(pa.int32())))
    source = Source(
        dataset=found,
        folder=found.folder / "products",
        schema=schema,
        label_column=label_column,
        num_labels=hierarchy.num_nodes,
        cache=cache_folder(found.folder, cache_dir, "products"),
        hierarchy=hierarchy,
        labelled_only=True,
    )
    return source, hierarchy


class ProductDataModule(TokenDataModule):
    """Products labelled with all nodes of their path or paths, for hierarchy pre-training.

    Rows without a node are left out of training and evaluation, and counted.

    Args:
        dataset: Dataset folder, or ``sample``.
        tokenizer: Folder or hub id of the tokenizer; the command line takes it from the backbone.
        text: How fields become tokens.
        batch: Size of a batch.
        num_workers: Loader processes; the token cache rarely needs any.
        cache_dir: Where the token cache goes; by default ``.cache`` in the dataset folder.
        predict_split: The split that ``hlm predict`` reads, or ``all``.

    Attributes:
        labelled_only: Whether rows without a node are left out.
    """

    labelled_only = True

    def __init__(
        self,
        dataset: str,
        tokenizer: str,
        text: TextOptions = TextOptions(),
        batch: BatchOptions = BatchOptions(),
        num_workers: int = 0,
        cache_dir: str | None = None,
        predict_split: Split = "test",
    ) -> None:
        source, self.hierarchy = product_source(dataset, cache_dir)
        source = replace(source, labelled_only=self.labelled_only)
        super().__init__(source, tokenizer, text, batch, num_workers, predict_split)

    def linked_nodes(self) -> NDArray[np.bool_]:
        """``(C,)`` the nodes at which a path of a training product ends."""
        linked = np.zeros(self.hierarchy.num_nodes, dtype=bool)
        for documents, nodes in self._training_pairs():
            linked[self.hierarchy.most_specific(documents, nodes)[1]] = True
        return linked

    def label_frequencies(self) -> NDArray[np.int64]:
        """``(C,)`` training products at or below each node."""
        counts = np.zeros(self.hierarchy.num_nodes, dtype=np.int64)
        for _, nodes in self._training_pairs():
            counts += np.bincount(nodes, minlength=len(counts))
        return counts

    def _training_pairs(self) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
        """Rows and their nodes, closed under ancestors, a piece of the split at a time."""
        store = self.stores["train"]
        for start in range(0, len(store), ROWS_AT_ONCE):
            yield store.labels(np.arange(start, min(start + ROWS_AT_ONCE, len(store))))
