"""Records of CSV: pyarrow parses what a look at the quotes proves regular, Python's csv the rest.

Either way the records are counted before they are parsed, so that none can get lost.
"""

import csv
from collections.abc import Iterator, Sequence
from itertools import chain

import pyarrow as pa

from data_modules.prepare.mapping.files import FileOptions
from data_modules.prepare.reading.csv_blocks import WholeRecords, parse, whole_records
from data_modules.prepare.reading.csv_lines import INNER, NULL, Lines
from data_modules.prepare.reading.records import BATCH_ROWS, RawBatch, Tally, named_columns
from data_modules.prepare.reading.streams import MAX_RECORD, TextBlocks
from hierarchy_lm.errors import UserError

CAUSES = {
    "expected after": "text follows a closing quote; double the quotes inside, or set 'escape'",
    "unexpected end": "a quote opens here and is never closed; mend it, or set 'quote: \"\"'",
    "field limit": f"a value of over {MAX_RECORD >> 20} MB; check 'quote' and 'escape'",
}
"""What Python's csv complains of, and what that means here."""


class CsvReader:
    """Reads the records of a delimited text file.

    Args:
        blocks: The file's text.
        options: The dialect.
        kind: ``tsv`` makes a tab the default delimiter.

    Raises:
        UserError: If the dialect or the header row is not usable.
    """

    def __init__(self, blocks: TextBlocks, options: FileOptions, kind: str) -> None:
        self.label = blocks.label
        self.tally = Tally()
        self.options = options
        self.delimiter = options.delimiter or ("\t" if kind == "tsv" else ",")
        self.delimiter = "\t" if self.delimiter == "\\t" else self.delimiter
        # A quote that escapes a quote is the doubling that is read anyway.
        self.escape = "" if options.escape == options.quote else options.escape
        self._check_dialect()
        csv.field_size_limit(MAX_RECORD)
        self._blocks = iter(blocks)
        self._lines = Lines(self._blocks, options.comment, self.tally, self.label)
        self._lines.skip(options.skip_rows)
        names = options.column_names or self._header()
        self.names = named_columns(names, options.rename, self.label)
        self.tally.columns = dict.fromkeys(self.names)

    def batches(self, wanted: Sequence[str]) -> Iterator[RawBatch]:
        """The wanted columns; raises UserError at a row that is no record, with its line."""
        wanted = [name for name in self.names if name in wanted]
        regular = len(self.delimiter.encode()) == 1 and not (self.escape or self.options.comment)
        if not regular:
            yield from self._slow(self._lines, wanted)
            return
        yield from self._fast(wanted)

    def _fast(self, wanted: list[str]) -> Iterator[RawBatch]:
        """Whole records of each block at once, as long as their quotes are regular."""
        lines, rest = self._lines, self._lines.take_rest().encode()
        for block in chain(self._blocks, [""]):
            last = not block
            data = rest + block.encode()
            if last and data and not data.endswith((b"\n", b"\r")):
                data += b"\n"
            found = whole_records(data, self.delimiter, self.options.quote, last)
            if found is None or (last and found.end < len(data)):
                lines.put_back(data.decode())
                yield from self._slow(lines, wanted)
                return
            if len(data) - found.end > MAX_RECORD:
                raise UserError(
                    f"{self.label}: line {lines.number + 1} begins a record of over "
                    f"{MAX_RECORD >> 20} MB; is a quote open, or are 'quote' and 'escape' wrong?"
                )
            yield from self._parsed(data[: found.end], found, wanted)
            lines.number += found.lines
            rest = data[found.end :]

    def _check_dialect(self) -> None:
        options = self.options
        for key, value in (("quote", options.quote), ("escape", options.escape)):
            if len(value) > 1 or not value.isascii() or value == "\0":
                raise UserError(f"{self.label}: {key} must be one ASCII character, not '{value}'")
        if self.delimiter in (options.quote, "\n", "\r"):
            raise UserError(f"{self.label}: delimiter and quote must differ and be no line end")

    def _header(self) -> list[str]:
        row = next(self._rows(self._lines), None)
        if row is None:
            raise UserError(f"{self.label}: no header row; name the columns in 'column_names'")
        return row

    def _parsed(self, data: bytes, found: WholeRecords, wanted: list[str]) -> Iterator[RawBatch]:
        if not data:
            return
        table = parse(data, self.names, wanted, self.delimiter, self.options.quote)
        if table is None or table.num_rows != found.count:  # the slow way says what is wrong
            yield from self._slow(Lines.of(data.decode(), self._lines), wanted)
            return
        self.tally.left_out["blank lines"] += found.blank
        self.tally.records += found.count
        columns = {name: table[name].combine_chunks() for name in wanted}
        yield RawBatch(self.tally.records - found.count + 1, found.count, columns)

    def _slow(self, lines: Lines, wanted: list[str]) -> Iterator[RawBatch]:
        places = [self.names.index(name) for name in wanted]
        rows: list[list[str]] = []
        size = 0
        for row in self._rows(lines):
            if len(row) != len(self.names):
                raise UserError(
                    f"{self.label}: row {self.tally.records + len(rows) + 1}, line {lines.first}: "
                    f"{len(row)} values for {len(self.names)} columns; mend it, or check "
                    "'delimiter', 'quote' and 'escape'"
                )
            rows.append(row)
            size += sum(map(len, row))
            if len(rows) == BATCH_ROWS or size > MAX_RECORD:
                yield self._batch(rows, wanted, places)
                rows, size = [], 0
        if rows:
            yield self._batch(rows, wanted, places)

    def _batch(self, rows: list[list[str]], wanted: list[str], places: list[int]) -> RawBatch:
        columns = {
            name: pa.array([row[place] for row in rows], pa.string())
            for name, place in zip(wanted, places, strict=True)
        }
        self.tally.records += len(rows)
        return RawBatch(self.tally.records - len(rows) + 1, len(rows), columns)

    def _rows(self, lines: Lines) -> Iterator[list[str]]:
        """Python's csv over the lines, without blank ones."""
        options = self.options
        several = self.delimiter if len(self.delimiter) > 1 else ""
        given: Iterator[str] = lines.replacing(several) if several else lines
        if self.escape and not several:
            given = lines.marking_nulls(self.delimiter, self.escape)
        reader = csv.reader(
            given,
            delimiter=INNER if several else self.delimiter,
            quotechar=options.quote or None,
            quoting=csv.QUOTE_MINIMAL if options.quote else csv.QUOTE_NONE,
            escapechar=self.escape or None,
            strict=True,
        )
        while True:
            lines.begin_record()
            try:
                row = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                cause = next((c for key, c in CAUSES.items() if key in str(error)), str(error))
                raise UserError(f"{self.label}: line {lines.first}: {cause}") from error
            if row:
                yield (
                    [_restored(value, several) for value in row] if several or self.escape else row
                )
            else:
                self.tally.left_out["blank lines"] += 1


def _restored(value: str, delimiter: str) -> str:
    """A value without the characters that stood for others."""
    if value == NULL:
        return ""
    return value.replace(INNER, delimiter) if delimiter else value.replace(NULL, "N")
