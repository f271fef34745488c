"""Negative sampling against the dense loss: every share, per example and per batch."""

import ctypes
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional as F

from benchmarks.report import Report, Table
from benchmarks.timing import INTERLEAVED, Timings, interleave, spread
from hierarchy_lm.batches import SparseTargets
from hierarchy_lm.losses import DHPCLoss, DHPCOptions, NegativeOptions

HIDDEN, POSITIVES = 384, 3
KEEPS = (0.1, 0.3, 0.5, 0.7, 0.9)
SIZES = [(3_000, 64), (3_000, 256), (30_000, 64), (30_000, 256)]
PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16}
DENSE, MASKED, EXAMPLE, BATCH = "dense", "masking the full loss", "per example", "per batch"
_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4
Variants = dict[str, Callable[[], object]]


def run(quick: bool) -> Report:
    """Measure 3,000 and 30,000 labels, or 300."""
    _keep_freed_memory()
    rounds, tables = (1 if quick else 7), []
    torch.manual_seed(0)
    for size in [(300, 8)] if quick else SIZES:
        tables += _tables(*size, rounds, least_seconds=0 if quick else 0.05)
    notes = [
        f"Forward and backward of a linear head of width {HIDDEN} with the loss on its logits, and "
        f"of the loss on ready logits; {POSITIVES} positives per document, uniform sampling, "
        "bfloat16 by autocast.",
        "Times as a share of the dense loss's: below 1 is faster. Dense: positives as ids, all "
        "labels as negatives. Masking: the dense loss on dense targets times a random matrix of "
        "zeros and ones.",
        "Per batch, the head computes the drawn columns only up to a share of 0.6; above it, all "
        "columns are computed and the loss drops some.",
        "The process keeps the memory it frees: else page faults, which depend on what ran before, "
        "decide the small cases.",
        "Drawing costs the loss a few tenths of a millisecond per batch, whatever its size. For "
        "comparison, MiniLM's step on 256 documents takes seconds (nodes_30k.md).",
        INTERLEAVED.format(rounds=rounds),
    ]
    return Report("Negative sampling", notes, tables)


def _keep_freed_memory() -> None:
    library = ctypes.CDLL(None)
    if hasattr(library, "mallopt"):  # glibc
        library.mallopt(_M_MMAP_MAX, 0)
        library.mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)


def _tables(num_labels: int, batch_size: int, rounds: int, least_seconds: float) -> list[Table]:
    title = f"{num_labels:,} labels, {batch_size} documents: {{}}"
    rows: dict[str, list[list[str]]] = {"head and loss": [], "loss alone": []}
    for precision in PRECISIONS:
        case = _Case(num_labels, batch_size, PRECISIONS[precision])
        for part, variants in (
            ("head and loss", case.with_head()),
            ("loss alone", case.loss_alone()),
        ):
            timings = interleave(variants, rounds, least_seconds)
            rows[part] += [[precision, *row] for row in _rows(timings)]
    return [
        Table(
            title.format(part),
            ["precision", "keep", "dense, ms", MASKED, EXAMPLE, BATCH],
            rows[part],
        )
        for part in rows
    ]


def _rows(timings: Timings) -> list[list[str]]:
    dense = f"{1000 * timings.median(DENSE):.2f}"
    return [
        [
            str(keep),
            dense,
            *(_ratio(timings, f"{kind} {keep}") for kind in (MASKED, EXAMPLE, BATCH)),
        ]
        for keep in KEEPS
    ]


def _ratio(timings: Timings, name: str) -> str:
    return spread(timings.ratios(name, DENSE), ".2f")


class _Case:
    """A batch, a head and its losses."""

    def __init__(self, num_labels: int, batch_size: int, dtype: torch.dtype) -> None:
        self.size, self.dtype = (batch_size, num_labels), dtype
        self.weight = (0.05 * torch.randn(num_labels, HIDDEN)).requires_grad_()
        self.states = torch.randn(batch_size, HIDDEN).requires_grad_()
        self.logits = (3 * torch.randn(self.size) - 4).to(dtype).requires_grad_()
        labels = torch.rand(self.size).topk(POSITIVES, dim=1).indices
        documents = torch.arange(batch_size).repeat_interleave(POSITIVES)
        self.targets = SparseTargets(documents, labels.flatten())
        self.dense = DHPCLoss(DHPCOptions(), num_labels)

    def with_head(self) -> Variants:
        return self._variants(self._head_step)

    def loss_alone(self) -> Variants:
        return self._variants(self._loss_step)

    def _variants(self, step: Callable[[Callable[[Tensor], Tensor], DHPCLoss], None]) -> Variants:
        variants: Variants = {DENSE: partial(step, self._loss(self.dense), self.dense)}
        for keep in KEEPS:
            variants[f"{MASKED} {keep}"] = partial(step, partial(self._masked, keep), self.dense)
            for name, per in ((EXAMPLE, "example"), (BATCH, "batch")):
                options = DHPCOptions(negatives=NegativeOptions(keep, per=per))
                loss = DHPCLoss(options, self.size[1])
                variants[f"{name} {keep}"] = partial(step, self._loss(loss), loss)
        return variants

    def _loss(self, loss: DHPCLoss) -> Callable[[Tensor], Tensor]:
        return lambda logits: loss(logits, self.targets, 0)

    def _masked(self, keep: float, logits: Tensor) -> Tensor:
        targets = self.targets.dense(*self.size)
        kept = (torch.rand(self.size) < keep).float().maximum(targets)
        losses = F.binary_cross_entropy_with_logits(logits.float(), targets, reduction="none")
        return (losses * kept).sum() / len(logits)

    def _head_step(self, value: Callable[[Tensor], Tensor], loss: DHPCLoss) -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=self.dtype is torch.bfloat16):
            columns = loss.columns(self.targets, 0)
            if columns is None:
                result = value(F.linear(self.states, self.weight))
            else:
                logits = F.linear(self.states, self.weight.index_select(0, columns))
                result = loss.forward_columns(logits, columns, self.targets, 0)
        result.backward()
        self.weight.grad = self.states.grad = None

    def _loss_step(self, value: Callable[[Tensor], Tensor], loss: DHPCLoss) -> None:
        value(self.logits).backward()
        self.logits.grad = None
