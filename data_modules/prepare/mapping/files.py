"""Keys of a mapping that say where the files are and how their bytes become columns."""

from dataclasses import dataclass, field
from typing import Literal

Encoding = Literal[
    "utf-8", "utf-8-replace", "latin-1", "cp1252", "utf-16", "utf-16-le", "utf-16-be"
]
Format = Literal["auto", "csv", "json", "parquet", "excel", "google", "shopify", "gs1"]
Patterns = str | list[str]


@dataclass
class FileOptions:
    """Input files and how their bytes are read.

    Attributes:
        files: Paths, URLs or globs below ``root``; `archive.zip::*.json` picks members of an
            archive. A dictionary from split names gives each split its own files.
        format: `auto` goes by the file name's ending. `google`, `shopify` and `gs1` read the
            published forms of these category trees, as columns `key`, `name` and `path`.
        delimiter: Of CSV; a comma, or a tab for `.tsv`.
        quote: Quote character of CSV, doubled inside a value; empty when nothing is quoted.
        escape: Character of CSV that makes the next one plain text, such as a backslash.
        comment: Lines of CSV that start so are left out and counted.
        skip_rows: Lines before the header row, or rows of a sheet, to leave out.
        column_names: Names for CSV files without a header row.
        rename: What a file calls a column -> what this mapping calls it, for files of one
            catalogue whose columns have different names.
        json_columns: Columns of text that hold JSON, read as if the file itself were JSON.
        sheet: Name of the sheet of an Excel file; the first if not given.
        encoding: `utf-8-replace` puts U+FFFD for invalid bytes and counts them. A byte order mark
            is recognised.
        null_values: Texts that mean "missing", besides the empty text.
        decimal: Decimal mark of numbers; with a comma, points between digits are left out.
    """

    files: Patterns | dict[str, Patterns]
    format: Format = "auto"
    delimiter: str = ""
    quote: str = '"'
    escape: str = ""
    comment: str = ""
    skip_rows: int = 0
    column_names: list[str] | None = None
    rename: dict[str, str] = field(default_factory=dict)
    json_columns: list[str] = field(default_factory=list)
    sheet: str = ""
    encoding: Encoding = "utf-8"
    null_values: list[str] = field(default_factory=list)
    decimal: Literal[".", ","] = "."


@dataclass
class JoinOptions(FileOptions):
    """Further columns from a second set of files; rows without a partner keep them missing.

    Attributes:
        keys: Columns of the same name on both sides, or a dictionary from the rows' columns to
            those of these files; unique together in these files.
    """

    keys: list[str] | dict[str, str] = field(default_factory=list)

    @property
    def pairs(self) -> dict[str, str]:
        """The rows' key columns -> these files' key columns."""
        return self.keys if isinstance(self.keys, dict) else {name: name for name in self.keys}


@dataclass
class InputOptions(FileOptions):
    """The rows of a product table or a task.

    Attributes:
        keep: Only rows whose column holds one of the values; the others are counted.
        join: Columns that stand in other files; a list for several sets of files.
    """

    keep: dict[str, list[str]] = field(default_factory=dict)
    join: JoinOptions | list[JoinOptions] | None = None

    @property
    def joins(self) -> list[JoinOptions]:
        """All joins, in their order."""
        if self.join is None:
            return []
        return self.join if isinstance(self.join, list) else [self.join]
