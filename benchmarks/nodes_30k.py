"""30,000 nodes on 10 levels: what the loss, the metric and the targets cost beside the encoder."""

import pickle
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn
from torchmetrics.classification import MultilabelF1Score

from benchmarks import nodes_memory
from benchmarks.nodes_batch import DEPTH, WideBatch, dense_loss, wide_batch
from benchmarks.nodes_memory import BOTH, DENSE_LOSS, DENSE_METRIC, LOSS, METRIC
from benchmarks.report import Report, Table
from benchmarks.timing import INTERLEAVED, Timings, interleave, spread
from hierarchy_lm.backbones import BackboneOptions, create_backbone
from hierarchy_lm.losses import PathLoss
from hierarchy_lm.metrics import LevelF1
from hierarchy_lm.nn import StructuralOptions, StructuralTransformer

ENCODER = "encoder, forward and backward"
HEAD = "node head's products and our loss, forward and backward"
DENSE_UNCHECKED = "the same without its argument checks"
STRUCTURAL = "Structural-Transformer without node head, {} layers"


def run(quick: bool) -> Report:
    """Measure batches of 256 documents, or a tiny tree and encoder."""
    rounds = 1 if quick else 7
    batch = wide_batch(quick)
    timings = interleave(_variants(batch, quick), rounds, least_seconds=0 if quick else 0.3)
    return Report(
        f"{batch.num_nodes:,} nodes on {DEPTH} levels",
        [
            f"Batches of {batch.size} documents of {batch.length} tokens with 1 to 3 paths each, "
            f"{len(batch.targets.labels) / batch.size:.1f} nodes per document after closing under "
            f"ancestors; {'tiny' if quick else 'MiniLM'} encoder of random weights in float32, "
            "train mode.",
            "The metric is updated in evaluation only; here it is counted with every step.",
            "Memory: peak of a fresh process each, and what it is above that of a process which "
            "holds the logits only; the gradient of the logits is part of it.",
            INTERLEAVED.format(rounds=rounds),
        ],
        [_time_table(timings), nodes_memory.table(quick), _size_table(batch)],
    )


def _variants(batch: WideBatch, quick: bool) -> dict[str, Callable[[], object]]:
    backbone = create_backbone(
        BackboneOptions("tiny" if quick else "minilm", pretrained="none"), batch.vocab_size, 0
    )
    h_cls = torch.randn(batch.size, backbone.hidden_size, requires_grad=True)
    states = torch.randn(batch.size, DEPTH, backbone.hidden_size, requires_grad=True)
    path_loss = PathLoss(batch.level_offsets)
    bodies = {
        layers: StructuralTransformer(
            batch.level_sizes, backbone.hidden_size, StructuralOptions(num_layers=layers)
        )
        for layers in (3, DEPTH)
    }
    head = bodies[DEPTH].head
    structural: dict[str, Callable[[], object]] = {
        STRUCTURAL.format(layers): _training(body, partial(_body_loss, body, h_cls))
        for layers, body in bodies.items()
    }
    return {
        ENCODER: _training(backbone, lambda: backbone(batch.tokens).sum()),
        **_logit_variants(batch),
        HEAD: _training(head, lambda: path_loss(head(states), batch.targets)),
        **structural,
    }


def _logit_variants(batch: WideBatch) -> dict[str, Callable[[], object]]:
    logits = nn.ParameterList([batch.logits()])
    path_loss = PathLoss(batch.level_offsets)
    metric = LevelF1(batch.level_offsets)
    dense_metrics = {
        name: MultilabelF1Score(batch.num_nodes, average="macro", validate_args=checked)
        for name, checked in ((DENSE_METRIC, True), (DENSE_UNCHECKED, False))
    }
    ours = _training(logits, lambda: path_loss(logits[0], batch.targets))

    def both() -> None:
        ours()
        metric.update(logits[0].detach(), batch.targets)

    return {
        LOSS: ours,
        METRIC: lambda: metric.update(logits[0].detach(), batch.targets),
        BOTH: both,
        DENSE_LOSS: _training(logits, lambda: dense_loss(logits[0], batch)),
        **{
            name: partial(_dense_update, metric, logits[0], batch)
            for name, metric in dense_metrics.items()
        },
    }


def _body_loss(body: StructuralTransformer, h_cls: Tensor) -> Tensor:
    return body.level_states(body.inputs(h_cls)).sum()


def _dense_update(metric: MultilabelF1Score, logits: Tensor, batch: WideBatch) -> None:
    metric.update(logits.detach(), batch.dense().long())


def _training(module: nn.Module, loss: Callable[[], Tensor]) -> Callable[[], None]:
    def step() -> None:
        module.zero_grad()
        loss().backward()  # type: ignore[no-untyped-call]

    return step


def _time_table(timings: Timings) -> Table:
    rows = [
        [
            name,
            f"{1000 * timings.median(name):.1f}",
            spread([100 * ratio for ratio in timings.ratios(name, ENCODER)], ".1f"),
        ]
        for name in timings.seconds
    ]
    return Table("Time of one batch", ["part", "ms", "% of the encoder"], rows)


def _size_table(batch: WideBatch) -> Table:
    """What a loader process sends for one batch.

    Raises:
        AssertionError: If it holds anything that grows with the number of nodes.
    """
    sent = len(pickle.dumps(batch.product_batch()))
    dense = len(pickle.dumps(batch.dense()))
    ids = sum(tensor.nbytes for tensor in (*batch.tokens, *batch.targets)) + 8 * batch.size
    assert sent < 1.05 * ids + 4096, f"{sent} bytes are sent for {ids} bytes of ids"
    rows = [
        ["our batch: token ids, segments, mask, positives as ids", f"{sent:,}"],
        ["of these, the positives", f"{sum(tensor.nbytes for tensor in batch.targets):,}"],
        ["a dense float32 target alone", f"{dense:,}"],
    ]
    return Table("What a loader process sends per batch", ["content", "bytes"], rows)
