"""A whole step of SST against that of the plain encoder, by depth and by length of the texts."""

from collections.abc import Callable
from typing import NamedTuple

from torch import Tensor, nn
from torch.nn import functional

from benchmarks.memory import peak_of_call
from benchmarks.nodes_batch import DEPTH, WideBatch, wide_batch
from benchmarks.report import Report, Table
from benchmarks.timing import INTERLEAVED, Timings, interleave, spread
from hierarchy_lm.backbones import Backbone, BackboneOptions, create_backbone
from hierarchy_lm.losses import PathLoss
from hierarchy_lm.nn import StructuralOptions, StructuralTransformer
from hierarchy_lm.optimizers import OptimizerOptions, build_optimizer

PLAIN = "encoder with one output"
LAYERS = (1, 2, 3, DEPTH)
GIB = 2**30


class Texts(NamedTuple):
    """How a batch of 256 documents is measured.

    Attributes:
        tokens: Of each document.
        part: Documents that are timed: the gradient of the batch is the sum over its parts.
        at_once: Documents with which memory is measured.
    """

    tokens: int
    part: int
    at_once: int


BATCH = 256
TEXTS = (Texts(32, 64, 256), Texts(128, 32, 32))


def run(quick: bool) -> Report:
    """Measure batches of 256 documents, or a tiny batch, tree and encoder."""
    rounds = 1 if quick else 4
    tables = [_table(texts, rounds, quick) for texts in TEXTS]
    notes = [
        f"A step is forward, backward, and fused AdamW on {BATCH} documents; float32, train mode. "
        "The plain step trains the same encoder with a linear layer of one output.",
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
    names = {PLAIN: 0, **{f"SST, {count} structural layers": count for count in LAYERS}}
    # Before this process itself is large.
    peaks = {name: peak_of_call(one_step, layers, texts, quick) for name, layers in names.items()}
    batch = wide_batch(quick, texts.part, texts.tokens)
    backbone = _backbone(batch, quick)
    steps = {name: _step(batch, backbone, layers) for name, layers in names.items()}
    gradients = interleave({name: step.gradient for name, step in steps.items()}, rounds)
    updates = interleave({name: step.update for name, step in steps.items()}, rounds)
    timings = Timings(
        {name: _whole(gradients.seconds[name], updates.seconds[name], texts) for name in names}
    )
    rows = [_row(name, timings, updates, peaks[name]) for name in names]
    head = ["step", "s", "of it optimiser", "times the plain step"]
    title = f"{BATCH} documents of {texts.tokens} tokens, timed in parts of {texts.part}"
    return Table(title, [*head, f"peak memory of {texts.at_once}, GiB"], rows)


def _whole(gradients: list[float], updates: list[float], texts: Texts) -> list[float]:
    parts = BATCH // texts.part
    return [parts * own + update for own, update in zip(gradients, updates, strict=True)]


def _row(name: str, timings: Timings, updates: Timings, peak: int) -> list[str]:
    seconds = [f"{part.median(name):.2f}" for part in (timings, updates)]
    return [name, *seconds, spread(timings.ratios(name, PLAIN), ".3f"), f"{peak / GIB:.2f}"]


def one_step(layers: int, texts: Texts, quick: bool) -> None:
    """What a process does whose memory is measured."""
    batch = wide_batch(quick, texts.at_once, texts.tokens)
    step = _step(batch, _backbone(batch, quick), layers)
    step.gradient()
    step.update()


def _backbone(batch: WideBatch, quick: bool) -> Backbone:
    options = BackboneOptions("tiny" if quick else "minilm", pretrained="none")
    return create_backbone(options, batch.vocab_size, 0)


class Step(NamedTuple):
    """A training step in two halves."""

    gradient: Callable[[], None]
    update: Callable[[], None]


def _step(batch: WideBatch, backbone: Backbone, layers: int) -> Step:
    """A step of SST with that many structural layers, 0 for the plain encoder."""
    head: nn.Module = nn.Linear(backbone.hidden_size, 1)
    if layers:
        options = StructuralOptions(num_layers=layers)
        head = StructuralTransformer(batch.level_sizes, backbone.hidden_size, options)
    path_loss = PathLoss(batch.level_offsets)
    model = nn.ModuleDict({"backbone": backbone, "head": head})
    optimizer = build_optimizer(backbone, model, OptimizerOptions(), fused=True)

    def gradient() -> None:
        optimizer.zero_grad()
        outputs: Tensor = head(backbone(batch.tokens))
        loss = path_loss(outputs, batch.targets) if layers else _binary(outputs)
        loss.backward()

    return Step(gradient, optimizer.step)


def _binary(outputs: Tensor) -> Tensor:
    return functional.binary_cross_entropy_with_logits(outputs, outputs.new_zeros(outputs.shape))
