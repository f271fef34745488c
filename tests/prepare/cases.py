"""Whole inputs for `hlm prepare`: files, mapping and what has to come of them."""

import gzip
import io
import zipfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path as FilePath
from typing import Any

import pytest
from hypothesis import assume
from hypothesis import strategies as st

from data_modules.prepare.reading import csv_records, json_records, parquet_records, streams

from . import dialects
from .oracle import Expected, Filters, Path, RefusedError, Roles, Row, prepared

BLOCKS = st.sampled_from([None, None, 64, 100, 333])
FOLDERS = ["", "", "a", "title=zzz", "split=v2/weight=0", "x[1]", "d*", "ü b", "100%", "#", "{q}"]
STEMS = ["p", "a[1]", "x*", "q?", "cat=Shoes", "é ü", "-", "a.b.c", "50%", "[!a]", "'", "p{1}", "&"]
DECOYS = {"a[1]": "a1", "x*": "xy", "q?": "qq", "[!a]": "b"}


@dataclass
class InputFile:
    """A file as the mapping names it.

    Attributes:
        name: In `files`.
        label: What report and messages call it, below the root.
        rows: Its records, by column.
        other: Its lines that are no records, by cause.
        disk: Files to write, by their path.
        refusal: What the message says if it cannot be read.
        refusal: What a message must say, if this file cannot be read.
    """

    name: str
    label: str
    rows: list[Row]
    other: Counter[str]
    disk: dict[str, bytes]
    refusal: str | None = None


@dataclass
class Case:
    """An input and what the mapping says of it."""

    files: list[InputFile]
    roles: Roles
    options: dict[str, Any] = field(default_factory=dict)
    nulls: list[str] = field(default_factory=list)
    more: Row = field(default_factory=dict)
    """Further keys of `products`."""
    tree: Row = field(default_factory=dict)
    """Further keys of `tree`."""
    block: int | None = None
    """Bytes and rows that are read at once, to have seams in small files."""

    @contextmanager
    def seams(self) -> Iterator[None]:
        """Let the readers take small blocks."""
        with pytest.MonkeyPatch.context() as patch:
            if self.block is not None:
                patch.setattr(streams, "BLOCK_BYTES", self.block)
                for reader in (csv_records, json_records, parquet_records):
                    patch.setattr(reader, "BATCH_ROWS", self.block // 64 + 1)
            yield

    def expected(self, filters: Filters | None = None) -> Expected:
        """What has to come of it.

        Raises:
            RefusedError: If that is a refusal.
        """
        for file in self.files:
            if file.refusal is not None:
                raise RefusedError(file.refusal)
        return prepared([file.rows for file in self.files], self.roles, self.nulls, filters)

    def write(self, root: FilePath) -> None:
        """Put all files there."""
        for file in self.files:
            for name, data in file.disk.items():
                (root / name).parent.mkdir(parents=True, exist_ok=True)
                (root / name).write_bytes(data)

    def mapping(self) -> Row:
        """Without name, source and licence."""
        names = [file.name for file in self.files]
        source = {"files": names[0] if len(names) == 1 else names, **self.options}
        products = {**self.roles.products(), "input": source, **self.more}
        return {"products": products, "tree": {"gaps": self.roles.gaps, **self.tree}}


@st.composite
def packed(draw: st.DrawFn, number: int, suffix: str, data: bytes, decoy: bytes) -> InputFile:
    """A file on the disk, perhaps compressed, and others that nobody means."""
    pick = lambda values: draw(st.sampled_from(values))  # noqa: E731
    folder, stem = pick(FOLDERS), pick(STEMS)
    suffix = pick([suffix, suffix, suffix.upper()])
    place = f"{folder}/{number}".lstrip("/")
    packing = pick(["plain", "plain", "plain", "gz", "zip", "zip of gz"])
    inner = f"{stem}.{suffix}"
    if packing in ("gz", "zip of gz"):
        data, inner = gzip.compress(data), inner + pick([".gz", ".gz", ".GZ"])
    disk = {}
    if packing.startswith("zip"):
        outer = f"{place}/f.{pick(['zip', 'zip', 'ZIP'])}"
        disk[outer] = zipped({inner: data, f"__MACOSX/._{inner}": b"junk", "sub/.DS_Store": b"x"})
        name = f"{outer}::{pick(['', '*', inner])}".removesuffix("::")
        return InputFile(name, f"{outer}::{inner}", [], Counter(), disk)
    if stem in DECOYS:
        disk[f"{place}/{inner.replace(stem, DECOYS[stem])}"] = decoy
    disk[f"{place}/._{inner}"] = b"junk"
    disk[f"{place}/{inner}"] = data
    return InputFile(f"{place}/{inner}", f"{place}/{inner}", [], Counter(), disk)


def zipped(members: dict[str, bytes]) -> bytes:
    """An archive."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return stream.getvalue()


def item_ids(texts: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    """Texts around a mark that a number goes into, so that ids are unique."""
    return texts.map(lambda text: text.replace("#", "") + "#{}#").map(_plain_braces)


def _plain_braces(text: str) -> str:
    return text[:-4].translate(str.maketrans("", "", "{}")) + text[-4:]


@st.composite
def roles(draw: st.DrawFn, names: list[str], separators: st.SearchStrategy[str]) -> Roles:
    """Which of some columns mean what."""
    names = [*names]
    take = lambda: names.pop(draw(st.integers(0, len(names) - 1)))  # noqa: E731
    maybe = lambda: take() if draw(st.booleans()) else None  # noqa: E731
    kind = draw(st.sampled_from(["columns", "columns", "text", "texts"]))
    path = Path()
    if kind == "columns":
        path.columns = [take() for _ in range(draw(st.integers(1, 3)))]
    else:
        path.column, path.separator = take(), draw(st.one_of(st.none(), separators))
        path.path_separator = draw(st.sampled_from(["||", "\x1e"])) if kind == "texts" else None
    return Roles(
        item_id=take(),
        title=take(),
        description=maybe(),
        bullet_points=maybe(),
        bullet_separator=draw(st.one_of(st.none(), separators)),
        locale=maybe(),
        path=path,
        gaps=draw(st.sampled_from(["cut", "cut", "cut", "error"])),
    )


@st.composite
def texts_of_row(draw: st.DrawFn, roles: Roles, number: int, nulls: list[str]) -> Row:
    """A text for every column that is read."""
    texts = st.one_of(dialects.TEXTS, st.sampled_from([*nulls, f" {(nulls or ['x'])[0]}\t"]))
    row = {column: draw(texts) for column in roles.columns()}
    row[roles.item_id] = draw(item_ids(dialects.TEXTS)).format(number)
    name = st.sampled_from([*dialects.NAMES, *nulls]) if roles.path.columns else NAMES_IN_TEXT
    for column in roles.path.columns or []:
        row[column] = draw(name if number else SURE)
    if roles.path.column:
        several = roles.path.path_separator
        paths = draw(st.lists(st.lists(name, min_size=1, max_size=3), max_size=3 if several else 1))
        joined = [(roles.path.separator or "").join(names) for names in paths]
        row[roles.path.column] = (several or "").join(joined)
        if not number:
            row[roles.path.column] = draw(SURE)
    if roles.bullet_points and roles.bullet_separator and draw(st.booleans()):
        row[roles.bullet_points] = roles.bullet_separator.join(draw(st.lists(texts, max_size=3)))
    return row


SURE = st.sampled_from(["A", "B", " é ", "Größe", "&amp;", "C\nD", "x > y"])
"""Names that are not blank."""
NAMES_IN_TEXT = st.sampled_from([name for name in dialects.NAMES if name not in ("nan", "-")])
SEPARATORS = st.sampled_from(["/", ">>", "|", "\n", " ", "\x1f", "ß", "."])


@dataclass
class Layout:
    """What the CSV files of one input have in common."""

    dialect: dialects.Dialect
    roles: Roles
    columns: list[str]

    def case(self, block: int | None) -> Case:
        """Without files."""
        options = self.dialect.options(self.columns)
        return Case([], self.roles, options, self.dialect.null_values, block=block)


@st.composite
def layouts(draw: st.DrawFn) -> Layout:
    """A dialect and some columns in an order."""
    dialect = draw(dialects.dialects())
    usable = [name for name in dialects.COLUMNS if dialect.writable(name) == name]
    names = draw(st.lists(st.sampled_from(usable), min_size=9, max_size=10, unique=True))
    chosen = draw(roles(names, SEPARATORS))
    extra = [name for name in names if name not in chosen.columns()]
    columns = [*chosen.columns(), *extra[: draw(st.integers(0, 2))]]
    return Layout(dialect, chosen, draw(st.permutations(columns)))


@st.composite
def csv_texts(draw: st.DrawFn, layout: Layout, first: int) -> tuple[str, list[list[str]]]:
    """A file's text and what it is meant to say; ``first`` is the number of its first record."""
    dialect = layout.dialect
    order = draw(st.permutations(layout.columns)) if dialect.header else layout.columns
    records = []
    for number in range(first, first + draw(st.integers(0 if first else 1, 6))):
        row = draw(texts_of_row(layout.roles, number, dialect.null_values))
        cells = [row[c] if c in row else draw(dialects.TEXTS) for c in order]
        records.append([dialect.writable(cell) for cell in cells])
    return draw(dialects.written(dialect, order, records)), records


@st.composite
def csv_cases(draw: st.DrawFn, null_marks: bool = False) -> Case:
    """One to three files of one dialect, each with an own order of the columns.

    Args:
        draw: Of Hypothesis.
        null_marks: Whether missing values may be written as an escaped N, as MySQL does.
    """
    layout = draw(layouts())
    if null_marks and len(layout.dialect.delimiter) == 1:
        layout.dialect.escape, layout.dialect.null_marks = "\\", True
    case = layout.case(draw(BLOCKS))
    number = 0
    for place in range(draw(st.sampled_from([1, 1, 1, 2, 3]))):
        text, records = draw(csv_texts(layout, number))
        plain = text.replace(dialects.NULL, f"{layout.dialect.escape}N")
        data = draw(dialects.encoded(plain, layout.dialect.encoding))
        suffix = draw(st.sampled_from(["csv", "txt", "tsv"]))
        file = draw(packed(place, suffix, data, ",".join(layout.columns).encode()))
        fill(file, data, layout, plain, text)
        meant = [[*row.values()] for row in file.rows]
        if not plain.startswith("\ufeff"):  # which is taken for a mark
            assert meant == records, (meant, records, layout, text)
        number += len(records)
        case.files.append(file)
    return case


def fill(file: InputFile, data: bytes, layout: Layout, plain: str = "", text: str = "") -> None:
    """Say what Python's csv makes of the file's bytes; of ``text`` where they mean ``plain``."""
    try:
        found = dialects.decoded(data, layout.dialect.encoding)
        reading = dialects.csv_reading(text if found == plain else found, layout.dialect)
        file.other = reading.other
        header = reading.header if layout.dialect.header else layout.columns
        file.rows = as_rows(header, reading.rows, layout.roles.columns())
    except ValueError as error:
        file.refusal = error.args[0]


def as_rows(header: list[str] | None, rows: list[list[str]], wanted: list[str]) -> list[Row]:
    """Records by column.

    Raises:
        ValueError: With what a refusal has to say, if they are none.
    """
    if header is None:
        raise ValueError("no header row")
    names = [name.strip() or f"column{place}" for place, name in enumerate(header)]
    if len(set(names)) < len(names):
        raise ValueError("two columns are called")
    if lacking := set(wanted) - set(names):
        raise ValueError(f"no column '{lacking.pop()}'" if len(lacking) == 1 else "no column '")
    for number, row in enumerate(rows, start=1):
        if len(row) != len(names):
            raise ValueError(f"row {number}, line ")
    return [dict(zip(names, row, strict=True)) for row in rows]


@st.composite
def damaged_cases(draw: st.DrawFn) -> Case:
    """A file that something happened to after it was written."""
    layout = draw(layouts())
    text, _ = draw(csv_texts(layout, 0))
    null = f"{layout.dialect.escape}N"  # which Python's csv takes for an N
    data = text.replace(dialects.NULL, "").encode(layout.dialect.encoding.removesuffix("-replace"))
    for _ in range(draw(st.integers(1, 3))):
        data = draw(damaged(data, layout.dialect.quote))
    assume(null.encode() not in data.replace(b"\x00", b""))
    case = layout.case(draw(BLOCKS))
    case.files.append(draw(packed(0, "csv", data, b"")))
    fill(case.files[0], data, layout)
    return case


@st.composite
def damaged(draw: st.DrawFn, data: bytes, quote: str) -> bytes:
    """Bytes cut off, gone, changed, put in or doubled."""
    place = draw(st.integers(0, max(len(data) - 1, 0)))
    kind = draw(st.sampled_from(["cut", "gone", "quote", "flip", "put", "put", "put", "twice"]))
    if kind == "cut":
        return data[:place]
    if kind == "flip" and data:
        return (
            data[:place] + bytes([data[place] ^ 1 << draw(st.integers(0, 7))]) + data[place + 1 :]
        )
    if kind == "put":
        more = draw(st.sampled_from([*b'""\',;|\t\n\r\\#\x00\xff\xe9 x']))
        return data[:place] + bytes([more]) + data[place:]
    if kind == "twice":
        return data[:place] + data[place : place + draw(st.integers(1, 30))] + data[place:]
    quotes = [n for n, byte in enumerate(data) if quote and byte == ord(quote)]
    if kind == "quote" and quotes:
        place = draw(st.sampled_from(quotes))
    return data[:place] + data[place + 1 :]


@st.composite
def filtered_cases(draw: st.DrawFn) -> tuple[Case, Filters]:
    """Files of a glob, of which every filter leaves rows out."""
    pick = lambda *values: draw(st.sampled_from(values))  # noqa: E731
    roles = Roles("id", "t", path=Path(column="p", separator="/", path_separator="|"))
    filters = Filters(
        keep=pick({}, {"k": ["us", "de "]}, {"k": ["us"], "t": ["x", "y"]}),
        duplicates_first=pick(True, True, False),
        share=pick(1.0, 0.3, 0.7),
        group=pick(None, "g"),
        tree=pick(None, {"A", "A > B", "A > B > C", "D"}),
    )
    values = {"id": "abcdefghijklmn", "t": ["x", "y", ""], "g": ["1", "2", "3", "4", " "],
              "k": ["us", "us", "de ", "de", ""], "p": TREE_PATHS}  # fmt: skip
    row = st.fixed_dictionaries({name: st.sampled_from(held) for name, held in values.items()})
    case = Case([], roles, {"files": "g/*.csv"})
    for place in range(pick(1, 2, 3)):
        rows = [draw(row) for _ in range(pick(1, 4, 9))]
        lines = [",".join(values), *(",".join(r[name] for name in values) for r in rows)]
        name = f"g/{'xyz'[place]}.csv"
        disk = {name: "\n".join(lines).encode()}
        case.files.append(InputFile(name, name, rows, Counter(), disk))
    if filters.tree:
        case.files[0].disk["tree.csv"] = b"p\nA/B/C\nD\n"
        case.tree = {"input": {"files": "tree.csv"}, "path": {"column": "p", "separator": "/"}}
    case.options |= {"keep": filters.keep}
    case.more = {
        "duplicate_ids": "first" if filters.duplicates_first else "error",
        "split": {"share": filters.share, "group": filters.group or ""},
        "unknown_node": "drop_row",
    }
    return case, filters


TREE_PATHS = ["A", "A/B", "A/B/C", "D", "", "A|D", "A|A/B", "A/X", "X", "D|X", "A//C", "/B"]
