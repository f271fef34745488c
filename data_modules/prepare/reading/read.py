"""Reads one input file into canonical rows: typed columns under names of our own, in Parquet.

The same function runs in this process and on the executors of a cluster, so that both read alike.
"""

from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import reduce
from shutil import copyfileobj
from tempfile import TemporaryFile
from typing import IO

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from data_modules.prepare.mapping.files import FileOptions
from data_modules.prepare.reading.csv_records import CsvReader
from data_modules.prepare.reading.excel_records import ExcelReader
from data_modules.prepare.reading.faults import RowError, reading
from data_modules.prepare.reading.fields import Field, Rules, canonical
from data_modules.prepare.reading.json_records import JsonReader, parse_json
from data_modules.prepare.reading.locations import InputFile, create_binary, open_file
from data_modules.prepare.reading.parquet_records import ParquetReader
from data_modules.prepare.reading.paths import path_texts
from data_modules.prepare.reading.records import Column, RawBatch, Reader
from data_modules.prepare.reading.streams import TextBlocks, unpacked
from data_modules.prepare.reading.taxonomies import TREE_FORMATS, TreeReader
from data_modules.prepare.reading.values import Decoder, each
from hierarchy_lm.errors import UserError

SOURCE = [pa.field("source_file", pa.int32()), pa.field("source_row", pa.int64())]
KEPT_OUT = "left out by 'keep'"
EMPTY = "left out for being empty"
"""Of rows with an id column: spreadsheets export such rows below their data."""


@dataclass(frozen=True)
class ReadTask:
    """One file to read.

    Attributes:
        file: The file.
        number: Of the file among all of its input.
        options: How it is read.
        fields: The canonical columns.
        keep: Only rows whose column holds one of the values.
        elsewhere: Columns that this file may lack, since another has them.
        target: Path or URL of the Parquet file to write.
    """

    file: InputFile
    number: int
    options: FileOptions
    fields: tuple[Field, ...]
    keep: dict[str, list[str]]
    elsewhere: frozenset[str]
    target: str


@dataclass(frozen=True)
class ReadResult:
    """What became of a file.

    Attributes:
        label: What messages call it.
        target: The Parquet file.
        records: Records that were counted in it.
        rows: Rows written.
        left_out: Records left out, by cause.
        other: Lines that are no records, by cause.
        replaced: Characters put in place of invalid bytes.
        columns: Names of the columns it has.
        open_ended: Whether a record may lack any column.
    """

    label: str
    target: str
    records: int
    rows: int
    left_out: dict[str, int]
    other: dict[str, int]
    replaced: int
    columns: list[str]
    open_ended: bool


def read_file(task: ReadTask) -> ReadResult:
    """Read a file and write its canonical rows.

    Raises:
        UserError: If the file is missing, empty, broken or of an unknown format, lacks a column, or
            holds a value that its role does not take; names file, row and column.
    """
    job = _Job(task)
    with ExitStack() as stack:
        stack.enter_context(reading(task.file.label))
        reader, blocks = stack.enter_context(open_reader(task.file, task.options))
        sink = stack.enter_context(create_binary(task.target))
        schema = pa.schema([*((f.name, f.type) for f in task.fields), *SOURCE])
        writer = stack.enter_context(pq.ParquetWriter(sink, schema, compression="snappy"))
        job.check_columns(reader)
        for batch in reader.batches(job.wanted):
            writer.write_batch(job.rows(batch, schema))
    tally = reader.tally
    if tally.records != job.written + job.left_out.total():
        raise UserError(
            f"{task.file.label}: {tally.records} records, of which {job.written} were read and "
            f"{job.left_out.total()} left out; nothing was prepared"
        )
    return ReadResult(
        label=task.file.label,
        target=task.target,
        records=tally.records,
        rows=job.written,
        left_out=dict(job.left_out),
        other=dict(+tally.left_out),
        replaced=job.rules.decoder.replaced + (blocks.replaced if blocks else 0),
        columns=list(tally.columns),
        open_ended=tally.open_ended,
    )


@contextmanager
def open_reader(
    file: InputFile, options: FileOptions
) -> Iterator[tuple[Reader, TextBlocks | None]]:
    """The reader of a file's format, and the text it reads if it reads text."""
    kind = file.kind(options)
    with open_file(file) as stream:
        if kind in ("parquet", "excel") or (kind == "gs1" and file.is_excel):
            with _seekable(stream, file) as whole:
                if not whole.read(1):
                    raise UserError(f"{file.label}: the file is empty; remove it or fetch it again")
                whole.seek(0)
                yield _whole_reader(kind, whole, options, file.label), None
            return
        blocks = TextBlocks(stream, file.is_gzip, options.encoding, file.label)
        if kind == "json":
            yield JsonReader(blocks, options), blocks
        elif kind in TREE_FORMATS:
            yield TreeReader(blocks, kind), blocks
        else:
            yield CsvReader(blocks, options, kind), blocks


def _whole_reader(kind: str, stream: IO[bytes], options: FileOptions, label: str) -> Reader:
    if kind == "parquet":
        return ParquetReader(stream, options, label)
    if kind == "excel":
        return ExcelReader(stream, options, label)
    return TreeReader.excel(stream, options, label)


@contextmanager
def _seekable(stream: IO[bytes], file: InputFile) -> Iterator[IO[bytes]]:
    """The unpacked file, which formats with an index at the end need to seek in."""
    if not file.is_gzip and file.member is None:
        yield stream
        return
    with TemporaryFile() as copy:
        copyfileobj(unpacked(stream, file.is_gzip), copy, 1 << 22)
        copy.seek(0)
        yield copy


@dataclass
class _Job:
    """A file on its way."""

    task: ReadTask
    written: int = 0
    left_out: Counter[str] = field(default_factory=Counter)
    shapes: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        options = self.task.options
        decoder = Decoder(options.encoding)
        self.rules = Rules(decoder, tuple(options.null_values), options.decimal)
        names = [*(field.column for field in self.task.fields), *self.task.keep]
        self.wanted = list(dict.fromkeys(names))

    def check_columns(self, reader: Reader) -> None:
        """Refuse a file without a wanted column; objects of JSON may lack any."""
        if reader.tally.open_ended:
            return
        there = reader.tally.columns
        for name in self.wanted:
            if name not in there and (name not in self.task.elsewhere or name in self.task.keep):
                raise UserError(missing_column(self.task.file.label, name, list(there)))

    def rows(self, batch: RawBatch, schema: pa.Schema) -> pa.RecordBatch:
        """Canonical rows of a batch, those that ``keep`` leaves out apart."""
        kept = self._kept(batch)
        numbers = pa.array(range(batch.first, batch.first + batch.rows), pa.int64())
        if kept is not None:
            numbers = numbers.filter(kept)
            self.left_out[KEPT_OUT] += batch.rows - len(numbers)
        columns = [self._column(field, batch, kept, numbers) for field in self.task.fields]
        files = pa.repeat(pa.scalar(self.task.number, pa.int32()), len(numbers))
        rows = self._filled(pa.record_batch([*columns, files, numbers], schema=schema))
        self.written += rows.num_rows
        return rows

    def _filled(self, rows: pa.RecordBatch) -> pa.RecordBatch:
        """Rows in which anything stands that the mapping reads, if it reads an id."""
        names = [field.name for field in self.task.fields]
        if "item_id" not in names or not rows["item_id"].null_count:
            return rows
        empty = reduce(pc.and_, (_is_empty(rows[name]) for name in names))
        filled = rows.filter(pc.invert(empty))
        self.left_out[EMPTY] += rows.num_rows - filled.num_rows
        return filled

    def _kept(self, batch: RawBatch) -> pa.Array | None:
        kept = None
        for name, values in self.task.keep.items():
            column = batch.columns.get(name)
            numbers = pa.array(range(batch.first, batch.first + batch.rows), pa.int64())
            with self._faults(name, numbers):
                texts = self.rules.texts(column) if column is not None else pa.nulls(batch.rows)
            held = pc.is_in(texts.cast(pa.string()), pa.array(values, pa.string()))
            kept = held if kept is None else pc.and_(kept, held)
        return kept

    def _column(
        self, field: Field, batch: RawBatch, kept: pa.Array | None, numbers: pa.Array
    ) -> pa.Array:
        column: Column | None = batch.columns.get(field.column)
        if column is None:
            return pa.nulls(len(numbers), field.type)
        if kept is not None:
            column = _filtered(column, kept)
        with self._faults(field.column, numbers):
            if field.column in self.task.options.json_columns:
                column = self._parsed(column)
            if field.path is None:
                return canonical(field, column, self.rules)
            paths, shape = path_texts(field.path, column, self.rules)
            if shape and self.shapes.setdefault(field.name, shape) != shape:
                raise RowError(0, f"holds {shape}, rows before hold {self.shapes[field.name]}; "
                                  "make them all the same")  # fmt: skip
            return paths

    def _parsed(self, column: Column) -> Column:
        """Values of a column whose texts are JSON."""
        texts = self.rules.texts(column).to_pylist()

        def parsed(text: str | None) -> object:
            try:
                return None if text is None else parse_json(text)
            except ValueError as error:
                raise ValueError(f"holds no JSON ({error})") from error

        return each(texts, parsed)

    @contextmanager
    def _faults(self, name: str, numbers: pa.Array) -> Iterator[None]:
        try:
            yield
        except (UnicodeDecodeError, OverflowError, pa.ArrowException) as error:
            reason = str(error).splitlines()[0][:120]
            raise UserError(
                f"{self.task.file.label}: a row of {numbers[0]} to {numbers[-1]}, column '{name}' "
                f"cannot be read ({reason}); mend it"
            ) from error
        except RowError as fault:
            row = numbers[fault.index].as_py() if len(numbers) else 0
            raise UserError(
                f"{self.task.file.label}: row {row}, column '{name}' {fault.what}"
            ) from fault


def _is_empty(column: pa.Array) -> pa.Array:
    if pa.types.is_list(column.type):
        return pc.equal(pc.fill_null(pc.list_value_length(column), 0), 0)
    return pc.is_null(column)


def _filtered(column: Column, kept: pa.Array) -> Column:
    if isinstance(column, list):
        return [value for value, keep in zip(column, kept.to_pylist(), strict=True) if keep]
    return column.filter(kept)


def missing_column(label: str, name: str, there: list[str]) -> str:
    """What to say of a column that is not there."""
    shown = ", ".join(there[:30]) + (f" and {len(there) - 30} more" if len(there) > 30 else "")
    hint = ""
    if there and there[0].lower().startswith("sep="):
        hint = f"; set 'skip_rows: 1' and 'delimiter' to {there[0][4:] or ','!r}"
    elif len(there) == 1:
        found = [mark for mark in (";", "\t", "|", ",") if mark in there[0]]
        hint = f"; is the delimiter {found[0]!r}? set 'delimiter'" if found else ""
    return f"{label}: no column '{name}'; the file has: {shown}{hint}"
