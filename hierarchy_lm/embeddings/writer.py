"""The folder that `hlm embed` writes."""

import re
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from lightning.pytorch import LightningModule, Trainer

from hierarchy_lm.backbones.sources import weights_source
from hierarchy_lm.callbacks import PredictionWriter
from hierarchy_lm.dataset import HIERARCHY, write_json
from hierarchy_lm.errors import UserError
from hierarchy_lm.run_files import CONFIG, RUN_RECORD
from hierarchy_lm.runs import run_folder

INFO = "embeddings.json"
TREE = HIERARCHY
RECORDS = (CONFIG, RUN_RECORD)
OWN = re.compile(rf"{'|'.join(RECORDS)}|{INFO}|{TREE}|part-\d+\.(parquet|tmp)")


class EmbeddingWriter(PredictionWriter):
    """Streams embeddings to ``part-<rank>.parquet``, each row of the split once over all ranks.

    ``embeddings.json`` is written when all parts are whole; a folder without it is unfinished. A
    folder of earlier embeddings is written anew.
    """

    def folder(self, trainer: Trainer) -> Path:
        """The run's folder itself, which `hlm embed` makes the output."""
        return run_folder(trainer)

    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Clear the folder, then open this rank's part."""
        folder = self.folder(trainer)
        if trainer.is_global_zero:
            _clear(folder)
            data: Any = trainer.datamodule  # type: ignore[attr-defined]
            data.source.hierarchy.to_parquet(folder / TREE)
        trainer.strategy.barrier()
        super().on_predict_start(trainer, pl_module)

    def on_predict_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Name the part; after the last one, say what the folder holds."""
        super().on_predict_end(trainer, pl_module)
        folder = self.folder(trainer)
        trainer.strategy.barrier()
        if trainer.is_global_zero:
            write_json(folder / INFO, _record(folder, pl_module, trainer.datamodule))  # type: ignore[attr-defined]
            print(folder / INFO)


def check_output(folder: Path) -> None:
    """Refuse a folder with anything in it that is not of earlier embeddings.

    Before the run, whose record would already take the place of another's ``config.yaml``.

    Raises:
        UserError: Naming what is there.
    """
    others = sorted(path.name for path in folder.iterdir() if not OWN.fullmatch(path.name))
    if others:
        raise UserError(f"{folder}: holds '{others[0]}', no embeddings; give a new folder")


def _clear(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for path in folder.iterdir():
        if OWN.fullmatch(path.name) and path.name not in RECORDS:  # of this run already
            path.unlink()


def _record(folder: Path, model: Any, data: Any) -> dict[str, Any]:  # noqa: ANN401
    dataset = data.source.dataset
    parts = sorted(folder.glob("part-*.parquet"))
    return {
        "source": model.options.init_from or weights_source(model.options) or "random weights",
        "encoder": asdict(model.options),
        "pooling": model.pooling,
        "dtype": model.dtype_name,
        "dimensions": model.backbone.hidden_size,
        "tokenizer": model.fingerprint,
        "text": asdict(data.text),
        "dataset": str(dataset.folder),
        "dataset_fingerprint": dataset.info.fingerprint,
        "tree_fingerprint": data.source.hierarchy.fingerprint,
        "split": data.predict_split,
        "size": sum(pq.read_metadata(part).num_rows for part in parts),
    }
