"""Random CSV: dialects, how cells are written in them, and how Python's csv reads them back."""

import csv
import io
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from hypothesis import strategies as st

PIECES = [
    "a", "é", "e\u0301", "ß", "日本", "😀", "\u0600", "0", "1.0", " ", "  ", "\t", ",", ";", "|",
    '"', '""', "'", "\\", "\n", "\r", "\r\n", "\x00", "\x0b", "\x0c", "\x1c", "\x1d", "\x1e",
    "\x7f", "\x85", "\xa0", "\u2028", "\u2029", "\u200b", "\u200d", "\ufeff", "\u3000", "#", "//",
    "&amp;", "&nbsp;", "[b]", "{x}", "*", "?", "%", "$", "`", "NULL", "nan", "=1+1", "\x1b[31m",
    "<b>",
]  # fmt: skip
CHARACTERS = st.characters(exclude_categories=["Cs", "Cf"])
WHOLE = [
    "", "", "\ufeff1", '"', '""', "'", "\\", "\n", "\r", " ", "#", "//", "|", "-", "\x1f", "\x00",
]  # fmt: skip
TEXTS = st.one_of(
    st.sampled_from(WHOLE),
    st.lists(st.sampled_from(PIECES), max_size=5).map("".join),
    st.text(CHARACTERS, max_size=8),
    st.text(CHARACTERS, min_size=1, max_size=8).map(lambda text: f"{text}\n{text}"),
)
NAMES = [
    "A", "B", "a", "Größe & Co", "Gro\u0308ße &amp; Co", " A ", "A\u200b", "\xa0B\xa0", "x > y",
    ">", "x &gt; y", "a  b", "a b", "\u3000", "", "", "C\nD", "é", "nan", "[x]", "\x1fE", "F\x1e",
    "G\x1d", "'q'", "%", "a=b", "\ufeffH", "&#65;", "&bogus;", "A>B", "A/B", "\u202eI",
]  # fmt: skip
COLUMNS = [
    "id", "ID", "title", "Title", "TITLE", "source_row", "source_file", "item", "item_id",
    "left_out", "c0", "c1", "split", "rows", "number", "text_hash", "path_set", "label_set",
    "made_id", "a.b", "a b", "price\n(EUR)", "größe", "x\x1fy", 'say "x"', "a,b", "#x", "key_0_0",
    "id_right", "count", "*", "select", "weight", "locale", "node_ids", "path_0_0", "1", "true",
    "[a]", "{b: c}", "%s", "-",
]  # fmt: skip

NULL = "\uf8ff"
"""Stands for a missing value, an escaped N in a file, until that is written."""
MARKS = {b"\xef\xbb\xbf": "utf-8", b"\xff\xfe": "utf-16-le", b"\xfe\xff": "utf-16-be"}


@dataclass
class Dialect:
    """How a table is written; the mapping's `input` says the same."""

    delimiter: str = ","
    quote: str = '"'
    escape: str | None = None
    comment: str | None = None
    skip_rows: int = 0
    header: bool = True
    encoding: str = "utf-8"
    null_values: list[str] = field(default_factory=list)
    line_ends: list[str] = field(default_factory=lambda: ["\n"])
    quoting: str = "minimal"
    null_marks: bool = False

    @property
    def special(self) -> str:
        """Characters that an unquoted cell cannot hold as they stand."""
        return f"{self.delimiter}\r\n{self.escape or ''}"

    def options(self, columns: list[str]) -> dict[str, Any]:
        """Keys of `input` besides `files`."""
        found: dict[str, Any] = {"delimiter": self.delimiter, "quote": self.quote}
        for key in ("escape", "comment", "skip_rows", "null_values"):
            if value := getattr(self, key):
                found[key] = value
        if self.encoding != "utf-8":
            found["encoding"] = self.encoding
        return found if self.header else {**found, "column_names": columns}

    def writable(self, text: str) -> str:
        """The text without what neither the encoding nor the dialect has a way to write."""
        codec = self.encoding.removesuffix("-replace")
        text = text.encode(codec, "ignore").decode(codec).replace(NULL, "")
        if len(self.delimiter) > 1:
            text = text.replace("\x1f", "")
        if not self.quote and not self.escape:
            text = re.sub(f"[{re.escape(self.special)}]", "", text)
            while self.comment and text.startswith(self.comment):
                text = text.removeprefix(self.comment)
        return text


@st.composite
def dialects(draw: st.DrawFn) -> Dialect:
    """Any that the documentation promises to read."""
    pick = lambda *values: draw(st.sampled_from(values))  # noqa: E731
    ends = pick(["\n"], ["\r\n"], ["\r"], ["\n", "\r\n"], ["\n", "\r\n", "\r"])
    delimiter = pick(",", ",", ";", "\t", "|", "||", "~|~", "\x01", "§", " ", ":")
    return Dialect(
        delimiter=delimiter,
        quote=pick('"', '"', '"', "'", ""),
        escape=pick(None, None, None, "\\", "^") if len(delimiter) == 1 else None,
        comment=pick(None, None, None, "#", "//"),
        skip_rows=pick(0, 0, 0, 1, 3),
        header=pick(True, True, True, False),
        encoding=pick("utf-8", "utf-8", "utf-8", "utf-8-replace", "latin-1", "cp1252", "utf-16",
                      "utf-16-le", "utf-16-be"),
        null_values=pick([], [], ["nan", "NULL"], ["-"]),
        line_ends=ends,
        quoting=pick("minimal", "all", "some"),
    )  # fmt: skip


def cell(draw: st.DrawFn, text: str, dialect: Dialect, first: bool, alone: bool) -> str:
    """A cell as the dialect writes it; ``first`` of its record, ``alone`` in it."""
    quote, escape = dialect.quote, dialect.escape
    if dialect.null_marks and not text and draw(st.booleans()):
        return NULL
    must = any(c in dialect.special for c in text) or (alone and not text)
    must |= bool(quote) and text.startswith(quote)
    must |= bool(first and dialect.comment and text.startswith(dialect.comment))
    optional = dialect.quoting == "all" or (dialect.quoting == "some" and draw(st.booleans()))
    if quote and (optional or (must and not (escape and draw(st.booleans())))):
        return quote + _inside(draw, text, quote, escape) + quote
    if not escape:
        return text
    escaped = "".join(f"{escape}{c}" if c in dialect.special + quote else c for c in text)
    if first and dialect.comment and escaped.startswith(dialect.comment):
        escaped = escape + escaped
    return escaped


def _inside(draw: st.DrawFn, text: str, quote: str, escape: str | None) -> str:
    if escape:
        text = text.replace(escape, escape * 2)
    doubled = not escape or draw(st.booleans())
    return text.replace(quote, quote * 2 if doubled else f"{escape}{quote}")


@st.composite
def written(draw: st.DrawFn, dialect: Dialect, header: list[str], rows: list[list[str]]) -> str:
    """The text of a file, with blank and comment lines between the records."""
    end = st.sampled_from(dialect.line_ends)
    junk = ["", ""] if len(header) > 1 else []
    junk += [f"{dialect.comment} a, 'b' \"c", f"{dialect.comment}"] if dialect.comment else []
    lines = [
        draw(st.sampled_from(["-", "Report, of 'May'", '"'])) for _ in range(dialect.skip_rows)
    ]
    for record in [*([header] if dialect.header else []), *rows]:
        if junk and draw(st.integers(0, 5)) == 0:
            lines += draw(st.lists(st.sampled_from(junk), max_size=3))
        cells = [
            cell(draw, text, dialect, first=place == 0, alone=len(record) == 1)
            for place, text in enumerate(record)
        ]
        lines.append(dialect.delimiter.join(cells))
    if junk and draw(st.booleans()):
        lines += draw(st.lists(st.sampled_from(junk), max_size=2))
    ended = "".join(line + draw(end) for line in lines[:-1])
    last = "".join(lines[-1:])
    # Without a line end Python's csv does not see the end behind an escaped line end.
    open_end = draw(st.booleans()) and not dialect.escape
    return ended + last + ("" if open_end else draw(end))


@dataclass
class Reading:
    """What Python's csv makes of a file: the header, if any, the records, and the other lines."""

    header: list[str] | None
    rows: list[list[str]]
    other: Counter[str]


def csv_reading(text: str, dialect: Dialect) -> Reading:
    """Read strictly.

    Raises:
        ValueError: With what a refusal has to say, if Python's csv refuses the text.
    """
    lines = iter(io.StringIO(text, newline=""))
    other: Counter[str] = Counter()
    for _ in range(dialect.skip_rows):
        other["lines skipped at the start"] += next(lines, None) is not None
    try:
        rows = list(_records(lines, dialect, other, text))
    except csv.Error as error:
        raise ValueError("line ", str(error)) from error
    header = rows.pop(0) if dialect.header and rows else None
    return Reading(header, rows, +other)


def _records(
    lines: Iterator[str], dialect: Dialect, other: Counter[str], text: str
) -> Iterator[list[str]]:
    between = True

    def records_lines() -> Iterator[str]:
        nonlocal between
        for line in lines:
            if between and dialect.comment and line.startswith(dialect.comment):
                other["comment lines"] += 1
                continue
            between = False
            yield line if single else line.replace(dialect.delimiter, inner)

    single = len(dialect.delimiter) == 1
    inner = next(c for c in map(chr, range(0xE000, 0xF000)) if c not in text)
    reader = csv.reader(
        records_lines(),
        delimiter=dialect.delimiter if single else inner,
        quotechar=dialect.quote or None,
        quoting=csv.QUOTE_MINIMAL if dialect.quote else csv.QUOTE_NONE,
        escapechar=dialect.escape,
        strict=True,
    )
    for row in reader:
        between = True
        if row:
            yield [value.replace(inner, dialect.delimiter).replace(NULL, "") for value in row]
        else:
            other["blank lines"] += 1


def decoded(data: bytes, encoding: str) -> str:
    """The text of a file; a byte order mark says better than the mapping.

    Raises:
        ValueError: With what a refusal has to say.
    """
    if not data:
        raise ValueError("the file is empty")
    codec = encoding.removesuffix("-replace")
    for mark, marked in MARKS.items():
        if data.startswith(mark):
            data, codec = data[len(mark) :], marked
            break
    if codec == "utf-16":
        raise ValueError("no byte order mark")
    try:
        return data.decode(codec, "replace" if encoding.endswith("-replace") else "strict")
    except UnicodeDecodeError as error:
        raise ValueError("line ", str(error)) from error


@st.composite
def encoded(draw: st.DrawFn, text: str, encoding: str) -> bytes:
    """The bytes of a text, perhaps with a mark of another encoding than the mapping's."""
    mark = draw(st.sampled_from([None, None, None, "utf-8-sig", "utf-16"]))
    if mark:
        return text.encode(mark)
    return text.encode(encoding.removesuffix("-replace"))
