"""The loss over the nodes of a level: mean, sum or per positive, on a wide and a small tree."""

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


Found = dict[tuple[NodeReduction, float], Scores]


def run(quick: bool) -> Report:
    """Train the same encoder with each reduction at each rate."""
    sizes = _sizes(quick)
    return report(sizes, [_train_all(size) for size in sizes])


def _sizes(quick: bool) -> list[Size]:
    if quick:
        sample = SampleOptions(items=300, nodes=60, depth=4, task_items=0)
        return [Size(sample, BackboneOptions("tiny", "none", vocab_size=VOCABULARY), 2, (1e-3,))]
    wide = SampleOptions(items=40_000, nodes=30_000, depth=10, task_items=0)
    backbone = BackboneOptions("mini", "none", num_layers=2, vocab_size=VOCABULARY)
    return [
        Size(wide, backbone, 600, (3e-4, 1e-3, 3e-3)),
        Size(SampleOptions(task_items=0), backbone, 400, (1e-3,)),
    ]


def _train_all(size: Size) -> Found:
    with tempfile.TemporaryDirectory() as temporary:
        dataset = Path(temporary) / "products"
        write_sample(dataset, size.sample)
        tokenizer = str(train_wordpiece(dataset, VOCABULARY))
        return {
            (reduction, rate): _train(dataset, tokenizer, size, reduction, rate)
            for reduction, rate in product(get_args(NodeReduction), size.rates)
        }


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


def report(sizes: list[Size], found: list[Found]) -> Report:
    """Tables of each tree."""
    trees = ", then ".join(
        f"{size.sample.nodes:,} nodes, {size.sample.depth} levels and {size.sample.items:,} "
        f"products for {size.steps} steps"
        for size in sizes
    )
    backbone = sizes[0].backbone
    notes = [
        f"SST on generated catalogues: {trees} of 32 documents. Encoder {backbone.name}, "
        f"{backbone.num_layers or 'all'} layers, from random weights; {STRUCTURAL_LAYERS} "
        "structural layers; the rate rises over 10 % of the steps and falls linearly to 0, "
        "gradients clipped at norm 1. One seed.",
        "All figures are percent, of the validation split. F1 counts nodes above one half. Right: "
        "documents whose highest node of the level is right, of those with a node there.",
    ]
    tables = [
        _table(f"{size.sample.nodes:,} nodes: {title}", scores, which)
        for size, scores in zip(sizes, found, strict=True)
        for which, title in enumerate(("micro-F1", "macro-F1", "right"))
    ]
    return Report("Reduction of the loss over the nodes of a level", notes, tables)


def _table(title: str, found: Found, which: int) -> Table:
    depth = len(next(iter(found.values()))[which])
    rows = [
        [
            f"{reduction}, rate {rate:g}",
            *(f"{value:.1f}" for value in scores[which]),
            f"{sum(scores[which]) / depth:.1f}",
        ]
        for (reduction, rate), scores in found.items()
    ]
    levels = [f"L{level}" for level in range(1, depth + 1)]
    return Table(title, ["reduction", *levels, "mean"], rows)
