"""Weights & Biases without letting it hold up or end a run."""

import netrc
import os
import socket
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import urlparse

from jsonargparse import Namespace
from lightning.pytorch.loggers import Logger, WandbLogger
from lightning.pytorch.utilities import rank_zero_warn

PROBE_SECONDS = 3.0
ASKED = ("WANDB_SWEEP_ID", "HLM_WANDB")
"""Variables that ask for a W&B logger; `wandb agent` sets the first, `hlm sweep` the second.
Name, group, tags and project of the run are in wandb's own variables."""


def add_wandb_logger(trainer: Namespace) -> None:
    """Log to W&B as well if the environment asks for it and the configuration does not.

    Args:
        trainer: The trainer's part of the configuration; changed in place. The logger that is
            first stays so: the run's folder is its.
    """
    loggers = _loggers(trainer)
    if any(map(_is_wandb, loggers)) or not any(os.environ.get(name) for name in ASKED):
        return
    own = Namespace(  # type: ignore[no-untyped-call]
        class_path="lightning.pytorch.loggers.WandbLogger",
        init_args=Namespace(save_dir=".", offline=False),  # type: ignore[no-untyped-call]
    )
    trainer.logger = [*loggers, own]


def _loggers(trainer: Namespace) -> list[Namespace]:
    given = trainer.logger if isinstance(trainer.logger, list) else [trainer.logger]
    return [logger for logger in given if getattr(logger, "class_path", None)]


def _is_wandb(logger: Namespace) -> bool:
    return str(logger.class_path).endswith("WandbLogger")


def log_summary(loggers: Sequence[Logger], metrics: Mapping[str, float]) -> None:
    """Make a run's final metrics what W&B shows of it."""
    for logger in loggers:
        if isinstance(logger, WandbLogger):
            logger.experiment.summary.update(dict(metrics))


def end_wandb_run(status: int) -> None:
    """End the W&B run of this process, if there is one; the next run is another.

    Args:
        status: Exit status of the run.
    """
    wandb = sys.modules.get("wandb")
    if wandb is not None and wandb.run is not None:
        wandb.finish(exit_code=status)
        wandb.teardown()  # it reads its environment once, and the next run has another


def settle_loggers(trainer: Namespace, root: Path) -> None:
    """Give loggers without a folder the run root, and W&B a mode that works.

    An online W&B logger waits a minute and a half for a server that does not answer, then ends the
    run. Such a run starts offline instead; ``wandb sync`` uploads it later.

    Args:
        trainer: The trainer's part of the configuration; changed in place.
        root: The trainer's ``default_root_dir``.
    """
    for logger in _loggers(trainer):
        options = logger.init_args
        if options.get("save_dir") == ".":
            options.save_dir = str(root)
        if _is_wandb(logger) and not options.offline:
            options.offline = not _wandb_online()


def _wandb_online() -> bool:
    if os.environ.get("WANDB_MODE") in ("offline", "disabled", "dryrun"):
        return True  # wandb obeys the variable by itself
    url = urlparse(os.environ.get("WANDB_BASE_URL", "https://api.wandb.ai"))
    host, port = url.hostname or "", url.port or (443 if url.scheme == "https" else 80)
    if not _has_api_key(host):
        rank_zero_warn("wandb: no API key; logging offline (upload later with `wandb sync`)")
        return False
    try:
        socket.create_connection((host, port), PROBE_SECONDS).close()
    except OSError as error:
        rank_zero_warn(
            f"wandb: {host} does not answer ({error}); logging offline (upload later with "
            "`wandb sync`)"
        )
        return False
    return True


def _has_api_key(host: str) -> bool:
    # Not by asking wandb: it would fix its settings before the logger can set its mode.
    if os.environ.get("WANDB_API_KEY"):
        return True
    try:
        return netrc.netrc().authenticators(host) is not None
    except (OSError, netrc.NetrcParseError):
        return False
