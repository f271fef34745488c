"""Checkpoints that are whole or absent, and saved often enough."""

import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins.io import TorchCheckpointIO
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint, ModelCheckpoint
from lightning.pytorch.utilities import rank_zero_only
from lightning.pytorch.utilities.exceptions import SIGTERMException

from hierarchy_lm.errors import UserError
from hierarchy_lm.run_files import CHECKPOINTS, load_checkpoint
from hierarchy_lm.runs import run_folder


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
        try:
            with temporary.open("wb") as file:
                torch.save(checkpoint, file)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, final)
        except OSError as error:
            temporary.unlink(missing_ok=True)
            raise UserError(
                f"{final}: cannot write the checkpoint ({error.strerror}); the one before is "
                "still whole"
            ) from error

    def load_checkpoint(
        self,
        path: str | os.PathLike[str],
        map_location: Any | None = lambda storage, loc: storage,  # noqa: ANN401
        weights_only: bool | None = None,
    ) -> dict[str, Any]:
        """Read plain data and tensors; code inside the file is never run."""
        return load_checkpoint(Path(path), map_location)


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
        if stopped and trainer.training:
            with _at_last_optimizer_step(trainer):
                self._save(trainer)

    def _save(self, trainer: Trainer) -> None:
        if not trainer.fast_dev_run:  # type: ignore[attr-defined]
            trainer.save_checkpoint(self._path)
            self._saved_at = time.monotonic()


def _at_optimizer_step(trainer: Trainer) -> bool:
    """False between two optimiser steps, where a checkpoint would lose accumulated gradients."""
    current: Any = trainer.fit_loop.epoch_loop.batch_progress.current
    return int(current.processed) % trainer.accumulate_grad_batches == 0


@contextmanager
def _at_last_optimizer_step(trainer: Trainer) -> Iterator[None]:
    """Set the progress back to the last optimiser step; what was accumulated is done again."""
    progress: Any = trainer.fit_loop.epoch_loop.batch_progress
    surplus = int(progress.current.processed) % trainer.accumulate_grad_batches
    if progress.is_last_batch:  # which steps whatever was accumulated
        surplus = 0
    state = progress.state_dict()
    for counts in (progress.current, progress.total):
        processed = counts.processed - surplus
        counts.ready = counts.started = counts.processed = counts.completed = processed
    try:
        yield
    finally:
        progress.load_state_dict(state)


class BestCheckpoint(ModelCheckpoint):
    """Keeps ``checkpoints/best.ckpt``, the best of the whole training.

    A resumed run has a folder of its own, and Lightning's callback would forget the best score
    there: the best checkpoint from before the stop is copied into it.
    """

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over the best checkpoint and its score."""
        old, score = Path(state_dict["best_model_path"]), state_dict["best_model_score"]
        super().load_state_dict(state_dict)
        if score is None or not self.dirpath or not old.is_file():
            return
        best = str(Path(self.dirpath) / old.name)
        _copy(old, Path(best))
        self.best_model_path = self.kth_best_model_path = best
        self.best_model_score = self.kth_value = score
        self.best_k_models = {best: score}


@rank_zero_only
def _copy(old: Path, new: Path) -> None:
    if old.resolve() == new.resolve():
        return
    new.parent.mkdir(parents=True, exist_ok=True)
    temporary = new.with_name(f".{new.name}.{os.getpid()}.tmp")
    shutil.copy(old, temporary)
    os.replace(temporary, new)
