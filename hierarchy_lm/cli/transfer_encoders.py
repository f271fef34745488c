"""Encoders of earlier stages: each trained once, whoever asks for it, and kept by its identity."""

import fcntl
import hashlib
import json
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from hierarchy_lm.cli.stages import Stage
from hierarchy_lm.cli.transfer_options import TransferStage, starting_from
from hierarchy_lm.cli.workers import run_hlm
from hierarchy_lm.errors import UserError
from hierarchy_lm.tracking import ASKED


@dataclass(frozen=True)
class Encoder:
    """An encoder that is kept, or is to be.

    Attributes:
        key: Hash of its identity.
        folder: Its Hugging Face folder; whole or absent.
    """

    key: str
    folder: Path


def trained_encoder(
    stage: TransferStage,
    earlier: Encoder | None,
    fingerprint: str,
    encoders: Path,
    console: Console,
) -> Encoder:
    """The encoder of a stage, trained unless it is there.

    Of several processes that ask at once, one trains and the others wait. A training that was
    interrupted goes on where it stopped.

    Args:
        stage: How it is trained.
        earlier: The encoder that it starts from.
        fingerprint: That of its dataset.
        encoders: Where encoders are kept.
        console: Where progress is told.

    Raises:
        UserError: If the folder cannot be written, or the training fails.
    """
    identity = stage.identity(fingerprint, earlier.key if earlier else None)
    text = json.dumps(identity, sort_keys=True, ensure_ascii=False)
    key = hashlib.sha256(text.encode()).hexdigest()[:16]
    training = _training(stage, earlier, identity, encoders / f"{stage.config.stem}-{key}")
    what = f"{stage.name} ({stage.config})"
    if training.encoder.is_dir():
        console.print(f"{what}: found in {training.root}", highlight=False, soft_wrap=True)
        return Encoder(key, training.encoder)
    with _alone(training.root, what, console) as lock:
        if not training.encoder.is_dir():
            console.print(f"{what}: training in {training.root}", highlight=False, soft_wrap=True)
            _train(training, what, lock)
    return Encoder(key, training.encoder)


def _training(
    stage: TransferStage, earlier: Encoder | None, identity: Mapping[str, Any], root: Path
) -> Stage:
    own: dict[str, Any] = {"trainer": {"default_root_dir": str(root)}}
    if earlier:
        own |= starting_from(earlier.folder)
    return Stage(root, stage.config, stage.arguments, own, identity)


def _train(training: Stage, what: str, lock: int) -> None:
    """Train and export; afterwards the records and the encoder are left."""
    if not training.is_done():  # else killed between training and export
        started = time.monotonic()
        run_stage(training.prepare(), what, lock)
        training.finish(time.monotonic() - started)
    training.export_encoder()
    training.checkpoint.unlink()


def run_stage(argv: list[str], what: str, lock: int | None = None) -> None:
    """Run the `hlm fit` of a stage.

    Args:
        argv: Its arguments.
        what: Its name, for messages.
        lock: Descriptor of the lock on the encoder, which is held while the process lives; None
            for the last stage, the only one that belongs to a sweep.

    Raises:
        UserError: If it fails.
        SystemExit: If it is interrupted.
    """
    told = f"hlm transfer: {what}"
    if lock is None:
        return run_hlm(argv, told)
    kept = {name: value for name, value in os.environ.items() if name not in ASKED}
    return run_hlm(argv, told, [lock], kept)


@contextmanager
def _alone(root: Path, what: str, console: Console) -> Iterator[int]:
    """Hold an encoder's lock, as a file descriptor that the training inherits.

    The system frees the lock when the last process that holds it open is gone: a command that is
    killed blocks nobody, and nobody trains beside a training that has outlived its command.
    """
    try:
        root.mkdir(parents=True, exist_ok=True)
        lock = root.with_name(f"{root.name}.lock").open("w")
    except OSError as error:
        raise UserError(f"{root}: cannot write there ({error.strerror}); set --encoders") from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            console.print(f"{what}: another process trains it; waiting", highlight=False)
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield lock.fileno()
