"""The default sample, generated on first use into the user's cache folder."""

import fcntl
import hashlib
import json
import os
from dataclasses import asdict
from pathlib import Path

from data_modules.sample.options import SampleOptions
from hierarchy_lm.errors import UserError

GENERATOR_VERSION = 7
"""Raised whenever the same options give other files."""


def cache_folder() -> Path:
    """``$HLM_CACHE``, else ``$XDG_CACHE_HOME/hierarchy-lm``, else ``~/.cache/hierarchy-lm``."""
    if named := os.environ.get("HLM_CACHE"):
        return Path(named).expanduser()
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home) / "hierarchy-lm"


def default_sample_path() -> Path:
    """Folder of the default sample, whether it is there or not."""
    options = json.dumps([GENERATOR_VERSION, asdict(SampleOptions())], sort_keys=True)
    return cache_folder() / f"sample-{hashlib.sha256(options.encode()).hexdigest()[:12]}"


def default_sample() -> Path:
    """Folder of the default sample, generated if it is not there yet.

    Of several processes that ask at once, one generates and the others wait.

    Raises:
        UserError: If the cache folder cannot be written.
    """
    folder = default_sample_path()
    if (folder / "dataset.json").is_file():
        return folder
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        lock = folder.with_name(f"{folder.name}.lock").open("w")
    except OSError as error:
        raise UserError(
            f"{folder.parent}: cannot be written ({error.strerror}); set HLM_CACHE"
        ) from error
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "dataset.json").is_file():
            from data_modules.sample.writer import write_sample

            write_sample(folder, SampleOptions())
    return folder
