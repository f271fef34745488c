"""Downstream tasks: a product, or a query and a product, with task labels."""

import numpy as np

from data_modules.base import STAGE_SPLITS, Source, Split, TokenDataModule, cache_folder
from data_modules.batching import BatchOptions
from data_modules.datasets import find_dataset
from hierarchy_lm.dataset import TASK_SCHEMA, read_task
from hierarchy_lm.errors import UserError
from hierarchy_lm.text import TextOptions


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
    ) -> None:
        dataset_folder = find_dataset(dataset)
        folder = dataset_folder / "tasks" / task
        info = read_task(folder)
        source = Source(
            folder=folder,
            schema=TASK_SCHEMA,
            label_column="label_ids",
            num_labels=len(info.labels),
            cache=cache_folder(dataset_folder, cache_dir, f"tasks/{task}"),
            pair=info.pair,
        )
        super().__init__(source, tokenizer, text, batch, num_workers, predict_split)
        self.kind = info.kind

    def setup(self, stage: str) -> None:
        """Open the token caches of the stage's splits and check the number of labels.

        Raises:
            UserError: If a row of a binary or multi-class task does not have exactly one label;
                to predict it may have none.
        """
        super().setup(stage)
        if self.kind == "multilabel":
            return
        for split in STAGE_SPLITS.get(stage, []):
            store = self.stores[split]
            wrong = np.flatnonzero(store.label_counts != 1)
            if len(wrong):
                item = store.item_ids(wrong[:1])[0].as_py()
                raise UserError(
                    f"{self.source.folder}: {split} item '{item}' has "
                    f"{store.label_counts[wrong[0]]} labels, a {self.kind} task needs exactly one"
                )
