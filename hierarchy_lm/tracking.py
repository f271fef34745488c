"""Weights & Biases without letting it hold up or end a run."""

import netrc
import os
import socket
from pathlib import Path
from urllib.parse import urlparse

from jsonargparse import Namespace
from lightning.pytorch.utilities import rank_zero_warn

PROBE_SECONDS = 3.0


def settle_loggers(trainer: Namespace, root: Path) -> None:
    """Give loggers without a folder the run root, and W&B a mode that works.

    An online W&B logger waits a minute and a half for a server that does not answer, then ends the
    run. Such a run starts offline instead; ``wandb sync`` uploads it later.

    Args:
        trainer: The trainer's part of the configuration; changed in place.
        root: The trainer's ``default_root_dir``.
    """
    loggers = trainer.logger if isinstance(trainer.logger, list) else [trainer.logger]
    for logger in loggers:
        options = getattr(logger, "init_args", None)
        if options is None:
            continue
        if options.get("save_dir") == ".":
            options.save_dir = str(root)
        if logger.class_path.endswith("WandbLogger") and not options.offline:
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
