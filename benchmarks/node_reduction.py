"""The loss over 30,000 nodes: mean, sum or per positive, each at several learning rates."""

import sys
import tempfile
from collections.abc import Iterator
from itertools import pairwise, product
from pathlib import Path
from typing import NamedTuple, get_args

import torch
from lightning.pytorch import Trainer, seed_everything
from torch import Tensor

from benchmarks.report import Report, Table
from data_modules.batching import BatchOptions
from data_modules.products import ProductDataModule
from data_modules.sample import SampleOptions, write_sample
from data_modules.wordpiece import train_wordpiece
from hierarchy_lm.backbones import BackboneOptions
from hierarchy_lm.batches import SparseTargets
from hierarchy_lm.losses import NodeReduction
from hierarchy_lm.metrics import LevelF1
from hierarchy_lm.metrics.f1 import level_f1
from hierarchy_lm.nn import StructuralOptions
from hierarchy_lm.optimizers import OptimizerOptions
from hierarchy_lm.pretraining import SSTPretrainer
from hierarchy_lm.text import TextOptions

RATES = (1e-3, 3e-3, 3e-4)
STRUCTURAL_LAYERS = 2
VOCABULARY = 8_000


class Size(NamedTuple):
    """How much is generated and trained."""

    sample: SampleOptions
    backbone: BackboneOptions
    steps: int
    rates: tuple[float, ...]


class Scores(NamedTuple):
    """Validation scores per level, percent."""

    micro: list[float]
    macro: list[float]
    first: list[float]


def run(quick: bool) -> Report:
    """Train the same encoder with each reduction at each rate."""
    size = _size(quick)
    with tempfile.TemporaryDirectory() as temporary:
        dataset = Path(temporary) / "wide"
        write_sample(dataset, size.sample)
        tokenizer = str(train_wordpiece(dataset, VOCABULARY))
        found = {
            (reduction, rate): _train(dataset, tokenizer, size, reduction, rate)
            for rate, reduction in product(size.rates, get_args(NodeReduction))
        }
    return _report(size, {key: found[key] for key in sorted(found)})


def _size(quick: bool) -> Size:
    if quick:
        sample = SampleOptions(items=300, nodes=60, depth=4, task_items=0)
        return Size(sample, BackboneOptions("tiny", "none", vocab_size=VOCABULARY), 2, RATES[:1])
    sample = SampleOptions(items=40_000, nodes=30_000, depth=10, task_items=0)
    backbone = BackboneOptions("mini", "none", num_layers=2, vocab_size=VOCABULARY)
    return Size(sample, backbone, 600, RATES)


def _train(
    dataset: Path, tokenizer: str, size: Size, reduction: NodeReduction, rate: float
) -> Scores:
    seed_everything(0, verbose=False)
    model = SSTPretrainer(
        str(dataset / "hierarchy.parquet"),
        tokenizer,
        size.backbone,
        StructuralOptions(num_layers=STRUCTURAL_LAYERS),
        reduction,
        optimizer=OptimizerOptions(lr=rate, warmup=0.1, schedule="linear"),
    )
    text = TextOptions(max_length=32)
    data = ProductDataModule(str(dataset), tokenizer, text, BatchOptions(documents=32))
    trainer = Trainer(
        max_steps=size.steps,
        accelerator="cpu",
        limit_val_batches=0,
        gradient_clip_val=1.0,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(model, datamodule=data)
    scores = _evaluate(model, data)
    print(reduction, rate, scores, file=sys.stderr, flush=True)
    return scores


@torch.no_grad()
def _evaluate(model: SSTPretrainer, data: ProductDataModule) -> Scores:
    model.eval()
    data.setup("validate")
    f1, hits = LevelF1(model.offsets), torch.zeros(2, model.hierarchy.depth)
    for batch in data.val_dataloader():
        logits = model(batch)
        f1.update(logits, batch.targets)
        hits += torch.tensor(list(_first_right(logits, batch.targets, model.offsets))).T
    levels = range(1, model.hierarchy.depth + 1)
    micro, macro = f1.compute(), level_f1(f1.counts, model.offsets)
    return Scores(
        [100 * float(micro[f"micro_f1_L{level}"]) for level in levels],
        [100 * float(macro[f"macro_f1_L{level}"]) for level in levels],
        (100 * hits[0] / hits[1].clamp(min=1)).tolist(),
    )


def _first_right(
    logits: Tensor, targets: SparseTargets, offsets: list[int]
) -> Iterator[tuple[int, int]]:
    """Per level: documents whose highest node is right, and those that have a node there."""
    dense = targets.dense(*logits.shape)
    for start, end in pairwise(offsets):
        right = dense[:, start:end].gather(1, logits[:, start:end].argmax(1, keepdim=True))
        yield int(right.sum()), int(dense[:, start:end].any(dim=1).sum())


def _report(size: Size, found: dict[tuple[NodeReduction, float], Scores]) -> Report:
    tables = [
        _table("Micro-F1 of each level, every node above 0.5", found, 0),
        _table("Macro-F1 of each level, over the nodes in gold or predictions", found, 1),
        _table("Documents whose highest node of the level is right, of those with one", found, 2),
    ]
    sample = size.sample
    notes = [
        f"SST on the generated catalogue of {sample.nodes:,} nodes, {sample.depth} levels and "
        f"{sample.items:,} products; encoder {size.backbone.name} from random weights, "
        f"{STRUCTURAL_LAYERS} structural layers, {size.steps} steps of 32 documents, the rate "
        "falling linearly to 0 after 10 % warm-up, gradients clipped at norm 1. One seed.",
        "All figures are percent, of the validation split.",
    ]
    return Report("Reduction of the loss over the nodes of a level", notes, tables)


def _table(title: str, found: dict[tuple[NodeReduction, float], Scores], which: int) -> Table:
    depth = len(next(iter(found.values()))[which])
    rows = [
        [
            reduction,
            f"{rate:g}",
            *(f"{value:.1f}" for value in scores[which]),
            f"{sum(scores[which]) / depth:.1f}",
        ]
        for (reduction, rate), scores in found.items()
    ]
    levels = [f"L{level}" for level in range(1, depth + 1)]
    return Table(title, ["reduction", "rate", *levels, "mean"], rows)
