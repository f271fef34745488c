"""The progress display: one line per stage."""

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn


class Stage:
    """One line of the display.

    Args:
        progress: The display.
        title: What is being done.
    """

    def __init__(self, progress: Progress, title: str) -> None:
        self._progress = progress
        self._task = progress.add_task(title, total=None)
        self._total = 0

    def expect(self, parts: int) -> None:
        """So many more parts are to come."""
        self._total += parts
        self._progress.update(self._task, total=self._total)

    def step(self) -> None:
        """One more part is done."""
        self._progress.update(self._task, advance=1)

    def finish(self) -> None:
        """Show the stage as done."""
        done = self._progress.tasks[self._task].completed or 1
        self._progress.update(self._task, total=done, completed=done)


class Stages:
    """Shows which stage of a preparation runs and how long the others took."""

    def __init__(self, console: Console) -> None:
        self._progress = Progress(
            TextColumn("{task.description:<28}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=console,
        )

    def __enter__(self) -> "Stages":
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    @contextmanager
    def stage(self, title: str) -> Iterator[Stage]:
        """A line that runs while the block does."""
        stage = Stage(self._progress, title)
        yield stage
        stage.finish()
