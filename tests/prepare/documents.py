"""Random JSON and Parquet, each value with the text that it stands for."""

import io
import json
from collections import Counter
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import strategies as st

from . import cases, dialects
from .cases import Case, InputFile
from .json_oracle import json_reading
from .oracle import FloatText, Roles, Row

Value = tuple[str, Any]
"""How JSON writes a value, and the text, list or nothing that it means."""


@st.composite
def spelled(draw: st.DrawFn, text: str) -> Value:
    """A string, some characters of it escaped."""
    if draw(st.booleans()):
        return json.dumps(text, ensure_ascii=draw(st.booleans())), text
    written = []
    for character in text:
        plain = json.dumps(character, ensure_ascii=False)[1:-1]
        units = character.encode("utf-16-be")
        escaped = "".join(f"\\u{units[n]:02x}{units[n + 1]:02X}" for n in range(0, len(units), 2))
        slash = "\\/" if character == "/" else plain
        written.append(draw(st.sampled_from([plain, escaped, slash])))
    return f'"{"".join(written)}"', text


def strings(texts: st.SearchStrategy[str]) -> st.SearchStrategy[Value]:
    """JSON strings."""
    return texts.flatmap(spelled)


NUMBERS = st.sampled_from(
    [("0", "0"), ("-7", "-7"), ("1.0", "1"), ("1.50", "1.50"), ("2.5", "2.5"), ("1e3", "1000"),
     ("1.5E+2", "150"), ("12345678901234567890123", "12345678901234567890123"), ("0.1", "0.1"),
     ("-3.00", "-3"), ("1e-7", "1e-7"), ("9007199254740993", "9007199254740993")]
)  # fmt: skip
OTHERS = st.sampled_from(
    [("true", "true"), ("false", "false"), ("null", None), ("null", None), ("NaN", None)]
)


def scalars(texts: st.SearchStrategy[str]) -> st.SearchStrategy[Value]:
    """Anything that is one text."""
    return st.one_of(strings(texts), strings(texts), strings(texts), NUMBERS, OTHERS)


def lists(items: st.SearchStrategy[Value], least: int = 0) -> st.SearchStrategy[Value]:
    """Arrays."""
    return st.lists(items, min_size=least, max_size=3).map(
        lambda found: (f"[{', '.join(text for text, _ in found)}]", [value for _, value in found])
    )


JUNK = st.sampled_from(
    ["{}", "[]", '{"a": [1, {"b": null}]}', "[[1, 2], {}]", '"x"', "1e-3", "-0", "[1, [2, [3]]]"]
)


@dataclass
class Documents:
    """What the JSON files of one input have in common."""

    names: list[str]
    roles: Roles
    shape: str
    encoding: str
    nulls: list[str]

    def case(self, block: int | None) -> Case:
        """Without files."""
        options: dict[str, Any] = {"null_values": self.nulls} if self.nulls else {}
        if self.encoding != "utf-8":
            options["encoding"] = self.encoding
        return Case([], self.roles, options, self.nulls, block=block)


@st.composite
def layouts(draw: st.DrawFn) -> Documents:
    """Some names, and what they mean."""
    names = draw(st.lists(st.sampled_from(JSON_NAMES), min_size=9, max_size=10, unique=True))
    roles = draw(cases.roles(names, cases.SEPARATORS))
    shape = draw(st.sampled_from(["lists", "lists of lists", "texts"]))
    if shape != "texts" and roles.path.column:
        roles.path.path_separator = None
        roles.path.separator = None if shape == "lists of lists" else roles.path.separator
    encoding = draw(st.sampled_from(["utf-8", "utf-8", "utf-8", "utf-16", "utf-16-le"]))
    return Documents(names, roles, shape, encoding, draw(st.sampled_from([[], ["nan", "-7"]])))


@st.composite
def json_rows(draw: st.DrawFn, layout: Documents, first: int) -> tuple[list[str], list[Row]]:
    """Texts of objects, and what each says; ``first`` is the number of the first."""
    objects, rows = [], []
    for number in range(first, first + draw(st.integers(0 if first else 1, 5))):
        members = draw(json_members(layout.roles, number, layout.shape))
        rows.append({name: value for name, (_, value) in members})
        extra = [name for name in layout.names if name not in layout.roles.columns()]
        members += [(name, (draw(JUNK), None)) for name in extra if draw(st.booleans())]
        objects.append(draw(json_object(draw(st.permutations(members)))))
    return objects, rows


@st.composite
def json_cases(draw: st.DrawFn) -> Case:
    """One or two files of objects with different keys."""
    layout = draw(layouts())
    case = layout.case(draw(cases.BLOCKS))
    number = 0
    for place in range(draw(st.sampled_from([1, 1, 2]))):
        objects, rows = draw(json_rows(layout, number))
        data = draw(dialects.encoded(draw(json_text(objects)), layout.encoding))
        file = draw(cases.packed(place, draw(SUFFIXES), data, b"{}"))
        fill(file, data, layout)
        meant = [{c: row.get(c) for c in layout.roles.columns()} for row in rows]
        assert not data or file.rows == meant, (file.rows, meant)
        number += len(rows)
        case.files.append(file)
    return case


SUFFIXES = st.sampled_from(["json", "jsonl", "ndjson"])


def fill(file: InputFile, data: bytes, layout: Documents) -> None:
    """Say what Python's json makes of the file's bytes."""
    try:
        file.rows = json_reading(data, layout.encoding, layout.roles)
    except ValueError as error:
        file.refusal = error.args[0]


@st.composite
def damaged_json_cases(draw: st.DrawFn) -> Case:
    """A file that something happened to after it was written."""
    layout = draw(layouts())
    objects, _ = draw(json_rows(layout, 0))
    data = draw(json_text(objects)).encode(layout.encoding)
    for _ in range(draw(st.integers(1, 3))):
        data = draw(cases.damaged(data, draw(st.sampled_from('"[]{},:'))))
    case = layout.case(draw(cases.BLOCKS))
    case.files.append(draw(cases.packed(0, "json", data, b"")))
    fill(case.files[0], data, layout)
    return case


@st.composite
def spoiled_json_cases(draw: st.DrawFn) -> Case:
    """A file with one object that has to be refused by its number."""
    layout = draw(layouts())
    objects, _ = draw(json_rows(layout, 0))
    title = json.dumps(layout.roles.title)
    spoiled = draw(
        st.sampled_from(
            [f"{title}: 1, {title}: 2", f"{title}: {{}}", f"{title}: [1]", f'{title}: "\\ud800"',
             '"x": 1, "x": 2']
        )
    )  # fmt: skip
    place = draw(st.integers(0, len(objects)))
    whole = [*objects[:place], f"{{{spoiled}}}", *objects[place:]]
    data = draw(dialects.encoded(draw(json_text(whole)), layout.encoding))
    case = layout.case(draw(cases.BLOCKS))
    case.files.append(draw(cases.packed(0, "json", data, b"")))
    case.files[0].refusal = f"row {place + 1}"
    return case


JSON_NAMES = [*dialects.COLUMNS, "\x00", "\u2028", "a/b", "price\t"]


@st.composite
def json_members(draw: st.DrawFn, roles: Roles, number: int, shape: str) -> list[tuple[str, Value]]:
    """Every column that is read, now and then without a member for it."""
    text = scalars(dialects.TEXTS)
    found: dict[str, Value] = {column: draw(text) for column in roles.columns()}
    found[roles.item_id] = draw(
        st.one_of(
            strings(cases.item_ids(dialects.TEXTS).map(lambda text: text.format(number))),
            st.just((f"{number}", f"{number}")),
            st.just((f"{number}.0", f"{number}")),
        )
    )
    if roles.bullet_points and draw(st.booleans()):
        found[roles.bullet_points] = draw(lists(scalars(dialects.TEXTS)))
    name = strings(cases.SURE) if number == 0 else scalars(st.sampled_from(dialects.NAMES))
    for column in roles.path.columns or []:
        found[column] = draw(name)
    if column := roles.path.column:
        inner = lists(name, least=number == 0)
        path = draw(inner) if shape == "lists" else draw(lists(inner, least=number == 0))
        empty = ("null", None) if shape == "lists" else ("[]", [])
        texts = draw(name if number == 0 else st.one_of(strings(cases.NAMES_IN_TEXT), NUMBERS))
        lists_ = path if number == 0 else draw(st.sampled_from([path, path, empty]))
        found[column] = texts if shape == "texts" else lists_
    optional = [roles.title, roles.description, roles.bullet_points, roles.locale]
    return [(n, v) for n, v in found.items() if n not in optional or number == 0 or draw(LIKELY)]


LIKELY = st.sampled_from([True, True, False])


@st.composite
def json_object(draw: st.DrawFn, members: list[tuple[str, Value]]) -> str:
    """The text of an object."""
    space = draw(st.sampled_from(["", " ", "\n", "\r\n\t"]))
    written = [
        f"{space}{draw(spelled(name))[0]}{space}:{space}{value}{space}"
        for name, (value, _) in members
    ]
    return f"{{{space}{','.join(written)}}}"


@st.composite
def json_text(draw: st.DrawFn, objects: list[str]) -> str:
    """One object after the other, or all in an array."""
    space = draw(st.sampled_from(["", " ", "\n", "\r\n", "\r", "\n\n \t"]))
    if draw(st.booleans()):
        return f"{space}[{space}" + f"{space},{space}".join(objects) + f"{space}]{space}"
    between = draw(st.sampled_from(["\n", "\r\n", " ", "", "\n\n"]))
    return between.join(objects) + space


def parquet_bytes(table: pa.Table, **options: Any) -> bytes:
    """A file."""
    sink = io.BytesIO()
    pq.write_table(table, sink, **options)
    return sink.getvalue()


def float_text(value: Any) -> Any:
    """None for NaN, all digits of a whole number."""
    if np.isnan(value):
        return None
    if np.isinf(value):
        return "inf" if value > 0 else "-inf"
    return str(int(value)) if float(value).is_integer() else FloatText(value)


@st.composite
def typed(draw: st.DrawFn, texts: st.SearchStrategy[str], rows: int) -> tuple[pa.Array, list[Any]]:
    """A column of scalars of some type, and the texts that it stands for."""
    kind = draw(st.sampled_from(list(TYPES)))
    make, values, text_of = TYPES[kind]
    value = st.one_of(st.none(), texts if values is None else values)
    found = draw(st.lists(value, min_size=rows, max_size=rows))
    return make(found), [None if value is None else text_of(value) for value in found]


def _same(value: Any) -> Any:
    return value


def _decimal_text(value: Decimal) -> str:
    return str(int(value)) if value == int(value) else str(value)


FLOATS = st.one_of(
    st.sampled_from([0.0, -0.0, 1.0, -2.0, 1e15, 1e16, 2.0**63, 1e22, 1e300, 0.1, 1e-7, 1.5e-320,
                     float("nan"), float("inf"), 123456.789, 9007199254740993.0]),
    st.floats(),
)  # fmt: skip
INTS = st.integers(-(2**63), 2**63 - 1)
DECIMALS = st.decimals(-(10**15), 10**15, places=3).map(lambda d: d.quantize(Decimal("0.001")))
DAYS = st.dates(date(1, 1, 1), date(9999, 12, 31))
TIMES = st.datetimes(datetime(1, 1, 1), datetime(9999, 12, 31))
TYPES: dict[str, tuple[Any, Any, Any]] = {
    "string": (lambda v: pa.array(v, pa.string()), None, _same),
    "large_string": (lambda v: pa.array(v, pa.large_string()), None, _same),
    "dictionary": (lambda v: pa.array(v, pa.string()).dictionary_encode(), None, _same),
    "string_view": (lambda v: pa.array(v, pa.string_view()), None, _same),
    "binary": (
        lambda v: pa.array([None if t is None else t.encode() for t in v], pa.binary()), None, _same
    ),
    "large_binary": (
        lambda v: pa.array([None if t is None else t.encode() for t in v], pa.large_binary()),
        None,
        _same,
    ),
    "int64": (lambda v: pa.array(v, pa.int64()), INTS, str),
    "int8": (lambda v: pa.array(v, pa.int8()), st.integers(-128, 127), str),
    "uint64": (lambda v: pa.array(v, pa.uint64()), st.integers(0, 2**64 - 1), str),
    "dictionary of int": (
        lambda v: pa.array(v, pa.int64()).dictionary_encode(), st.integers(0, 3), str
    ),
    "float64": (lambda v: pa.array(v, pa.float64()), FLOATS, float_text),
    "float32": (
        lambda v: pa.array(v, pa.float32()),
        st.floats(width=32).map(np.float32),
        float_text,
    ),
    "float16": (
        lambda v: pa.array(v, pa.float16()),
        st.floats(width=16).map(np.float16),
        lambda value: float_text(float(value)),
    ),
    "decimal": (lambda v: pa.array(v, pa.decimal128(22, 3)), DECIMALS, _decimal_text),
    "decimal256": (lambda v: pa.array(v, pa.decimal256(50, 3)), DECIMALS, _decimal_text),
    "bool": (lambda v: pa.array(v, pa.bool_()), st.booleans(), lambda v: str(v).lower()),
    "date": (lambda v: pa.array(v, pa.date32()), DAYS, str),
    "timestamp": (lambda v: pa.array(v, pa.timestamp("us")), TIMES, str),
    "null": (lambda v: pa.nulls(len(v)), st.none(), _same),
}  # fmt: skip


@st.composite
def parquet_cases(draw: st.DrawFn) -> Case:
    """One or two files of columns of all types."""
    names = draw(st.lists(st.sampled_from(JSON_NAMES), min_size=9, max_size=10, unique=True))
    names = [name.strip() or "blank" for name in names]
    roles = draw(cases.roles(names, cases.SEPARATORS))
    shape = draw(st.sampled_from(["lists", "lists of lists", "texts"]))
    if shape != "texts" and roles.path.column:
        roles.path.path_separator = None
        roles.path.separator = None if shape == "lists of lists" else roles.path.separator
    nulls = draw(st.sampled_from([[], ["nan", "-7"]]))
    case = Case([], roles, {"null_values": nulls} if nulls else {}, nulls, block=draw(cases.BLOCKS))
    number = 0
    for place in range(draw(st.sampled_from([1, 1, 2]))):
        rows = draw(st.integers(0 if place else 1, 6))
        columns: dict[str, tuple[pa.Array, list[Any]]] = {
            name: draw(typed(dialects.TEXTS, rows)) for name in roles.columns()
        }
        columns |= draw(parquet_roles(roles, rows, number, shape))
        held = columns[roles.bullet_points][1] if roles.bullet_points else []
        if any(isinstance(value, FloatText) for value in held):
            roles.bullet_separator = None  # which may be the point in it
        extra = [name for name in names if name not in columns]
        columns |= {name: draw(typed(dialects.TEXTS, rows)) for name in extra[:1]}
        number += rows
        case.files.append(draw(parquet_file(place, columns, rows)))
    return case


@st.composite
def parquet_file(
    draw: st.DrawFn, place: int, columns: dict[str, tuple[pa.Array, list[Any]]], rows: int
) -> InputFile:
    """A file of some columns in any order."""
    order = draw(st.permutations([*columns]))
    table = pa.table([columns[name][0] for name in order], names=order)
    data = parquet_bytes(
        table,
        compression=draw(st.sampled_from(["none", "snappy", "zstd", "gzip"])),
        row_group_size=draw(st.sampled_from([1, 2, 100])),
        data_page_version=draw(st.sampled_from(["1.0", "2.0"])),
        use_dictionary=draw(st.booleans()),
        store_schema=draw(st.booleans()),
    )
    file = draw(cases.packed(place, draw(st.sampled_from(["parquet", "pq"])), data, b"no"))
    file.rows = [{name: columns[name][1][n] for name in order} for n in range(rows)]
    file.other = Counter()
    return file


@st.composite
def parquet_roles(
    draw: st.DrawFn, roles: Roles, rows: int, number: int, shape: str
) -> dict[str, tuple[pa.Array, list[Any]]]:
    """Columns that not any value fits."""
    found: dict[str, tuple[pa.Array, list[Any]]] = {}
    numbers = range(number, number + rows)
    kind = draw(st.sampled_from([pa.int32(), pa.float64(), pa.decimal128(21, 2), pa.string()]))
    ids: list[Any] = [float(n) if kind == pa.float64() else n for n in numbers]
    if kind == pa.string():
        ids = [draw(cases.item_ids(dialects.TEXTS)).format(n) for n in numbers]
        found[roles.item_id] = pa.array(ids, kind), ids
    else:
        found[roles.item_id] = pa.array(ids).cast(kind), [str(n) for n in numbers]
    # Not lists of these: Arrow cannot read them over several row groups.
    text = pa.dictionary(pa.int32(), pa.string()) if draw(st.booleans()) else pa.large_string()
    name = st.one_of(st.none(), st.sampled_from(dialects.NAMES))
    for column in roles.path.columns or []:
        names = [draw(name if n else cases.SURE) for n in numbers]
        found[column] = pa.array(names, text), names
    several = st.lists(st.one_of(st.none(), dialects.TEXTS), max_size=3)
    if roles.bullet_points and draw(st.booleans()):
        values = [draw(st.one_of(st.none(), several)) for _ in numbers]
        found[roles.bullet_points] = pa.array(values, pa.list_(pa.string())), values
    if column := roles.path.column:
        found[column] = draw(parquet_paths(shape, name, rows, sure=number == 0))
    return found


@st.composite
def parquet_paths(
    draw: st.DrawFn, shape: str, name: st.SearchStrategy[str | None], rows: int, sure: bool
) -> tuple[pa.Array, list[Any]]:
    """A column of texts, of lists or of lists of lists."""
    path = st.lists(name, max_size=3)
    kinds: dict[str, tuple[Any, pa.DataType]] = {
        "texts": (cases.NAMES_IN_TEXT, pa.string()),
        "lists": (path, draw(st.sampled_from([pa.list_, pa.large_list]))(pa.string())),
        "lists of lists": (
            st.lists(st.one_of(st.none(), path), max_size=3),
            pa.list_(pa.large_list(pa.string())),
        ),
    }
    values, kind = kinds[shape]
    found = [draw(st.one_of(st.none(), values)) for _ in range(rows)]
    if sure:
        first = draw(cases.SURE)
        found[0] = {"texts": first, "lists": [first], "lists of lists": [[], [first]]}[shape]
    return pa.array(found, kind), found
