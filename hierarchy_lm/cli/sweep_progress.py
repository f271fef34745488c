"""What one sees of a running sweep: a live table in a terminal, else a line per finished run."""

import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from datetime import timedelta
from statistics import mean
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

SHOWN = 8
"""Finished cells that the live table keeps in view."""


class SweepProgress:
    """Counts the cells of a sweep while they run.

    Args:
        console: Where to show it.
        total: Number of cells.
        workers: Cells that run side by side.
        metric: The metric to show of a finished cell.
        before: Seconds that each cell took which was finished before.
    """

    def __init__(
        self, console: Console, total: int, workers: int, metric: str, before: Sequence[float]
    ) -> None:
        self.console = console
        self.metric = metric
        self._total = total
        self._workers = workers
        self._took = list(before)
        self._done = len(before)
        self._failed = 0
        self._running: dict[str, float] = {}
        self._last: list[tuple[str, str, str]] = []

    def live(self) -> AbstractContextManager[Any]:
        """Shows the table while it is entered, if there is a terminal."""
        if not self.console.is_terminal:
            return nullcontext()
        # Refreshed by a thread of Live: the time goes on while nothing happens.
        return Live(get_renderable=self._table, console=self.console, transient=True)

    def begin(self, name: str) -> None:
        """A cell starts."""
        self._running[name] = time.monotonic()

    def end(self, name: str, reason: str, metrics: Mapping[str, float]) -> None:
        """A cell has ended.

        Args:
            name: Its name.
            reason: Why it failed, else an empty string.
            metrics: Its final metrics.
        """
        seconds = time.monotonic() - self._running.pop(name)
        self._done += 1
        self._failed += bool(reason)
        self._took.append(seconds)
        result = f"failed: {reason}" if reason else shown(metrics, self.metric)
        self._last = [*self._last, (name, result, clock(seconds))][-SHOWN:]
        if reason or not self.console.is_terminal:
            line = f"{self._done}/{self._total} {name}: {result}, {clock(seconds)}; {self._left()}"
            self.console.print(line, highlight=False, soft_wrap=True, markup=False)

    def _left(self) -> str:
        seconds = self.seconds_left()
        return "time left unknown" if seconds is None else f"{clock(seconds)} left"

    def seconds_left(self) -> float | None:
        """Time that the other cells will take; None before the first has ended."""
        if not self._took:
            return None
        each, now = mean(self._took), time.monotonic()
        waiting = self._total - self._done - len(self._running)
        rest = [max(0.0, each - (now - started)) for started in self._running.values()]
        return (waiting * each + sum(rest)) / self._workers

    def _table(self) -> RenderableType:
        table = Table("run", "result", "time", box=None, pad_edge=False)
        for name, result, seconds in list(self._last):
            table.add_row(name, Text(result), seconds)
        for name, started in list(self._running.items()):
            table.add_row(name, "running", clock(time.monotonic() - started), style="bold")
        failed = f", {self._failed} failed" if self._failed else ""
        state = f"{self._done}/{self._total} runs{failed}, {self._left()}"
        return Group(table, ProgressBar(self._total, self._done, width=40), Text(state))


def shown(metrics: Mapping[str, float], metric: str) -> str:
    """A finished cell in a few words."""
    return f"{metric} {metrics[metric]:.4f}" if metric in metrics else "done"


def clock(seconds: float) -> str:
    """A length of time as h:mm:ss."""
    return str(timedelta(seconds=round(seconds)))
