"""What a tested model said of each item, for tests of significance and lists of mistakes."""

import json
from typing import Any

import numpy as np
import pyarrow as pa
from lightning.pytorch import Callback, LightningModule, Trainer
from numpy.typing import NDArray

from hierarchy_lm.batches import ProductBatch, SparseTargets
from hierarchy_lm.metrics import LevelF1
from hierarchy_lm.module import EncoderModule
from hierarchy_lm.parts import PartWriter, list_column
from hierarchy_lm.run_files import TEST_ITEMS
from hierarchy_lm.runs import run_folder

SCHEMA = pa.schema(
    [
        pa.field("item_id", pa.string(), nullable=False),
        pa.field("gold", pa.list_(pa.int32()), nullable=False),
        pa.field("predicted", pa.list_(pa.int32()), nullable=False),
        pa.field("weight", pa.float32(), nullable=False),
    ]
)


class ItemWriter(Callback):
    """Streams ``test_items/part-<rank>.parquet`` into the run's folder whenever a test runs.

    One row per counted item, each exactly once over all ranks, in no order: its id, its gold and
    its predicted label or node ids, both ascending, and its importance. They are what the logged F1
    and accuracy were counted from. The schema's metadata holds ``num_labels``, and
    ``level_offsets`` (JSON) where the labels are the nodes of the tree. Only models of labels
    write any: a cascade keeps its own answers, and MLM has no labels.
    """

    def __init__(self) -> None:
        self._writer: PartWriter | None = None

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Drop what an earlier test left in the folder, and open this rank's part."""
        dry = trainer.fast_dev_run  # type: ignore[attr-defined]
        if dry or not isinstance(pl_module, EncoderModule):
            return
        folder = run_folder(trainer) / TEST_ITEMS
        if trainer.is_global_zero:
            for part in folder.glob("part-*"):  # of more ranks, say
                part.unlink()
        trainer.strategy.barrier()
        self._writer = PartWriter(folder, trainer.global_rank, _schema(pl_module))

    def on_test_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,  # noqa: ANN401
        batch: ProductBatch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Append one batch."""
        if self._writer is None:
            return
        ids = trainer.datamodule.item_ids(batch.rows.cpu().numpy(), "test")  # type: ignore[attr-defined]
        weights = batch.weights.float().cpu().numpy()
        self._writer.write(item_columns(ids, batch.targets, outputs, weights))

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Give the part its name."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None


def _schema(model: EncoderModule) -> pa.Schema:
    offsets = model.f1.offsets if isinstance(model.f1, LevelF1) else None
    return items_schema(len(model.label_names), offsets)


def items_schema(num_labels: int, level_offsets: list[int] | None = None) -> pa.Schema:
    """Schema of the items of a model of so many labels; with offsets where they are nodes."""
    metadata = {"num_labels": str(num_labels)}
    if level_offsets is not None:
        metadata["level_offsets"] = json.dumps(level_offsets)
    return SCHEMA.with_metadata(metadata)


def item_columns(
    ids: pa.Array, gold: SparseTargets, predicted: SparseTargets, weights: NDArray[np.float32]
) -> list[pa.Array]:
    """Columns of some items, in the order of the schema."""
    lists = [_sorted_lists(pairs, len(ids)) for pairs in (gold, predicted)]
    return [ids, *lists, pa.array(weights)]


def _sorted_lists(pairs: SparseTargets, size: int) -> pa.Array:
    documents, labels = (part.cpu().numpy() for part in pairs)
    order = np.lexsort((labels, documents))
    return list_column(documents[order], labels[order], size)
