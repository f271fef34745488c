"""The progress bars of a run."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import RichProgressBar
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

SHOWN = {"train/loss": "{:.4f}", "train/lr": "{:.2e}", "train/tokens_per_second": "{:,.0f}"}


class ProgressBar(RichProgressBar):
    """Rich's bar with the time left, the loss, the learning rate and tokens per second."""

    def get_metrics(self, trainer: Trainer, pl_module: LightningModule) -> Any:  # noqa: ANN401
        """The numbers beside the bar, each in a form that suits it."""
        metrics = super().get_metrics(trainer, pl_module)
        return {
            name.removeprefix("train/").replace("tokens_per_second", "tokens/s"): form.format(
                float(metrics[name])  # type: ignore[arg-type]
            )
            for name, form in SHOWN.items()
            if name in metrics
        }


@contextmanager
def steps_bar(shown: bool, what: str, total: int) -> Iterator[Callable[[float], None]]:
    """A bar for steps that the trainer does not count; yields what moves it on, given the loss."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    more = (TimeRemainingColumn(), TextColumn("loss: {task.fields[loss]:.4f}"))
    with Progress(*columns, *more, disable=not shown) as bar:
        task = bar.add_task(what, total=total, loss=float("nan"))
        yield lambda loss: bar.update(task, advance=1, loss=loss)
