"""Downstream tasks: a product, or a query and a product, with task labels."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from data_modules.base import STAGE_SPLITS, Source, Split, TokenDataModule, cache_folder
from data_modules.batching import BatchOptions
from data_modules.datasets import find_dataset
from data_modules.node_texts import LINKS, NodeText, NodeTexts, node_texts
from data_modules.tokens import CacheSpec
from hierarchy_lm.dataset import TASK_SCHEMA, TaskInfo, TaskKind, read_task
from hierarchy_lm.dataset_folder import Dataset
from hierarchy_lm.errors import UserError
from hierarchy_lm.text import TextOptions


def task_source(dataset: str, task: str, cache_dir: str | None) -> tuple[Source, TaskInfo]:
    """The rows of a task of a dataset folder, and what the task is.

    Raises:
        UserError: If there is no such dataset or task.
    """
    found = find_dataset(dataset)
    folder = found.folder / "tasks" / task
    info = read_task(folder)
    source = Source(
        dataset=found,
        folder=folder,
        schema=TASK_SCHEMA,
        label_column="label_ids",
        num_labels=len(info.labels),
        cache=cache_folder(found.folder, cache_dir, f"tasks/{task}"),
        pair=info.pair,
    )
    return source, info


class TaskDataModule(TokenDataModule):
    """Rows of one task of a dataset folder, for fine-tuning.

    Args:
        dataset: Dataset folder, or ``sample``.
        task: Folder name under ``tasks``.
        tokenizer: Folder or hub id of the tokenizer; the command line takes it from the backbone.
        text: How fields become tokens.
        batch: Size of a batch.
        num_workers: Loader processes; the token cache rarely needs any.
        cache_dir: Where the token cache goes; by default ``.cache`` in the dataset folder.
        predict_split: The split that ``hlm predict`` reads, or ``all``.
        node_text: What stands in front of the title where the product's nodes are known (SST, Table
            VII): nothing, the ``leaf`` names or the whole ``path``; those of several nodes are
            joined by " ; ". A query still comes first.
    """

    def __init__(
        self,
        dataset: str,
        task: str,
        tokenizer: str,
        text: TextOptions = TextOptions(),
        batch: BatchOptions = BatchOptions(),
        num_workers: int = 0,
        cache_dir: str | None = None,
        predict_split: Split = "test",
        node_text: NodeText = "none",
    ) -> None:
        source, info = task_source(dataset, task, cache_dir)
        super().__init__(source, tokenizer, text, batch, num_workers, predict_split)
        self.kind = info.kind
        self.nodes = None if node_text == "none" else _node_texts(source.dataset, node_text)

    def _spec(self, split: Split, folder: Path) -> CacheSpec:
        spec = super()._spec(split, folder)
        for shard in spec.shards if self.nodes else []:
            if LINKS not in pq.read_schema(shard.path).names:
                raise UserError(
                    f"{shard.path}: no column '{LINKS}', which node_text needs; prepare the task "
                    "with 'products' that it can be linked to, or set data.node_text: none"
                )
        return replace(spec, nodes=self.nodes)

    def setup(self, stage: str) -> None:
        """Open the token caches of the stage's splits and check the number of labels.

        Raises:
            UserError: If a row of a binary or multi-class task does not have exactly one label;
                to predict it may have none.
        """
        super().setup(stage)
        for split in STAGE_SPLITS.get(stage, []):
            store = self.stores[split]
            place = f"{self.source.folder}: {split}"
            check_one_label(place, self.kind, store.label_counts, store.item_ids)


def check_one_label(
    place: str,
    kind: TaskKind,
    counts: NDArray[np.int64],
    item_ids: Callable[[NDArray[np.int64]], pa.Array],
) -> None:
    """Check that every row of a binary or multi-class task has exactly one label.

    Args:
        place: Folder and split, for the message.
        kind: That of the task.
        counts: Labels of each row.
        item_ids: Item ids of rows.

    Raises:
        UserError: If one has not.
    """
    wrong = np.flatnonzero(counts != 1)
    if kind != "multilabel" and len(wrong):
        item = item_ids(wrong[:1])[0].as_py()
        raise UserError(
            f"{place} item '{item}' has {counts[wrong[0]]} labels, a {kind} task needs exactly one"
        )


def _node_texts(dataset: Dataset, kind: Literal["leaf", "path"]) -> NodeTexts:
    if not dataset.tree_file.is_file():
        raise UserError(
            f"{dataset.folder}: has no tree, which node_text needs; prepare it with 'products', "
            "or set data.node_text: none"
        )
    return node_texts(dataset.hierarchy, kind)
