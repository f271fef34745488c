"""What every run leaves behind and shows on the way."""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import torch
import yaml
from jsonargparse import Namespace
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import BasePredictionWriter
from lightning.pytorch.cli import LightningArgumentParser, SaveConfigCallback
from pyarrow import csv
from torch import Tensor

from hierarchy_lm.batches import ProductBatch
from hierarchy_lm.dataset import write_json
from hierarchy_lm.parts import PartWriter
from hierarchy_lm.run_files import CONFIG, RUN_RECORD, TOKENIZER
from hierarchy_lm.run_record import (
    State,
    best_score,
    count_parameters,
    end_of,
    logged_metrics,
    new_record,
)
from hierarchy_lm.runs import run_folder
from hierarchy_lm.tracking import log_summary
from hierarchy_lm.training import EncoderTraining
from hierarchy_lm.vocabulary import load_vocabulary


class RunRecord(SaveConfigCallback):
    """Makes a run's folder complete: configuration, tokenizer, final metrics, ``run.json``.

    The configuration goes to the loggers too. ``<stage>.json`` holds the stage's final metrics,
    ``run.json`` (docs/sweeps.md) all of them and whatever else one asks of a finished run.

    Args:
        parser: What dumps the configuration.
        config: The resolved configuration.
        command: The command line, the program's name first.
        dataset: Path and fingerprints of the dataset and its tree.
    """

    def __init__(
        self,
        parser: LightningArgumentParser,
        config: Namespace,
        command: Sequence[str],
        dataset: Mapping[str, str],
    ) -> None:
        super().__init__(parser, config)
        self._command, self._dataset = command, dataset
        self._folder: Path | None = None  # where this process writes, once it may
        self._record: dict[str, Any] = {}
        self._fitting = False
        self._since = time.perf_counter()
        self._seconds_before = 0.0
        self._tokens_before = 0
        self._tokens: int | Tensor = 0

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Write configuration, tokenizer and ``run.json`` before anything can fail."""
        folder, self._fitting = run_folder(trainer), stage == "fit"
        if not _records(trainer):
            return
        folder.mkdir(parents=True, exist_ok=True)
        text = self.parser.dump(self.config, skip_none=False)
        (folder / CONFIG).write_text(text, encoding="utf-8")
        if isinstance(pl_module, EncoderTraining):
            load_vocabulary(pl_module.tokenizer).save(folder / TOKENIZER)
        config = yaml.safe_load(text)
        for logger in trainer.loggers:
            logger.log_hyperparams(config)
        if not self._record:  # else this is the test after a fit
            self._record = new_record(
                self._command,
                config,
                self._dataset,
                count_parameters(pl_module),
                trainer.world_size,
                str(trainer.precision),
            )
        self._folder = folder
        self._write(trainer, "running")

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write ``sampling.csv``, what each leaf had and gave, if the data was resampled."""
        data: Any = trainer.datamodule  # type: ignore[attr-defined]
        folder = run_folder(trainer)
        if hasattr(data, "sampling_report") and _records(trainer):
            csv.write_csv(data.sampling_report(), folder / "sampling.csv")

    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,  # noqa: ANN401
        batch: ProductBatch,
        batch_idx: int,
    ) -> None:
        """Count tokens, where they are: no GPU has to wait."""
        self._tokens = self._tokens + batch.tokens.attention_mask.sum()

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Count the other ranks' tokens."""
        tokens = torch.as_tensor(self._tokens, device=pl_module.device)
        self._tokens = trainer.strategy.reduce(tokens, reduce_op="sum")

    def state_dict(self) -> dict[str, Any]:
        """What a resumed run adds to its own counts (on several ranks, the first one's tokens)."""
        return {"seconds": self._seconds(), "tokens": self._tokens_before + int(self._tokens)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over the counts of the run that this one resumes."""
        if self._fitting:  # else it is a checkpoint to test
            self._seconds_before = state_dict["seconds"]
            self._tokens_before = state_dict["tokens"]

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

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Conclude ``run.json``, after all else is written; a test may follow a fit."""
        if self._folder is None:
            return
        if stage == "fit":
            self._record["metrics"] |= best_score(trainer)
        if stage == "fit" and self.config.get("test_after_fit"):
            self._write(trainer, "running")
            return
        self._write(trainer, "finished")
        log_summary(trainer.loggers, self._record["metrics"])

    def on_exception(
        self, trainer: Trainer, pl_module: LightningModule, exception: BaseException
    ) -> None:
        """Say in ``run.json`` why the run ended."""
        self._write(trainer, *end_of(exception))

    def _seconds(self) -> float:
        return self._seconds_before + time.perf_counter() - self._since

    def _write(self, trainer: Trainer, state: State, error: str | None = None) -> None:
        if self._folder is None:
            return
        self._record["metrics"].update(logged_metrics(trainer))
        self._record |= {"state": state, "error": error, "seconds": round(self._seconds(), 2)}
        self._record["tokens"] = self._tokens_before + int(self._tokens)
        self._record["steps"] = trainer.global_step
        write_json(self._folder / RUN_RECORD, self._record)


def _write_metrics(trainer: Trainer, stage: str) -> None:
    folder = run_folder(trainer)
    if _records(trainer):
        write_json(folder / f"{stage}.json", logged_metrics(trainer))


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
