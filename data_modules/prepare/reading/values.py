"""Values of any type as texts, by one set of rules for all formats (docs/prepare.md, "Types").

Whole numbers lose their ".0", bytes are decoded, NaN is missing; lists and objects are no texts.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from data_modules.prepare.reading.faults import RowError
from data_modules.prepare.reading.json_records import plain_number
from data_modules.prepare.reading.records import Column
from data_modules.prepare.reading.streams import REPLACED

WIDEST_INTEGER = 2.0**63


@dataclass
class Decoder:
    """Turns bytes that stand where a text should be into text, by the mapping's ``encoding``.

    Attributes:
        encoding: As the mapping says.
        replaced: Characters put in place of invalid ones so far.
    """

    encoding: str
    replaced: int = 0

    def text(self, raw: bytes) -> str:
        """Bytes as text; raises ValueError if they are not in the encoding."""
        codec = self.encoding.removesuffix("-replace")
        try:
            return raw.decode(codec)
        except UnicodeDecodeError as error:
            if self.encoding.endswith("-replace"):
                return self._counted(raw.decode(codec, "replace"), raw.count(REPLACED.encode()))
            raise ValueError(
                f"is not {self.encoding} (byte 0x{raw[error.start]:02x}); set 'encoding' to "
                "utf-8-replace or latin-1"
            ) from error

    def character_text(self, text: str) -> str:
        """The text, if all in it are characters; raises ValueError at half a surrogate pair."""
        try:
            text.encode()
        except UnicodeEncodeError as error:
            if self.encoding.endswith("-replace"):
                mended = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
                return self._counted(mended, text.count(REPLACED))
            raise ValueError(
                "holds half of a surrogate pair, which is no character; set 'encoding' to "
                "utf-8-replace"
            ) from error
        return text

    def _counted(self, mended: str, before: int) -> str:
        self.replaced += mended.count(REPLACED) - before
        return mended


def texts_of(column: Column, decoder: Decoder) -> pa.Array:
    """A column of scalars as texts.

    Raises:
        RowError: At the first list, object or undecodable text.
    """
    if isinstance(column, list):
        return _texts_of_values(column, decoder)
    kind = column.type
    if pa.types.is_dictionary(kind):
        # Categories, each turned to text once.
        return texts_of(column.dictionary, decoder).take(column.indices)
    if _is_string(kind):
        return _checked(column.cast(pa.string()), decoder)
    if _is_binary(kind):
        return _decoded(column, decoder)
    if pa.types.is_floating(kind):
        return _texts_of_floats(column.cast(pa.float64()) if kind == pa.float16() else column)
    if pa.types.is_null(kind) or pa.types.is_boolean(kind) or pa.types.is_integer(kind):
        return column.cast(pa.string())
    return _texts_of_values(column.to_pylist(), decoder)


def text_of(value: Any, decoder: Decoder) -> str | None:  # noqa: ANN401 - values of files
    """One scalar as text; None for a missing one.

    Raises:
        ValueError: If it is a list or an object, or cannot be decoded.
    """
    if value is None:
        return None
    if isinstance(value, str):
        return decoder.character_text(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return None if math.isnan(value) else _text_of_float(value)
    if isinstance(value, Decimal):
        return None if value.is_nan() else plain_number(str(value))
    if isinstance(value, bytes):
        return decoder.text(value)
    if isinstance(value, (datetime, date, time)):
        return str(value)
    if isinstance(value, (list, tuple)):
        raise ValueError("holds a list where one text is expected; name another column")
    if isinstance(value, dict):
        members = ", ".join(map(str, list(value)[:8]))
        raise ValueError(
            f"holds an object with the members {members} where one text is expected; name another "
            "column"
        )
    return str(value)


def each(values: list[Any], convert: Callable[[Any], Any]) -> list[Any]:
    """Every value converted.

    Raises:
        RowError: Where the conversion raises ValueError.
    """
    converted = []
    for index, value in enumerate(values):
        try:
            converted.append(convert(value))
        except ValueError as error:
            raise RowError(index, str(error)) from error
    return converted


def _texts_of_values(values: list[Any], decoder: Decoder) -> pa.Array:
    if all(type(value) is str or value is None for value in values):
        try:
            return pa.array(values, pa.string())
        except UnicodeEncodeError:
            pass  # half of a surrogate pair, which JSON can spell
    return pa.array(each(values, lambda value: text_of(value, decoder)), pa.string())


def _texts_of_floats(column: pa.Array) -> pa.Array:
    """Shortest digits that give the number back; of a whole one, all digits and no point."""
    column = pc.if_else(pc.is_nan(column), pa.scalar(None, column.type), column)
    texts = column.cast(pa.string())
    whole = pc.and_(pc.is_finite(column), pc.equal(column, pc.floor(column)))
    small = pc.and_(whole, pc.less(pc.abs(column), WIDEST_INTEGER))
    integers = pc.if_else(small, column, pa.scalar(0, column.type)).cast(pa.int64())
    texts = pc.if_else(small, integers.cast(pa.string()), texts)
    large = pc.and_(whole, pc.invert(small))
    if not pc.any(large).as_py():
        return texts
    exact = [
        _text_of_float(value) if is_large else text
        for value, text, is_large in zip(
            column.to_pylist(), texts.to_pylist(), large.to_pylist(), strict=True
        )
    ]
    return pa.array(exact, pa.string())


def _text_of_float(value: float) -> str:
    return str(int(value)) if value.is_integer() else repr(value)


def _checked(column: pa.Array, decoder: Decoder) -> pa.Array:
    """A column of texts whose writer may have put other bytes there."""
    try:
        column.validate(full=True)
    except pa.ArrowInvalid:
        return _decoded(column.cast(pa.binary()), decoder)
    return column


def _decoded(column: pa.Array, decoder: Decoder) -> pa.Array:
    if decoder.encoding in ("utf-8", "utf-8-replace"):
        try:
            return column.cast(pa.binary()).cast(pa.string())  # checks that it is UTF-8
        except pa.ArrowInvalid:
            pass
    values = column.cast(pa.binary()).to_pylist()
    return pa.array(
        each(values, lambda raw: None if raw is None else decoder.text(raw)), pa.string()
    )


def _is_string(kind: pa.DataType) -> bool:
    return bool(
        pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)
    )


def _is_binary(kind: pa.DataType) -> bool:
    return bool(
        pa.types.is_binary(kind)
        or pa.types.is_large_binary(kind)
        or pa.types.is_fixed_size_binary(kind)
        or pa.types.is_binary_view(kind)
    )
