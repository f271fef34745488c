"""Where a run keeps its files, and how one finds them again."""

from pathlib import Path

from lightning.pytorch import Trainer
from lightning.pytorch.loggers import CSVLogger

from hierarchy_lm.errors import UserError
from hierarchy_lm.run_files import CHECKPOINTS, checkpoint_of_run

NAMED_CHECKPOINTS = ("last", "best")


def run_folder(trainer: Trainer) -> Path:
    """The run's folder, the same on every rank; a new one for every run.

    All ranks must call it together.
    """
    logger = trainer.logger
    root = Path(trainer.default_root_dir)
    if isinstance(logger, CSVLogger):
        folder = Path(logger.log_dir)
    elif logger is not None:
        version = logger.version  # numbered as Lightning's own checkpoint callback does
        run = version if isinstance(version, str) else f"version_{version}"
        folder = Path(logger.save_dir or root) / str(logger.name) / run
    else:
        folder = root
    return Path(trainer.strategy.broadcast(str(folder)))


def find_checkpoint(name: str, root: Path) -> Path:
    """Checkpoint file that ``last`` or ``best`` names, or the path itself.

    Args:
        name: ``last`` or ``best`` of the newest run below ``root``, a run folder (its best, else
            its last checkpoint), or a file.
        root: The trainer's ``default_root_dir``.

    Raises:
        UserError: If there is none.
    """
    if name in NAMED_CHECKPOINTS:
        found = list(root.glob(f"**/{CHECKPOINTS}/{name}.ckpt"))
        if not found:
            raise UserError(
                f"--ckpt_path {name}: no {CHECKPOINTS}/{name}.ckpt below {root}; start the run "
                "without --ckpt_path"
            )
        return max(found, key=lambda path: path.stat().st_mtime_ns)
    path = Path(name)
    if path.is_dir():
        return checkpoint_of_run(path)
    if not path.is_file():
        raise UserError(f"--ckpt_path {name}: no such file or run folder")
    return path
