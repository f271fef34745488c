"""DuckDB, inside the process: out of core, with all work on this machine."""

import re
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import duckdb
import ibis
import ibis.expr.types as ir
import pyarrow as pa

from data_modules.prepare.engines.base import Engine, Result, Task
from hierarchy_lm.errors import UserError

ROW_GROUP_ROWS = 10_240
QUOTED = frozenset("'\"\\\n\r\t\x7f")
PATTERN = re.compile(r"[\[*?]")


class DuckEngine(Engine):
    """Runs everything in this process.

    Args:
        scratch: A new local folder.
        memory_limit: Such as ``2GB``; beyond it data is spilled into the folder.
        threads: All cores by default.

    Raises:
        UserError: If the limit or the number of threads is not usable.
    """

    def __init__(self, scratch: Path, memory_limit: str, threads: int | None) -> None:
        scratch.mkdir()
        self._link = _plain_link(scratch)
        super().__init__(str(self._link or scratch))
        self._memory_limit = memory_limit
        options = {"threads": threads} if threads else {}
        try:
            self._connection = ibis.duckdb.connect(
                memory_limit=memory_limit, temp_directory=str(scratch / "spill"), **options
            )
        except duckdb.Error as error:
            raise UserError(
                f"memory_limit '{memory_limit}' or threads '{threads}' is not usable; write them "
                "like 2GB and 4"
            ) from error

    def run(self, function: Callable[[Task], Result], tasks: Sequence[Task]) -> Iterator[Result]:
        """One after the other."""
        return map(function, tasks)

    def table(self, places: Sequence[str]) -> ir.Table:
        """Table over local files; a ``[`` in a name is that character."""
        literal = [PATTERN.sub(lambda mark: f"[{mark[0]}]", place) for place in places]
        with self._faults("tables"):
            return self._connection.read_parquet(literal, hive_partitioning=False)

    def keep(self, table: ir.Table, label: str) -> ir.Table:
        """Compute into one file."""
        return self.table([self._write(table, label)])

    def sorted_parts(self, table: ir.Table, column: str, label: str) -> list[str]:
        """One file."""
        return [self._write(table.order_by(column), label)]

    def collect(self, table: ir.Table, label: str = "counting") -> pa.Table:
        """A small result."""
        with self._faults(label):
            return self._connection.to_pyarrow(table)

    def close(self) -> None:
        """Let go of the spilled data."""
        self._connection.disconnect()
        if self._link:
            shutil.rmtree(self._link.parent)

    def _write(self, table: ir.Table, label: str) -> str:
        place = self.place("kept")
        with self._faults(label):
            self._connection.to_parquet(
                table, place, compression="snappy", row_group_size=ROW_GROUP_ROWS
            )
        return place

    @contextmanager
    def _faults(self, label: str) -> Iterator[None]:
        """What can go wrong by now is the machine's doing: the files have been read."""
        try:
            yield
        except duckdb.OutOfMemoryException as error:
            if "temp_directory" in str(error) or "No space" in str(error):
                raise UserError(f"{label}: no room on the disk of {self.scratch}") from error
            raise UserError(
                f"{label}: {self._memory_limit} are not enough; raise --memory_limit or lower "
                "--threads"
            ) from error
        except (duckdb.IOException, OSError) as error:
            raise UserError(
                f"{label}: {self.scratch} cannot be read or written; is the disk full?"
            ) from error


def _plain_link(folder: Path) -> Path | None:
    """A link to a folder whose name would need quoting in SQL, under a name that does not."""
    if QUOTED.isdisjoint(str(folder)):
        return None
    link = Path(tempfile.mkdtemp(prefix="hlm-")) / "scratch"
    link.symlink_to(folder, target_is_directory=True)
    return link
