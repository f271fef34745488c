"""Records of JSON: one object after the other, as lines, pretty-printed or in one array."""

import json
import re
from collections.abc import Iterator, Sequence
from decimal import Decimal, InvalidOperation
from typing import Any

from data_modules.prepare.mapping.files import FileOptions
from data_modules.prepare.reading.records import BATCH_ROWS, RawBatch, Tally
from data_modules.prepare.reading.streams import MAX_RECORD, TextBlocks
from hierarchy_lm.errors import UserError

SPACE = re.compile(r"[ \t\n\r]*")
MAX_COLUMNS = 200
"""How many names of members are kept for messages; objects may each have names of their own."""
BATCH_CHARACTERS = 1 << 24
UNFINISHED = 64
"""An error this near to the end of the text read so far may be for want of the rest."""


class NumberText(str):
    """A number with a fraction or exponent; never to be read with another decimal mark."""


def plain_number(text: str) -> NumberText:
    """A number as it was written, but a whole one without point and exponent."""
    try:
        number = Decimal(text)
    except InvalidOperation:  # an exponent beyond all bounds
        return NumberText(text)
    if number.is_finite() and number == number.to_integral_value() and number.adjusted() < 400:
        return NumberText(int(number))
    return NumberText(text)


class Repeated(dict[str, Any]):
    """An object that names a member twice; ``name`` is the first of these."""

    name: str


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) == len(pairs):
        return found
    repeated = Repeated(found)
    seen: set[str] = set()
    for name, _ in pairs:
        if name in seen:
            repeated.name = name
            break
        seen.add(name)
    return repeated


def _constant(name: str) -> str | None:
    return None if name == "NaN" else name


DECODER = json.JSONDecoder(
    object_pairs_hook=_object, parse_float=plain_number, parse_constant=_constant
)
"""Numbers with a fraction are texts from here on; NaN, no JSON but often written, is missing."""


def parse_json(text: str) -> Any:  # noqa: ANN401 - whatever JSON may hold
    """One JSON value that fills the text.

    Raises:
        ValueError: If the text is no JSON.
    """
    return DECODER.decode(text)


class JsonReader:
    """Reads objects; a member that one lacks is missing there.

    Args:
        blocks: The file's text.
        options: Names to change.
    """

    def __init__(self, blocks: TextBlocks, options: FileOptions) -> None:
        self.label = blocks.label
        self.tally = Tally(open_ended=True)
        self.rename = options.rename
        self._blocks = iter(blocks)
        self._text = ""
        self._at = 0
        self._line = 1
        self._waiting = 0
        self._ended = False
        self._wanted: set[str] = set()

    def batches(self, wanted: Sequence[str]) -> Iterator[RawBatch]:
        """The wanted members; raises UserError where the text is no JSON, with its line."""
        self._wanted = set(wanted)
        rows: list[dict[str, Any]] = []
        for record in self._objects():
            rows.append(self._checked(record))
            if len(rows) == BATCH_ROWS or self._waiting > BATCH_CHARACTERS:
                yield self._batch(rows, wanted)
                rows, self._waiting = [], 0
        if rows:
            yield self._batch(rows, wanted)

    def _checked(self, record: object) -> dict[str, Any]:
        number = self.tally.records + 1
        if not isinstance(record, dict):
            raise UserError(
                f"{self.label}: row {number} is {json.dumps(record)[:40]} and no object; a file "
                "holds one object per row"
            )
        if isinstance(record, Repeated):
            raise UserError(f"{self.label}: row {number} names '{record.name}' twice; mend it")
        if self.rename:
            renamed: dict[str, Any] = {
                self.rename.get(str(name), str(name)): value for name, value in record.items()
            }
            if len(renamed) < len(record):
                raise UserError(
                    f"{self.label}: row {number}: two members have one name by 'rename'"
                )
            record = renamed
        columns = self.tally.columns
        for name in record if len(columns) < MAX_COLUMNS else self._wanted & record.keys():
            columns[name] = None
        self.tally.records += 1
        return record

    def _batch(self, rows: list[dict[str, Any]], wanted: Sequence[str]) -> RawBatch:
        columns = {name: [row.get(name) for row in rows] for name in wanted}
        return RawBatch(self.tally.records - len(rows) + 1, len(rows), columns)

    def _objects(self) -> Iterator[object]:
        in_array = self._next() == "["
        if in_array:
            self._at += 1
            if self._next() == "]":
                self._at += 1
                self._check_end()
                return
        while self._next():
            yield self._value()
            following = self._next()
            if in_array:
                self._at += 1
                if following == "]":
                    self._check_end()
                    return
                if following != ",":
                    self._fail("a ',' or ']' is missing in the array")
        if in_array:
            self._fail("the array is never closed")

    def _check_end(self) -> None:
        if self._next():
            self._fail("there is more behind the array")

    def _next(self) -> str:
        """The next character that is no space, and stop before it; nothing at the end."""
        while True:
            place = SPACE.match(self._text, self._at)
            self._at = place.end() if place else self._at
            if self._at < len(self._text):
                return self._text[self._at]
            if not self._more():
                return ""

    def _value(self) -> object:
        while True:
            try:
                value, end = DECODER.raw_decode(self._text, self._at)
            except json.JSONDecodeError as error:
                cut = error.pos > len(self._text) - UNFINISHED or "Unterminated" in error.msg
                if not (cut and self._more()):
                    self._fail(error.msg, error.pos)
            except ValueError:
                self._fail("a number has too many digits")
            except RecursionError:
                self._fail("it is nested too deeply")
            else:
                # A number at the end of what was read may go on.
                if end < len(self._text) or self._text[end - 1] in '}]"' or not self._more():
                    self._waiting += end - self._at
                    self._at = end
                    return value

    def _more(self) -> bool:
        """Read on, at least as much as is waiting: a long record is not to be parsed too often."""
        waiting = self._text[self._at :]
        self._line += self._text.count("\n", 0, self._at)
        self._text, self._at = waiting, 0
        if self._ended:
            return False
        if len(waiting) > MAX_RECORD:
            self._fail(f"a record of over {MAX_RECORD >> 20} MB; is a bracket or quote open?")
        parts = [waiting]
        size = 0
        while size <= len(waiting):
            block = next(self._blocks, None)
            if block is None:
                self._ended = True
                break
            parts.append(block)
            size += len(block)
        self._text = "".join(parts)
        return size > 0

    def _fail(self, why: str, place: int | None = None) -> None:
        line = self._line + self._text.count("\n", 0, self._at if place is None else place)
        raise UserError(f"{self.label}: row {self.tally.records + 1}, line {line}: no JSON ({why})")
