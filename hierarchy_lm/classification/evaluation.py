"""Keeps a cascade's answers on a labelled split, one row per item."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from lightning.pytorch import Callback, LightningModule, Trainer

from hierarchy_lm.batches import ProductBatch
from hierarchy_lm.cascade_answers import DECISIONS, SCHEMA
from hierarchy_lm.cascade_folder import calibration_fingerprint
from hierarchy_lm.dataset import write_json
from hierarchy_lm.parts import PartWriter, list_column


class EvaluationWriter(Callback):
    """Writes ``<split>/part-*.parquet`` into a folder, and what was evaluated beside them.

    Args:
        cascade: The cascade folder.
        folder: Where the splits' folders are made.
        calibrated: Whether the answers are those of the cascade's calibration.
    """

    def __init__(self, cascade: Path, folder: Path, calibrated: bool) -> None:
        self.cascade = cascade
        self.folder = folder
        self.calibrated = calibrated
        self._writer: PartWriter | None = None
        self._split = ""

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin."""
        self._begin(trainer, "validation")

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin."""
        self._begin(trainer, "test")

    def _begin(self, trainer: Trainer, split: str) -> None:
        folder, data = self.folder / split, trainer.datamodule  # type: ignore[attr-defined]
        if trainer.is_global_zero:
            folder.mkdir(parents=True, exist_ok=True)
            for part in folder.glob("part-*"):
                part.unlink()
            record = {
                "dataset": str(data.source.dataset.folder),
                "split": split,
                "label_column": data.source.label_column,
                "calibration": calibration_fingerprint(self.cascade),
                "calibrated": self.calibrated,
            }
            write_json(folder / "evaluation.json", record)
        trainer.strategy.barrier()
        self._split = split
        self._writer = PartWriter(folder, trainer.global_rank, SCHEMA)

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,  # noqa: ANN401
        batch: ProductBatch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Append a window."""
        self._append(trainer, outputs, batch)

    def on_test_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,  # noqa: ANN401
        batch: ProductBatch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Append a window."""
        self._append(trainer, outputs, batch)

    def _append(self, trainer: Trainer, answers: Any, batch: ProductBatch) -> None:  # noqa: ANN401
        assert self._writer is not None
        data: Any = trainer.datamodule  # type: ignore[attr-defined]
        best = answers.best
        documents, nodes = data.hierarchy.most_specific(
            *(part.cpu().numpy() for part in batch.targets)
        )
        gold = list_column(documents, nodes, len(batch.rows))
        columns = [
            data.item_ids(batch.rows.cpu().numpy(), self._split),
            pa.array(batch.weights.float().cpu().numpy()),
            gold,
            *(pa.array(part.cpu().numpy().astype(np.int32)) for part in best[:2]),
            *(pa.array(part.float().cpu().numpy()) for part in best[2:5]),
            pa.array(DECISIONS).take(pa.array(answers.decisions.decision.cpu().numpy())),
        ]
        self._writer.write(columns)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Give the part its name."""
        self._end()

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Give the part its name."""
        self._end()

    def _end(self) -> None:
        assert self._writer is not None
        self._writer.close()
