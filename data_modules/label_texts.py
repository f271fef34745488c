"""Texts and labels as they are, for models that need no tokens."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from data_modules.base import Split
from data_modules.columns import read_row_groups
from data_modules.encoding import read_columns, read_ids, read_weights, split_shard
from data_modules.products import product_source
from data_modules.shards import Shard, find_shards
from data_modules.tasks import check_one_label, task_source
from hierarchy_lm.dataset import TaskKind
from hierarchy_lm.errors import UserError
from hierarchy_lm.hierarchy import Hierarchy
from hierarchy_lm.text import TextField, TextOptions, clean


class LabelledTexts(NamedTuple):
    """N documents with their labels.

    Attributes:
        texts: All fields of each in one text.
        documents, labels: ``(P,)`` the pairs of a document and a label of it, sorted.
        item_ids: Their ids.
        weights: ``(N,)`` importance.
    """

    texts: list[str]
    documents: NDArray[np.int64]
    labels: NDArray[np.int64]
    item_ids: pa.Array
    weights: NDArray[np.float32]


class TextDataset:
    """The products of a dataset folder with all nodes of their paths, or the rows of a task.

    Rows are those that the encoders train on and are tested on: products without a node are left
    out. A query stands in front of the product's fields.

    Args:
        dataset: Dataset folder, or ``sample``.
        task: Folder name under ``tasks``; by default the products.
        fields: Which fields of the product, in their order.

    Attributes:
        kind: How many labels a row may have.
        num_labels: Number of distinct label ids.
        hierarchy: The tree, if the labels are its nodes.
    """

    def __init__(
        self,
        dataset: str,
        task: str | None = None,
        fields: Sequence[TextField] = ("title", "description", "bullet_points"),
    ) -> None:
        self.text = TextOptions(fields)
        self.kind: TaskKind = "multilabel"
        self.hierarchy: Hierarchy | None = None
        if task is None:
            self.source, self.hierarchy = product_source(dataset, None)
        else:
            self.source, info = task_source(dataset, task, None)
            self.kind = info.kind
        self.num_labels = self.source.num_labels
        weighted = "weight" in self.source.schema.names
        label_column = self.source.label_column
        self.columns = read_columns(self.text, self.source.pair, label_column, weighted)

    def read(self, split: Split) -> LabelledTexts:
        """All rows of a split.

        Raises:
            UserError: If a shard cannot be read or holds an unknown label, a row has too many or
                too few, or none is left.
        """
        shards = find_shards(self.source.folder, split, self.source.schema, self.columns)
        parts = [
            self._read(shard, row_groups) for shard in shards for row_groups in split_shard(shard)
        ]
        rows = _concatenate(parts)
        counts = np.bincount(rows.documents, minlength=len(rows.texts))
        check_one_label(f"{self.source.folder}: {split}", self.kind, counts, rows.item_ids.take)
        if not self.source.labelled_only:
            return rows
        if not counts.any():
            raise UserError(f"{self.source.folder}: no row of the {split} split has a label")
        return _keep(rows, counts > 0)

    def _read(self, shard: Shard, row_groups: list[int]) -> LabelledTexts:
        table, _ = read_row_groups(shard.path, row_groups, self.columns)
        place = (shard.path, row_groups, table)
        ids, counts = read_ids(*place, self.source.label_column, self.num_labels)
        if self.hierarchy is not None:
            ids, offsets = self.hierarchy.close(ids, np.concatenate([[0], np.cumsum(counts)]))
            counts = np.diff(offsets)
        names = [*(["query"] if self.source.pair else []), *self.text.fields]
        fields = [clean(table[name], self.text).to_pylist() for name in names]
        documents = np.repeat(np.arange(len(table)), counts)
        order = np.lexsort((ids, documents))
        return LabelledTexts(
            [" ".join(filter(None, row)) for row in zip(*fields, strict=True)],
            documents,
            ids[order].astype(np.int64),
            table["item_id"].combine_chunks(),
            read_weights(*place),
        )


def _concatenate(parts: Sequence[LabelledTexts]) -> LabelledTexts:
    starts = np.cumsum([0, *(len(part.texts) for part in parts)])
    return LabelledTexts(
        [text for part in parts for text in part.texts],
        np.concatenate(
            [part.documents + start for part, start in zip(parts, starts, strict=False)]
        ),
        np.concatenate([part.labels for part in parts]),
        pa.concat_arrays([part.item_ids for part in parts]),
        np.concatenate([part.weights for part in parts]),
    )


def _keep(rows: LabelledTexts, kept: NDArray[np.bool_]) -> LabelledTexts:
    """Some of the rows, all with a label among them."""
    numbers = np.cumsum(kept) - 1
    return LabelledTexts(
        [text for text, keep in zip(rows.texts, kept, strict=True) if keep],
        numbers[rows.documents],
        rows.labels,
        rows.item_ids.filter(pa.array(kept)),
        rows.weights[kept],
    )
