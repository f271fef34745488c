"""HBGL's first stage inside a run: progress, logs, and all ranks at work."""

import logging
from typing import Any

from lightning.pytorch import Trainer
from torch import Tensor

from hierarchy_lm.pretraining.hbgl_labels import Coverage, LabelStage, Ranks
from hierarchy_lm.progress import steps_bar

LOG = logging.getLogger(__name__)


def run_label_stage(trainer: Trainer, stage: LabelStage, vectors: Tensor) -> Tensor:
    """Vectors of the nodes after all steps of the stage, the same on every rank.

    Args:
        trainer: Of the run that the stage precedes.
        stage: The stage.
        vectors: To start from.

    Shape:
        - vectors, output: ``(C, E)``
    """
    bar: Any = trainer.progress_bar_callback
    shown = trainer.is_global_zero and bar is not None and bar.is_enabled
    every: int = trainer.log_every_n_steps  # type: ignore[attr-defined]

    def total(part: Tensor) -> Tensor:
        whole: Tensor = trainer.strategy.reduce(part, reduce_op="sum")
        return whole

    with steps_bar(shown, "label vectors", stage.steps) as advance:

        def report(step: int, loss: float) -> None:
            advance(loss)
            if (step + 1) % every == 0 or step + 1 == stage.steps:
                _log(trainer, {"labels/loss": loss}, step)

        with trainer.precision_plugin.forward_context():
            ranks = Ranks(trainer.global_rank, trainer.world_size, total)
            learnt = stage.learn(vectors, ranks, report)
    _report(trainer, stage.coverage(), stage.steps)
    return learnt


def _log(trainer: Trainer, metrics: dict[str, float], step: int) -> None:
    """To the loggers: Lightning's own way has no step before training has begun."""
    for logger in trainer.loggers:
        logger.log_metrics(metrics, step)


def _report(trainer: Trainer, coverage: Coverage, steps: int) -> None:
    visits = {"labels/least_visits": coverage.least, "labels/median_visits": coverage.median}
    shares = {"labels/nodes_seen": coverage.seen, "labels/nodes_seldom_seen": coverage.seldom}
    _log(trainer, visits | shares, steps)
    LOG.info(
        f"label vectors: {steps} steps; a node was visited {coverage.least:.0f} times at least, "
        f"{coverage.median:.0f} in the median; {coverage.seen:.2%} of the nodes were seen"
    )
    if coverage.seldom > 0:
        LOG.warning(
            f"label vectors: {coverage.seldom:.2%} of the nodes had less than a sixth of "
            f"model.labels.passes, {1 - coverage.seen:.2%} none at all: these keep the vectors "
            "they started from; model.labels.sampler=least_visited evens the visits out, more "
            "passes raise them"
        )
