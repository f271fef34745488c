"""What Python's json makes of a file, with the documented meaning of each value."""

import json
import math
import re
from decimal import Decimal
from typing import Any

from .dialects import decoded
from .oracle import Roles, Row

SPACE = re.compile(r"[ \t\n\r]*")


class Number(str):
    """A number as it was written."""


class Pairs(tuple[Any, ...]):
    """An object's members."""


def json_reading(data: bytes, encoding: str, roles: Roles) -> list[Row]:
    """Records of a file: one object after the other, or one array of objects.

    Raises:
        ValueError: With what a refusal has to say, if it holds something else.
    """
    text = decoded(data, encoding)
    try:
        values = _values(text)
    except (json.JSONDecodeError, RecursionError) as error:
        raise ValueError("no JSON", str(error)) from error
    rows = []
    for number, value in enumerate(values, start=1):
        if not isinstance(value, Pairs):
            raise ValueError(f"row {number} is ")
        row = dict(value)
        if len(row) < len(value):
            raise ValueError(f"row {number} names ")
        rows.append({c: row_value(row.get(c), c, number, roles) for c in roles.columns()})
    return rows


def _values(text: str) -> list[Any]:
    decoder = json.JSONDecoder(object_pairs_hook=Pairs, parse_float=Number, parse_int=Number)
    at = _skip(text, 0)
    if text[at : at + 1] == "[":
        value, end = decoder.raw_decode(text, at)
        if _skip(text, end) < len(text):
            raise json.JSONDecodeError("more behind the array", text, end)
        return list(value)
    values = []
    while at < len(text):
        value, end = decoder.raw_decode(text, at)
        values.append(value)
        at = _skip(text, end)
    return values


def _skip(text: str, at: int) -> int:
    found = SPACE.match(text, at)
    return found.end() if found else at


def row_value(value: Any, column: str, number: int, roles: Roles) -> Any:
    """The text, list or list of lists that a member stands for.

    Raises:
        ValueError: If its role takes no such value.
    """
    where = f"row {number}, column '{column}'"
    if column == roles.bullet_points and isinstance(value, list):
        return [text_of(item, where) for item in value]
    if column == roles.path.column and isinstance(value, list):
        if any(isinstance(item, list) for item in value):
            return [None if v is None else _texts(v, where) for v in value]
        return _texts(value, where)
    return text_of(value, where)


def _texts(values: Any, where: str) -> list[Any]:
    if not isinstance(values, list):
        raise ValueError(where)
    return [text_of(value, where) for value in values]


def text_of(value: Any, where: str) -> str | None:
    """The text of a scalar; a whole number has neither point nor exponent."""
    if isinstance(value, Number):
        number = Decimal(value)
        return str(int(number)) if number == int(number) else str(value)
    if isinstance(value, bool):
        return str(value).lower()
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    if isinstance(value, float):
        return "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, Pairs | list):
        raise ValueError(where)
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise ValueError(where) from error
    return str(value)
