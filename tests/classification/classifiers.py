"""Department and leaf classifiers of the small catalogue, their data, and a quiet trainer."""

from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Trainer

from data_modules.batching import BatchOptions
from data_modules.classification import DepartmentDataModule, LeafDataModule
from data_modules.sampling import SamplingOptions
from data_modules.wordpiece import train_wordpiece
from hierarchy_lm.backbones import BackboneOptions
from hierarchy_lm.batches import ProductBatch
from hierarchy_lm.classification import DepartmentClassifier, LeafClassifier
from hierarchy_lm.classification.base import ProductClassifier
from hierarchy_lm.nn import HeadOptions
from hierarchy_lm.optimizers import OptimizerOptions
from hierarchy_lm.text import TextOptions

HEAD = HeadOptions(hidden=24, dropout=0.1)
TEXT = TextOptions(max_length=20, segments="fields")
GARDEN = "Home: Garden"


def make_classifier(
    shop: Path, department: str | None = None, tree: Path | None = None, **changes: Any
) -> ProductClassifier:
    """Of the departments, or of the leaves of one."""
    torch.manual_seed(0)
    options = {
        "backbone": BackboneOptions("tiny", num_segments=3),
        "head": HEAD,
        "optimizer": OptimizerOptions(lr=0.003),
    } | changes
    file, tokenizer = str(tree or shop / "hierarchy.parquet"), str(train_wordpiece(shop, 500))
    if department is None:
        return DepartmentClassifier(file, tokenizer, **options)
    return LeafClassifier(file, department, tokenizer, **options)


def make_data_module(
    shop: Path, department: str | None = None, **changes: Any
) -> DepartmentDataModule | LeafDataModule:
    options = {
        "text": TEXT,
        "batch": BatchOptions(documents=16),
        "sampling": SamplingOptions(),
    } | changes
    tokenizer = str(train_wordpiece(shop, 500))
    if department is None:
        return DepartmentDataModule(str(shop), tokenizer, **options)
    return LeafDataModule(str(shop), department, tokenizer, **options)


def trainer(**options: Any) -> Trainer:
    settings = {"max_epochs": 1, "limit_val_batches": 0} | options
    return Trainer(
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        **settings,
    )


def batches(data, split: str = "validation") -> list[ProductBatch]:
    data.setup("fit")
    return list(data.train_dataloader() if split == "train" else data.val_dataloader())
