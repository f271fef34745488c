"""The one module that knows which engine runs the Ibis expressions: DuckDB, inside the process."""

import csv
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import duckdb
import ibis
import ibis.expr.datatypes as dt
import ibis.expr.types as ir
import pyarrow as pa
import pyarrow.parquet as pq

from data_modules.prepare.mapping import FileOptions
from hierarchy_lm.errors import UserError

MAX_LINE_BYTES = 64 << 20
ROW_GROUP_ROWS = 10_240
EXPLAINED = re.compile(r"^(Possible|LINE |  file =|\* )")


class Engine:
    """Reads files into tables, runs expressions out of core, keeps results in Parquet.

    Args:
        folder: For spilled data and intermediate results.
        memory_limit: Of the engine, such as ``2GB``; beyond it data is spilled.
        threads: Of the engine; None takes all cores.
    """

    def __init__(self, folder: Path, memory_limit: str, threads: int | None) -> None:
        folder.mkdir()
        self.folder = folder
        self._numbers = count()
        options = {"threads": threads} if threads else {}
        with engine_errors("memory_limit, threads"):
            self.connection = ibis.duckdb.connect(
                memory_limit=memory_limit, temp_directory=str(folder / "spill"), **options
            )

    def read(self, path: Path, kind: str, options: FileOptions, label: str) -> ir.Table:
        """Table over one plain file; scalars are strings, lists are lists of strings.

        Raises:
            UserError: If the file's format is unknown or its head is broken.
        """
        kind = kind if options.format == "auto" else options.format
        with engine_errors(label, path):
            if kind in ("csv", "tsv", "txt"):
                return self._read_csv(path, kind, options, label)
            if kind in ("json", "jsonl", "ndjson"):
                return self._read_json(path)
            if kind in ("parquet", "pq"):
                return self._read_parquet(path)
        raise UserError(f"{label}: unknown format '{kind}'; set 'format' to csv, json or parquet")

    def _read_csv(self, path: Path, kind: str, options: FileOptions, label: str) -> ir.Table:
        delimiter = options.delimiter or ("\t" if kind == "tsv" else ",")
        names = options.column_names or _header(path, delimiter, options.quote, label)
        return self.connection.read_csv(
            str(path),
            columns=dict.fromkeys(names, "VARCHAR"),
            header=options.column_names is None,
            delim=delimiter,
            quote=options.quote,
            escape=options.quote,
            nullstr="",
            max_line_size=MAX_LINE_BYTES,
        )

    def _read_json(self, path: Path) -> ir.Table:
        found = self.connection.read_json(
            str(path), sample_size=-1, maximum_object_size=MAX_LINE_BYTES
        )
        types = {name: _text_type(kind) for name, kind in found.schema().items()}
        return self.connection.read_json(
            str(path), columns=types, maximum_object_size=MAX_LINE_BYTES
        )

    def _read_parquet(self, path: Path) -> ir.Table:
        pq.read_schema(path)
        table = self.connection.read_parquet(str(path))
        return table.mutate(
            **{name: table[name].cast(_text_dtype(kind)) for name, kind in table.schema().items()}
        )

    def keep(self, table: ir.Table, label: str) -> Path:
        """Compute ``table`` into one Parquet file.

        Args:
            table: What to compute.
            label: What a message blames if it fails.
        """
        path = self.folder / f"kept-{next(self._numbers):06d}.parquet"
        with engine_errors(label):
            self.connection.to_parquet(
                table, path, compression="zstd", row_group_size=ROW_GROUP_ROWS
            )
        return path

    def kept(self, paths: Sequence[Path]) -> ir.Table:
        """Table over Parquet files of one schema."""
        return self.connection.read_parquet([str(path) for path in paths])

    def batches(self, table: ir.Table) -> Iterator[pa.RecordBatch]:
        """Stream a result in its order, by way of a Parquet file."""
        path = self.keep(table, "writing")
        with pq.ParquetFile(path) as file:
            yield from file.iter_batches(batch_size=ROW_GROUP_ROWS)
        path.unlink()

    def rows(self, table: ir.Table, label: str = "counting") -> list[dict[str, Any]]:
        """A small result as Python rows."""
        found: list[dict[str, Any]] = self.collect(table, label).to_pylist()
        return found

    def values(self, table: ir.Table, label: str = "counting") -> dict[str, Any]:
        """The one row of an aggregation."""
        return self.rows(table, label)[0]

    def collect(self, table: ir.Table, label: str = "counting") -> pa.Table:
        """A small result."""
        with engine_errors(label):
            return self.connection.to_pyarrow(table)

    def close(self) -> None:
        """Let go of the spilled data."""
        self.connection.disconnect()


@contextmanager
def engine_errors(label: str, path: Path | None = None) -> Iterator[None]:
    """Turn an engine's many-line complaint into one line that names the user's file."""
    try:
        yield
    except (duckdb.Error, pa.ArrowException) as error:
        message = str(error).replace(str(path), label) if path else str(error)
        raise UserError(f"{label}: {_first_lines(message)}") from error


def _first_lines(message: str) -> str:
    kept = []
    for line in message.splitlines():
        if EXPLAINED.match(line):
            break
        if line.strip():
            kept.append(line.strip() if len(line) < 200 else line.strip()[:200] + " ...")
    return "; ".join(kept)


def _header(path: Path, delimiter: str, quote: str, label: str) -> list[str]:
    csv.field_size_limit(MAX_LINE_BYTES)
    with path.open(encoding="utf-8", newline="") as stream:
        try:
            reader = csv.reader(
                stream,
                delimiter=delimiter,
                quotechar=quote or None,
                quoting=csv.QUOTE_MINIMAL if quote else csv.QUOTE_NONE,
            )
            names = [name.strip() for name in next(reader)]
        except (csv.Error, StopIteration, TypeError) as error:
            raise UserError(f"{label}: no readable header row ({error})") from error
    names = [name or f"column{index}" for index, name in enumerate(names)]
    folded = [name.lower() for name in names]
    for name in names:
        if folded.count(name.lower()) > 1:
            raise UserError(
                f"{label}: two columns are called '{name}'; rename one, or set 'column_names'"
            )
    return names


def _text_type(kind: dt.DataType) -> str:
    if not kind.is_array():
        return "VARCHAR"
    return "VARCHAR[][]" if kind.value_type.is_array() else "VARCHAR[]"


def _text_dtype(kind: dt.DataType) -> str:
    if not kind.is_array():
        return "string"
    return "array<array<string>>" if kind.value_type.is_array() else "array<string>"
