"""What each role of a mapping takes from a row, and how that becomes a text or a list of texts."""

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from data_modules.prepare.mapping.rows import PathOptions
from data_modules.prepare.names import filled, node_name, normal_name
from data_modules.prepare.reading.faults import RowError
from data_modules.prepare.reading.records import Column
from data_modules.prepare.reading.values import Decoder, each, text_of, texts_of

Form = Literal["text", "plain", "name", "folded", "node_name", "number", "texts", "labels", "paths"]
STRINGS = pa.list_(pa.string())
LARGEST = float(np.finfo(np.float32).max)
COMMA_NUMBER = re.compile(r"\+?(\d{1,3}(\.\d{3})+|\d+)(,\d+)?")
NAMES: dict[str, Callable[[str], str]] = {
    "name": normal_name,
    "node_name": node_name,
    "folded": lambda text: normal_name(text).lower(),
}


@dataclass(frozen=True)
class Field:
    """A column of the canonical rows.

    Attributes:
        name: Of the canonical column.
        column: The user's column.
        form: ``text`` as it stands; ``plain`` without blanks at its ends; ``name`` and
            ``node_name`` in normal form, ``folded`` in lower case too; ``number`` from 0 on;
            ``texts`` a list; ``labels`` a list in normal form; ``paths`` a list of paths or node
            keys.
        separator: What cuts a text into a list.
        template: What to write of an object in a list.
        path: Options of a path.
    """

    name: str
    column: str
    form: Form
    separator: str = ""
    template: str = ""
    path: PathOptions | None = None

    @property
    def type(self) -> pa.DataType:
        """Of the canonical column."""
        if self.form in ("texts", "labels", "paths"):
            return STRINGS
        return pa.float32() if self.form == "number" else pa.string()


@dataclass(frozen=True)
class Rules:
    """How all fields of a file are read.

    Attributes:
        decoder: For bytes where a text should be.
        null_values: Texts that mean "missing".
        decimal: Decimal mark.
    """

    decoder: Decoder
    null_values: tuple[str, ...] = ()
    decimal: str = "."

    def known(self, texts: pa.Array) -> pa.Array:
        """The texts, null where one is blank or means "missing"."""
        texts = filled(texts)
        if not self.null_values:
            return texts
        missing = pc.is_in(pc.utf8_trim_whitespace(texts), pa.array(self.null_values, pa.string()))
        return pc.if_else(missing, pa.scalar(None, pa.string()), texts)

    def texts(self, column: Column) -> pa.Array:
        """A column of scalars, null where one is missing."""
        return self.known(texts_of(column, self.decoder))


def canonical(field: Field, column: Column, rules: Rules) -> pa.Array:
    """The column in the field's form.

    Raises:
        RowError: At the first value that the form does not take.
    """
    if field.form == "number":
        return _numbers(column, rules)
    if field.form in ("texts", "labels"):
        return _lists(field, column, rules)
    texts = rules.texts(column)
    if field.form == "plain":
        return by_value(texts, str.strip)
    if field.form == "text":
        return texts
    return by_value(texts, NAMES[field.form])


def by_value(
    texts: pa.Array, convert: Callable[[str], Any], kind: pa.DataType | None = None
) -> Any:  # noqa: ANN401 - an Arrow array
    """Apply a function to each distinct text once."""
    coded = texts.dictionary_encode()
    converted = [convert(text) for text in coded.dictionary.to_pylist()]
    return pa.array(converted, kind or pa.string()).take(coded.indices)


def _numbers(column: Column, rules: Rules) -> pa.Array:
    texts = rules.texts(column)
    comma = rules.decimal == "," and _is_text(column)
    numbers = by_value(texts, _comma_number if comma else _number, pa.float64())
    wrong = pc.index(pc.fill_null(pc.is_nan(numbers), False), True).as_py()
    if wrong >= 0:
        text = str(texts[wrong])
        hint = "; set 'decimal' to a comma if that is its mark" if "," in text and not comma else ""
        raise RowError(wrong, f"holds '{text[:60]}', which is no number from 0 to 3.4e38{hint}")
    return numbers.cast(pa.float32(), safe=False)


def _number(text: str) -> float:
    """The number, or NaN for what is none that float32 holds."""
    try:
        value = float(text) if "_" not in text else math.nan
    except ValueError:
        value = math.nan
    return value if 0 <= value <= LARGEST else math.nan


def _comma_number(text: str) -> float:
    plain = text.strip()
    if not COMMA_NUMBER.fullmatch(plain):
        return math.nan
    return _number(plain.replace(".", "").replace(",", "."))


def _is_text(column: Column) -> bool:
    """Whether a column holds texts; numbers of other formats have no decimal mark to choose."""
    if isinstance(column, list):
        return all(value is None or type(value) is str for value in column)
    kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _lists(field: Field, column: Column, rules: Rules) -> pa.Array:
    """Bullet points or labels: a list, or a text that a separator cuts; blank ones are left out."""
    form = normal_name if field.form == "labels" else str.strip
    values = column if isinstance(column, list) else _listed(column)
    if values is not None:
        spoken = each(values, lambda value: _spoken(field, value, rules))
        lists = pa.array(spoken, STRINGS)
    else:
        texts = rules.texts(column)
        cut = by_value(texts, lambda text: _cut(text, field.separator), STRINGS)
        lists = pc.fill_null(cut, pa.scalar([], STRINGS))
    parents, texts = pc.list_parent_indices(lists), rules.known(pc.list_flatten(lists))
    kept = pc.is_valid(texts)
    return regrouped(by_value(texts.filter(kept), form), parents.filter(kept), len(lists))


def _listed(column: pa.Array) -> list[Any] | None:
    """The values of a nested column; None for a column of scalars."""
    return column.to_pylist() if pa.types.is_nested(column.type) else None


def _cut(text: str, separator: str) -> list[str]:
    return text.split(separator) if separator else [text]


def _spoken(field: Field, value: Any, rules: Rules) -> list[str | None]:  # noqa: ANN401
    if isinstance(value, list):
        return [_item(field, item, rules) for item in value]
    if isinstance(value, dict):
        return [_item(field, value, rules)]
    text = text_of(value, rules.decoder)
    return [] if text is None else [*_cut(text, field.separator)]


def _item(field: Field, value: Any, rules: Rules) -> str | None:  # noqa: ANN401
    if not isinstance(value, dict):
        return text_of(value, rules.decoder)
    there = ", ".join(map(str, value))
    if field.form == "labels":
        raise ValueError(f"holds an object with the members {there}; name a column of texts")
    if not field.template:
        raise ValueError(
            f"holds an object with the members {there}; say what to write of it with "
            "'bullet_format', such as \"{name}: {value}\""
        )
    plain = {str(name): text_of(item, rules.decoder) or "" for name, item in value.items()}
    try:
        return field.template.format_map(plain)
    except (KeyError, IndexError, AttributeError, ValueError) as error:
        raise ValueError(
            f"holds an object that 'bullet_format' does not fit ({error}); it has {there}"
        ) from error


def regrouped(values: pa.Array, parents: pa.Array, rows: int) -> pa.Array:
    """Lists from values and the row of each, in the order of the rows."""
    counts = np.bincount(parents.to_numpy(), minlength=rows)
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), values)
