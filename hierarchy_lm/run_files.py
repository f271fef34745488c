"""What a run folder holds, for whoever reads one without training."""

import zipfile
from pathlib import Path
from typing import Any

import torch

from hierarchy_lm.errors import UserError

CONFIG = "config.yaml"
RUN_RECORD = "run.json"
CHECKPOINTS = "checkpoints"
TOKENIZER = "tokenizer"
TEST_ITEMS = "test_items"


def checkpoint_of_run(folder: Path) -> Path:
    """The best checkpoint of a run folder, else its last.

    Raises:
        UserError: If it has none.
    """
    for name in ("best", "last"):
        path = folder / CHECKPOINTS / f"{name}.ckpt"
        if path.is_file():
            return path
    raise UserError(f"{folder}: no {CHECKPOINTS}/best.ckpt or last.ckpt; is it a run folder?")


def tokenizer_of_checkpoint(path: Path) -> Path:
    """The tokenizer folder beside a checkpoint, or beside the folder that it is in.

    Raises:
        UserError: If there is none.
    """
    for folder in (path.parent, path.parent.parent):
        if (folder / TOKENIZER).is_dir():
            return folder / TOKENIZER
    raise UserError(
        f"{path}: no folder '{TOKENIZER}' beside it; give a checkpoint inside a run folder of "
        "`hlm fit`"
    )


def load_checkpoint(path: Path, map_location: Any = "cpu") -> dict[str, Any]:  # noqa: ANN401
    """Read a checkpoint with ``weights_only=True``.

    Raises:
        UserError: If the file is missing or broken.
    """
    try:
        with zipfile.ZipFile(path) as archive:  # torch reads past a wrong checksum
            damaged = archive.testzip()
        if damaged:
            raise ValueError(f"wrong checksum of {damaged}")
        checkpoint: dict[str, Any] = torch.load(path, map_location=map_location, weights_only=True)
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such checkpoint") from error
    except Exception as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise UserError(
            f"{path}: cannot read the checkpoint ({reason}); use an older one"
        ) from error
    return checkpoint
