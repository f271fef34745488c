"""Records of an Excel sheet, by openpyxl."""

from collections.abc import Iterator, Sequence
from datetime import datetime, time
from typing import IO, Any

from data_modules.prepare.mapping.files import FileOptions
from data_modules.prepare.reading.records import BATCH_ROWS, RawBatch, Tally, named_columns
from hierarchy_lm.errors import UserError


class ExcelReader:
    """Reads the rows of a sheet below its header row; formulas give the values kept with them.

    Args:
        stream: The file; it must allow seeking.
        options: The sheet, rows to skip, and names to change.
        label: What messages call the file.

    Raises:
        UserError: If the file is broken or has no such sheet or header row.
    """

    def __init__(self, stream: IO[bytes], options: FileOptions, label: str) -> None:
        self.label = label
        self.tally = Tally()
        sheet = _sheet(stream, options, label)
        self._rows: Iterator[tuple[Any, ...]] = sheet.iter_rows(values_only=True)
        for _ in range(options.skip_rows):
            if next(self._rows, None) is not None:
                self.tally.left_out["lines skipped at the start"] += 1
        names: Sequence[Any] | None = options.column_names or next(self._rows, None)
        if not names:
            raise UserError(f"{label}: no header row; name the columns in 'column_names'")
        while names and names[-1] is None:  # cells that were formatted once
            names = names[:-1]
        self.names = named_columns(names, options.rename, label)
        self.tally.columns = dict.fromkeys(self.names)

    def batches(self, wanted: Sequence[str]) -> Iterator[RawBatch]:
        """The wanted columns; raises UserError at a row with values beyond the header."""
        rows: list[tuple[Any, ...]] = []
        for row in self._rows:
            if all(value is None for value in row):
                self.tally.left_out["blank lines"] += 1
                continue
            self.tally.records += 1
            if any(value is not None for value in row[len(self.names) :]):
                raise UserError(
                    f"{self.label}: row {self.tally.records} has a value in column "
                    f"{len(self.names) + 1}, which the header row does not name; name or clear it"
                )
            rows.append(tuple(map(_plain, row)))
            if len(rows) == BATCH_ROWS:
                yield self._batch(rows, wanted)
                rows = []
        if rows:
            yield self._batch(rows, wanted)

    def _batch(self, rows: list[tuple[Any, ...]], wanted: Sequence[str]) -> RawBatch:
        columns = {
            name: [row[place] if place < len(row) else None for row in rows]
            for place, name in enumerate(self.names)
            if name in wanted
        }
        return RawBatch(self.tally.records - len(rows) + 1, len(rows), columns)


def _plain(value: Any) -> Any:  # noqa: ANN401 - values of cells
    """A day that Excel keeps as the midnight it begins with."""
    if isinstance(value, datetime) and value.time() == time():
        return value.date()
    return value


def _sheet(stream: IO[bytes], options: FileOptions, label: str) -> Any:  # noqa: ANN401
    try:
        from openpyxl import load_workbook  # an extra: only Excel files need it
    except ImportError as error:
        raise UserError(
            f"{label}: Excel files need openpyxl; pip install 'hierarchy-lm[excel]'"
        ) from error
    try:
        book = load_workbook(stream, read_only=True, data_only=True)
    except Exception as error:  # openpyxl raises whatever its XML readers raise
        raise UserError(f"{label}: no readable .xlsx file; save it again") from error
    names = book.sheetnames
    if options.sheet and options.sheet not in names:
        raise UserError(f"{label}: no sheet '{options.sheet}'; it has {', '.join(names)}")
    sheet = book[options.sheet or names[0]]
    if not hasattr(sheet, "iter_rows"):
        raise UserError(f"{label}: the sheet '{sheet.title}' is a chart; name another in 'sheet'")
    sheet.reset_dimensions()  # what the writer says of its size may be wrong
    return sheet
