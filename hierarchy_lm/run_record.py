"""What ``run.json`` says of a run: what was run, on what, and how it ended."""

import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import Any, Literal

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.utilities.exceptions import SIGTERMException

from hierarchy_lm.dataset_folder import Dataset
from hierarchy_lm.errors import UserError

PROJECT = "hierarchy-lm"
GIT_SECONDS = 10

State = Literal["running", "finished", "failed", "interrupted"]


def new_record(
    command: Sequence[str],
    config: Mapping[str, Any],
    dataset: Mapping[str, str],
    parameters: Mapping[str, int | None],
    ranks: int = 1,
    precision: str = "32-true",
) -> dict[str, Any]:
    """Everything that is known when a run starts.

    Args:
        command: The command line, the program's name first.
        config: The resolved configuration.
        dataset: What :func:`dataset_record` says of the dataset.
        parameters: Number of parameters, ``total`` and of the ``encoder``.
        ranks: Number of processes.
        precision: As Lightning names it.
    """
    return {
        "state": "running",
        "error": None,
        "command": list(command),
        "config": config,
        "git": git_state(Path.cwd()),
        "packages": package_versions(),
        "python": platform.python_version(),
        "dataset": dict(dataset),
        "seed": config.get("seed_everything"),
        "hardware": _hardware(ranks, precision),
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "seconds": 0.0,
        "tokens": 0,
        "steps": 0,
        "parameters": dict(parameters),
        "metrics": {},
    }


def dataset_record(dataset: Dataset) -> dict[str, str]:
    """Path of a dataset folder, and fingerprints of it and its tree, if it has one.

    Raises:
        UserError: If its tree is broken.
    """
    record = {"path": str(dataset.folder), "fingerprint": dataset.info.fingerprint}
    if dataset.tree_file.is_file():  # a dataset may hold downstream tasks alone
        record["hierarchy"] = dataset.hierarchy.fingerprint
    return record


def git_state(folder: Path) -> dict[str, Any] | None:
    """Commit of the repository that ``folder`` is in, and whether tracked files differ from it.

    Returns:
        None outside a repository, before its first commit, or without the program ``git``.
    """
    commit = _git(folder, "rev-parse", "HEAD")
    changes = _git(folder, "status", "--porcelain", "--untracked-files=no")
    if commit is None or changes is None:
        return None
    return {"commit": commit.strip(), "dirty": bool(changes.strip())}


def _git(folder: Path, *arguments: str) -> str | None:
    program = shutil.which("git")
    if program is None:
        return None
    try:
        done = subprocess.run(
            [program, *arguments], cwd=folder, capture_output=True, text=True, timeout=GIT_SECONDS
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None


def package_versions() -> dict[str, str]:
    """Version of this project and of each package that it depends on."""
    try:
        lines = requires(PROJECT) or []
    except PackageNotFoundError:  # run from its sources
        lines = ["torch", "lightning", "transformers"]
    needed = [re.split(r"[^\w.-]", line)[0] for line in lines if "extra ==" not in line]
    return {name: found for name in [PROJECT, *needed] if (found := _version(name))}


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _hardware(ranks: int, precision: str) -> dict[str, Any]:
    gpus = range(torch.cuda.device_count()) if torch.cuda.is_available() else ()
    return {
        "cpu": _cpu_name(),
        "cores": os.cpu_count(),
        "gpus": [torch.cuda.get_device_name(number) for number in gpus],
        "ranks": ranks,
        "precision": precision,
    }


def _cpu_name() -> str:
    if sys.platform == "linux":  # where platform.processor() is empty
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def count_parameters(module: LightningModule) -> dict[str, int | None]:
    """Parameters of a model in ``total``, and of its ``encoder`` if it has one."""
    encoder = getattr(module, "backbone", None)
    return {
        "total": _count(module),
        "encoder": _count(encoder) if isinstance(encoder, torch.nn.Module) else None,
    }


def _count(module: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def logged_metrics(trainer: Trainer) -> dict[str, float]:
    """All that a stage logged, at its last value."""
    return {name: float(value) for name, value in trainer.callback_metrics.items()}


def best_score(trainer: Trainer) -> dict[str, float]:
    """Score of the best checkpoint, as ``best/<metric>``; the metrics themselves are the last's."""
    checkpoint = trainer.checkpoint_callback
    if not isinstance(checkpoint, ModelCheckpoint) or checkpoint.best_model_score is None:
        return {}
    return {f"best/{checkpoint.monitor}": float(checkpoint.best_model_score)}


def end_of(exception: BaseException) -> tuple[State, str]:
    """State of a run that ``exception`` ended, and the reason in one line."""
    if isinstance(exception, SIGTERMException):
        return "interrupted", "SIGTERM"
    if isinstance(exception, KeyboardInterrupt):
        return "interrupted", "Ctrl-C"
    if isinstance(exception, UserError):
        return "failed", " ".join(str(exception).split())
    line = (str(exception).strip().splitlines() or [""])[0]
    return "failed", f"{type(exception).__name__}: {line}".removesuffix(": ")
