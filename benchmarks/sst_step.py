"""A whole step of SST against that of the plain encoder, by depth and by length of the texts."""

from collections.abc import Callable
from typing import NamedTuple

from torch import Tensor, nn
from torch.nn import functional

from benchmarks.memory import peak_of_call
from benchmarks.nodes_batch import DEPTH, WideBatch, wide_batch
from benchmarks.report import Report, Table
from benchmarks.timing import INTERLEAVED, Timings, interleave, spread
from hierarchy_lm.backbones import BackboneOptions, create_backbone
from hierarchy_lm.losses import PathLoss
from hierarchy_lm.nn import StructuralOptions, StructuralTransformer
from hierarchy_lm.optimizers import OptimizerOptions, build_optimizer

PLAIN = "encoder with one output"
LAYERS = (1, 2, 3, DEPTH)
GIB = 2**30


class Texts(NamedTuple):
    """A batch's size; as many tokens in each, so that all fit in memory."""

    documents: int
    tokens: int


TEXTS = (Texts(256, 32), Texts(64, 128))


def run(quick: bool) -> Report:
    """Measure steps of 8,192 tokens, or of a tiny batch, tree and encoder."""
    rounds = 1 if quick else 3
    tables = [_table(texts, rounds, quick) for texts in TEXTS]
    notes = [
        "A step is forward, backward, and fused AdamW; float32, train mode. The plain step trains "
        "the same encoder with a linear layer of one output. "
        f"The tree has 30,000 nodes on {DEPTH} levels, documents have 1 to 3 paths; "
        f"{'tiny' if quick else 'MiniLM'} encoder of random weights, the Structural-Transformer of "
        "its width.",
        "Of 128 tokens there are 64 documents only, for want of memory: at 256, the optimiser's "
        "share is a fourth of what is counted here.",
        "Memory: peak of a fresh process that makes one step.",
        INTERLEAVED.format(rounds=rounds),
    ]
    return Report("A step of SST", notes, tables)


def _table(texts: Texts, rounds: int, quick: bool) -> Table:
    names = {PLAIN: 0, **{f"SST, {count} structural layers": count for count in LAYERS}}
    batch = wide_batch(quick, *texts)
    steps = {name: _step(batch, layers, quick) for name, layers in names.items()}
    timings = interleave(steps, rounds)
    peaks = {name: peak_of_call(one_step, layers, texts, quick) for name, layers in names.items()}
    rows = [_row(name, timings, peaks[name]) for name in names]
    title = f"{texts.documents} documents of {texts.tokens} tokens"
    return Table(title, ["step", "s", "times the plain step", "peak memory, GiB"], rows)


def _row(name: str, timings: Timings, peak: int) -> list[str]:
    ratio = spread(timings.ratios(name, PLAIN), ".3f")
    return [name, f"{timings.median(name):.2f}", ratio, f"{peak / GIB:.2f}"]


def one_step(layers: int, texts: Texts, quick: bool) -> None:
    """What a process does whose memory is measured."""
    _step(wide_batch(quick, *texts), layers, quick)()


def _step(batch: WideBatch, layers: int, quick: bool) -> Callable[[], None]:
    """A training step of SST with that many structural layers, 0 for the plain encoder."""
    options = BackboneOptions("tiny" if quick else "minilm", pretrained="none")
    backbone = create_backbone(options, batch.vocab_size, 0)
    head: nn.Module = nn.Linear(backbone.hidden_size, 1)
    if layers:
        options_above = StructuralOptions(num_layers=layers)
        head = StructuralTransformer(batch.level_sizes, backbone.hidden_size, options_above)
    path_loss = PathLoss(batch.level_offsets)
    model = nn.ModuleDict({"backbone": backbone, "head": head})
    optimizer = build_optimizer(backbone, model, OptimizerOptions(), fused=True)

    def step() -> None:
        optimizer.zero_grad()
        outputs: Tensor = head(backbone(batch.tokens))
        loss = path_loss(outputs, batch.targets) if layers else _binary(outputs)
        loss.backward()
        optimizer.step()

    return step


def _binary(outputs: Tensor) -> Tensor:
    return functional.binary_cross_entropy_with_logits(outputs, outputs.new_zeros(outputs.shape))
