"""Checkpoints that are whole or absent, and saved often enough."""

import os
import time
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins.io import TorchCheckpointIO
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint
from lightning.pytorch.utilities.exceptions import SIGTERMException

from hierarchy_lm.errors import UserError
from hierarchy_lm.runs import CHECKPOINTS, run_folder


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes beside the final name, then renames.

    Lightning's own writer goes through the system's temporary folder; where that is another file
    system, a killed run leaves a truncated file under the final name.
    """

    def save_checkpoint(
        self,
        checkpoint: dict[str, Any],
        path: str | os.PathLike[str],
        storage_options: Any | None = None,  # noqa: ANN401  (Lightning's signature)
    ) -> None:
        """Write, flush to disk and rename."""
        final = Path(path)
        final.parent.mkdir(parents=True, exist_ok=True)
        for orphan in final.parent.glob(f".{final.name}.*.tmp"):
            orphan.unlink()
        temporary = final.with_name(f".{final.name}.{os.getpid()}.tmp")
        with temporary.open("wb") as file:
            torch.save(checkpoint, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, final)

    def load_checkpoint(
        self,
        path: str | os.PathLike[str],
        map_location: Any | None = lambda storage, loc: storage,  # noqa: ANN401
        weights_only: bool | None = None,
    ) -> dict[str, Any]:
        """Read plain data and tensors; code inside the file is never run."""
        return load_checkpoint(Path(path), map_location)


def load_checkpoint(path: Path, map_location: Any = "cpu") -> dict[str, Any]:  # noqa: ANN401
    """Read a checkpoint with ``weights_only=True``.

    Raises:
        UserError: If the file is missing or broken.
    """
    try:
        checkpoint: dict[str, Any] = torch.load(path, map_location=map_location, weights_only=True)
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such checkpoint") from error
    except Exception as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise UserError(
            f"{path}: cannot read the checkpoint ({reason}); use an older one"
        ) from error
    return checkpoint


class LastCheckpoint(Checkpoint):
    """Keeps ``checkpoints/last.ckpt``: after every epoch, every few minutes, on SIGTERM.

    Args:
        minutes: Longest time between two saves.
    """

    def __init__(self, minutes: float = 15.0) -> None:
        self.minutes = minutes
        self._path = Path()
        self._saved_at = 0.0

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Find the run's folder and start the clock."""
        self._path = run_folder(trainer) / CHECKPOINTS / "last.ckpt"
        self._saved_at = time.monotonic()

    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,  # noqa: ANN401
        batch: Any,  # noqa: ANN401
        batch_idx: int,
    ) -> None:
        """Save when the time is up, on all ranks alike."""
        due = time.monotonic() - self._saved_at >= 60 * self.minutes
        if _at_optimizer_step(trainer) and trainer.strategy.broadcast(due):
            self._save(trainer)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save after every epoch."""
        self._save(trainer)

    def on_exception(
        self, trainer: Trainer, pl_module: LightningModule, exception: BaseException
    ) -> None:
        """Save what a SIGTERM or Ctrl-C would lose."""
        stopped = isinstance(exception, SIGTERMException | KeyboardInterrupt)
        if stopped and trainer.training and _at_optimizer_step(trainer):
            self._save(trainer)

    def _save(self, trainer: Trainer) -> None:
        if not trainer.fast_dev_run:  # type: ignore[attr-defined]
            trainer.save_checkpoint(self._path)
            self._saved_at = time.monotonic()


def _at_optimizer_step(trainer: Trainer) -> bool:
    """False between two optimiser steps, where a checkpoint would lose accumulated gradients."""
    current: Any = trainer.fit_loop.epoch_loop.batch_progress.current
    return int(current.processed) % trainer.accumulate_grad_batches == 0
