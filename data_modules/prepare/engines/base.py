"""What an engine does; both run the same Ibis expressions over Parquet files of our own names."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from itertools import count
from typing import Any, TypeVar

import ibis.expr.types as ir
import pyarrow as pa
import pyarrow.parquet as pq

from data_modules.prepare.reading.locations import create_binary

Task = TypeVar("Task")
Result = TypeVar("Result")


class Engine(ABC):
    """Runs functions on files, and expressions on tables.

    Args:
        scratch: Path or URL of a folder for intermediate results, on a cluster one that all see.
    """

    def __init__(self, scratch: str) -> None:
        self.scratch = scratch
        self._numbers = count()

    def place(self, stem: str) -> str:
        """A new path or URL for an intermediate file."""
        return f"{self.scratch}/{stem}-{next(self._numbers):06d}.parquet"

    @abstractmethod
    def run(self, function: Callable[[Task], Result], tasks: Sequence[Task]) -> Iterator[Result]:
        """Call a function of a module on every task, where the engine's workers are.

        Returns:
            The results, in the order of the tasks.
        """

    @abstractmethod
    def table(self, places: Sequence[str]) -> ir.Table:
        """Table over Parquet files of one schema; nothing in their places is a pattern or data."""

    @abstractmethod
    def keep(self, table: ir.Table, label: str) -> ir.Table:
        """Compute ``table`` once, for whatever reads the result.

        Args:
            table: What to compute.
            label: What a message blames if it fails.
        """

    @abstractmethod
    def sorted_parts(self, table: ir.Table, column: str, label: str) -> list[str]:
        """Compute ``table`` into Parquet files, sorted by a column within and over the files."""

    @abstractmethod
    def collect(self, table: ir.Table, label: str = "counting") -> pa.Table:
        """A small result."""

    @abstractmethod
    def close(self) -> None:
        """Let go of memory and connections."""

    def small(self, table: pa.Table) -> ir.Table:
        """A small table from this process."""
        place = self.place("small")
        with create_binary(place) as sink:
            pq.write_table(table, sink)
        return self.table([place])

    def rows(self, table: ir.Table, label: str = "counting") -> list[dict[str, Any]]:
        """A small result as Python rows."""
        collected: list[dict[str, Any]] = self.collect(table, label).to_pylist()
        return collected

    def values(self, table: ir.Table, label: str = "counting") -> dict[str, Any]:
        """The one row of an aggregation."""
        return self.rows(table, label)[0]
