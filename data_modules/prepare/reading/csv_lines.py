"""Lines of a text file for Python's csv, with their numbers."""

import re
from collections.abc import Iterator

from data_modules.prepare.reading.records import Tally
from data_modules.prepare.reading.streams import MAX_RECORD
from hierarchy_lm.errors import UserError

LINE_END = re.compile("\r\n|\n|\r")
INNER = "\x1f"
"""Stands for a delimiter of several characters while Python's csv reads."""
NULL = "\ufdd0N\ufdd0"
"""Stands for a missing value meanwhile; U+FDD0 is no character and meant for such use."""


class Lines:
    """Lines of text blocks with their ends; a lone CR ends one too.

    Args:
        blocks: The text.
        comment: What a line that is left out between two records starts with.
        tally: Counts these lines.
        label: What messages call the file.

    Attributes:
        number: Lines so far.
        first: Number of the line at which the record began.
    """

    def __init__(self, blocks: Iterator[str], comment: str, tally: Tally, label: str) -> None:
        self.number = self.first = 0
        self._blocks = blocks
        self._text = ""
        self._at = 0
        self._comment = comment
        self._tally = tally
        self._label = label
        self._between = True

    @classmethod
    def of(cls, text: str, before: "Lines") -> "Lines":
        """Lines of a text that follows what another reader read."""
        lines = cls(iter((text,)), "", before._tally, before._label)
        lines.number = before.number
        return lines

    def skip(self, count: int) -> None:
        """Leave out lines at the start."""
        for _ in range(count):
            if self._line() is not None:
                self._tally.left_out["lines skipped at the start"] += 1

    def begin_record(self) -> None:
        """The next line begins a record, so it may be a comment."""
        self._between = True

    def take_rest(self) -> str:
        """What was read of a block and not yet given as lines."""
        rest, self._text, self._at = self._text[self._at :], "", 0
        return rest

    def put_back(self, text: str) -> None:
        """Let ``text`` come before the remaining blocks."""
        self._text, self._at = text, 0

    def __iter__(self) -> "Lines":
        return self

    def __next__(self) -> str:
        while (line := self._line()) is not None:
            if self._between:
                self.first = self.number
                if self._comment and line.startswith(self._comment):
                    self._tally.left_out["comment lines"] += 1
                    continue
            self._between = False
            return line
        raise StopIteration

    def marking_nulls(self, delimiter: str, escape: str) -> Iterator[str]:
        """Lines with ``NULL`` for an escaped N between delimiters: MySQL's missing value.

        Inside a quoted value it may be text; then it is not all of the value.
        """
        between = re.escape(delimiter)
        mark = re.compile(rf"(^|{between}){re.escape(escape)}N(?={between}|[\r\n]|$)")
        for line in self:
            self._refuse(NULL, line, "'escape'")
            yield mark.sub(rf"\g<1>{NULL}", line) if escape in line else line

    def replacing(self, delimiter: str) -> Iterator[str]:
        """Lines with one character in place of a delimiter of several."""
        for line in self:
            self._refuse(INNER, line, "a delimiter of several characters")
            yield line.replace(delimiter, INNER)

    def _refuse(self, character: str, line: str, option: str) -> None:
        if character in line:
            raise UserError(
                f"{self._label}: line {self.number} holds the control character "
                f"{character!a}, which {option} does not allow; remove it"
            )

    def _line(self) -> str | None:
        while True:
            end = LINE_END.search(self._text, self._at)
            if end and not (end[0] == "\r" and end.end() == len(self._text)):
                return self._cut(end.end())
            block = next(self._blocks, None)
            if block is None:
                return self._cut(end.end() if end else len(self._text))
            self._text, self._at = self._text[self._at :] + block, 0
            if len(self._text) > MAX_RECORD:
                raise UserError(
                    f"{self._label}: line {self.number + 1} is longer than {MAX_RECORD >> 20} MB"
                )

    def _cut(self, end: int) -> str | None:
        line = self._text[self._at : end]
        self._at = end
        if not line:
            return None
        self.number += 1
        return line
