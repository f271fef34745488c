"""Peak memory of losses and metrics at 30,000 nodes, each in a process of its own."""

from torchmetrics.classification import MultilabelF1Score

from benchmarks.memory import peak_of_call
from benchmarks.nodes_batch import dense_loss, wide_batch
from benchmarks.report import Table
from hierarchy_lm.losses import PathLoss
from hierarchy_lm.metrics import LevelF1

LOSS = "our loss from the logits, forward and backward"
METRIC = "our metric, update"
BOTH = "our loss + our metric"
DENSE_LOSS = "dense targets + BCEWithLogitsLoss, forward and backward"
DENSE_METRIC = "dense targets + MultilabelF1Score, update"
LOGITS_ONLY = "the logits alone"
MIB = 2**20


def table(quick: bool) -> Table:
    """Peaks beyond that of a process which holds the logits alone."""
    base = peak_of_call(work, LOGITS_ONLY, quick)
    rows = [[LOGITS_ONLY, f"{base / MIB:.0f} with the interpreter and libraries"]]
    for name in (LOSS, DENSE_LOSS, METRIC, DENSE_METRIC):
        rows.append([name, f"+ {(peak_of_call(work, name, quick) - base) / MIB:.0f}"])
    return Table("Peak memory", ["part", "MiB"], rows)


def work(name: str, quick: bool) -> None:
    """What the process does."""
    batch = wide_batch(quick)
    logits = batch.logits()
    if name == LOSS:
        loss = PathLoss(batch.level_offsets)(logits, batch.targets)
        loss.backward()
    elif name == DENSE_LOSS:
        dense_loss(logits, batch).backward()  # type: ignore[no-untyped-call]
    elif name == METRIC:
        LevelF1(batch.level_offsets).update(logits.detach(), batch.targets)
    elif name == DENSE_METRIC:
        metric = MultilabelF1Score(batch.num_nodes, average="macro")
        metric.update(logits.detach(), batch.dense().long())
