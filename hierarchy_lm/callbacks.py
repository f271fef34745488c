"""What every run leaves behind and shows on the way."""

import time
from pathlib import Path
from typing import Any

import pyarrow as pa
import torch
import yaml
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import BasePredictionWriter
from lightning.pytorch.cli import SaveConfigCallback
from pyarrow import csv
from torch import Tensor

from hierarchy_lm.batches import ProductBatch
from hierarchy_lm.dataset import write_json
from hierarchy_lm.parts import PartWriter
from hierarchy_lm.run_files import TOKENIZER
from hierarchy_lm.runs import CONFIG, run_folder
from hierarchy_lm.training import EncoderTraining
from hierarchy_lm.vocabulary import load_vocabulary


class RunRecord(SaveConfigCallback):
    """Makes a run's folder complete: resolved configuration, tokenizer, final metrics.

    The configuration goes to the logger too. ``<stage>.json`` holds the stage's final metrics.
    """

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Write the configuration before anything can fail."""
        folder = run_folder(trainer)
        if not _records(trainer):
            return
        folder.mkdir(parents=True, exist_ok=True)
        config = self.parser.dump(self.config, skip_none=False)
        (folder / CONFIG).write_text(config, encoding="utf-8")
        if isinstance(pl_module, EncoderTraining):
            load_vocabulary(pl_module.tokenizer).save(folder / TOKENIZER)
        for logger in trainer.loggers:
            logger.log_hyperparams(yaml.safe_load(config))

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write ``sampling.csv``, what each leaf had and gave, if the data was resampled."""
        data: Any = trainer.datamodule  # type: ignore[attr-defined]
        folder = run_folder(trainer)
        if hasattr(data, "sampling_report") and _records(trainer):
            csv.write_csv(data.sampling_report(), folder / "sampling.csv")

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write ``fit.json``."""
        _write_metrics(trainer, "fit")

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write ``validate.json``, unless this is a validation inside a fit."""
        if trainer.state.fn == "validate":
            _write_metrics(trainer, "validate")

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write ``test.json``."""
        _write_metrics(trainer, "test")


def _write_metrics(trainer: Trainer, stage: str) -> None:
    folder = run_folder(trainer)
    if _records(trainer):
        metrics = {name: float(value) for name, value in trainer.callback_metrics.items()}
        write_json(folder / f"{stage}.json", metrics)


def _records(trainer: Trainer) -> bool:
    return trainer.is_global_zero and not trainer.fast_dev_run  # type: ignore[attr-defined]


class TrainingSpeed(Callback):
    """Shows the learning rate and the tokens per second, padding not counted."""

    def __init__(self) -> None:
        self._tokens: list[Tensor] = []
        self._since = 0.0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock."""
        self._tokens, self._since = [], time.perf_counter()

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Leave the time of validation out."""
        self._tokens, self._since = [], time.perf_counter()

    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,  # noqa: ANN401
        batch: ProductBatch,
        batch_idx: int,
    ) -> None:
        """Log every ``log_every_n_steps`` batches; only then does a GPU have to wait."""
        self._tokens.append(batch.tokens.attention_mask.sum())
        if len(self._tokens) < trainer.log_every_n_steps:  # type: ignore[attr-defined]
            return
        tokens = torch.stack(self._tokens).sum().item() * trainer.world_size
        seconds = time.perf_counter() - self._since
        pl_module.log("train/tokens_per_second", tokens / seconds, prog_bar=True)
        pl_module.log("train/lr", trainer.optimizers[0].param_groups[0]["lr"], prog_bar=True)
        self._tokens, self._since = [], time.perf_counter()


class PredictionWriter(BasePredictionWriter):
    """Streams predictions to ``predictions/part-<rank>.parquet`` in the run's folder.

    Columns: ``item_id`` and those of the model; one row per row of the split, each exactly once
    over all ranks.
    """

    def __init__(self) -> None:
        super().__init__(write_interval="batch")
        self._writer: PartWriter | None = None

    def folder(self, trainer: Trainer) -> Path:
        """Where the parts go; all ranks must call it together."""
        return run_folder(trainer) / "predictions"

    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Open this rank's part under a temporary name."""
        schema = pa.schema([("item_id", pa.string()), *pl_module.prediction_schema])  # type: ignore[misc]
        self._writer = PartWriter(self.folder(trainer), trainer.global_rank, schema)

    def write_on_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        prediction: Any,  # noqa: ANN401
        batch_indices: Any,  # noqa: ANN401
        batch: ProductBatch,
        batch_idx: int,
        dataloader_idx: int,
    ) -> None:
        """Append one batch."""
        assert self._writer is not None
        item_ids = trainer.datamodule.item_ids(batch.rows.cpu().numpy())  # type: ignore[attr-defined]
        self._writer.write([item_ids, *pl_module.prediction_columns(prediction, batch)])  # type: ignore[operator]

    def on_predict_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Give the part its name."""
        assert self._writer is not None
        self._writer.close()
