"""A whole step of SST against that of the plain encoder, by depth and by length of the texts."""

from functools import partial

from torch import nn

from benchmarks.nodes_batch import DEPTH, WideBatch, wide_batch
from benchmarks.report import Report, Table
from benchmarks.steps import (
    HEAD,
    PLAIN,
    PLAIN_NOTE,
    Make,
    Step,
    Texts,
    encoder_options,
    peak_of_step,
    plain_step,
    plain_step_of,
    row,
    step_of,
    time_steps,
)
from benchmarks.timing import INTERLEAVED
from hierarchy_lm.backbones import Backbone, create_backbone
from hierarchy_lm.losses import PathLoss
from hierarchy_lm.nn import StructuralOptions, StructuralTransformer

LAYERS = (1, 2, 3, DEPTH)
BATCH = 256
TEXTS = (Texts(BATCH, 32, 64, 256), Texts(BATCH, 128, 32, 32), Texts(BATCH, 256, 16, 32))


def run(quick: bool) -> Report:
    """Measure batches of 256 documents, or a tiny batch, tree and encoder."""
    rounds = 1 if quick else 4
    tables = [_table(texts, rounds, quick) for texts in TEXTS]
    notes = [
        f"A step is forward, backward, and fused AdamW on {BATCH} documents; float32, train mode. "
        + PLAIN_NOTE,
        f"The tree has 30,000 nodes on {DEPTH} levels, documents have 1 to 3 paths; "
        f"{'tiny' if quick else 'MiniLM'} encoder of random weights, the Structural-Transformer of "
        "its width.",
        "Forward and backward are timed on a part of the batch and multiplied; the optimiser is "
        "timed on its own. Memory: peak of a fresh process that makes one step on the documents "
        "named, interpreter and libraries included.",
        INTERLEAVED.format(rounds=rounds),
    ]
    return Report("A step of SST", notes, tables)


def _table(texts: Texts, rounds: int, quick: bool) -> Table:
    layers = {f"SST, {count} structural layers": count for count in LAYERS}
    makes: dict[str, Make] = {PLAIN: plain_step}
    makes |= {name: partial(_sst_step, layers=count) for name, count in layers.items()}
    # Before this process itself is large.
    peaks = {name: peak_of_step(make, texts, quick) for name, make in makes.items()}
    batch = wide_batch(quick, texts.part, texts.tokens)
    backbone = create_backbone(encoder_options(quick), batch.vocab_size, 0)
    steps = {PLAIN: plain_step_of(batch, backbone)}
    steps |= {name: _step_of(batch, backbone, count) for name, count in layers.items()}
    times = time_steps(steps, texts, rounds)
    title = f"{BATCH} documents of {texts.tokens} tokens, timed in parts of {texts.part}"
    head = [*HEAD, f"peak memory of {texts.at_once}, GiB"]
    return Table(title, head, [row(name, times, peaks[name]) for name in makes])


def _sst_step(batch: WideBatch, quick: bool, layers: int) -> Step:
    backbone = create_backbone(encoder_options(quick), batch.vocab_size, 0)
    return _step_of(batch, backbone, layers)


def _step_of(batch: WideBatch, backbone: Backbone, layers: int) -> Step:
    """A step of SST with that many structural layers."""
    options = StructuralOptions(num_layers=layers)
    head = StructuralTransformer(batch.level_sizes, backbone.hidden_size, options)
    path_loss = PathLoss(batch.level_offsets)
    model = nn.ModuleDict({"backbone": backbone, "head": head})
    return step_of(backbone, model, lambda: path_loss(head(backbone(batch.tokens)), batch.targets))
