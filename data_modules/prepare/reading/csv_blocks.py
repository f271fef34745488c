"""Whole records of a block of CSV: counted by its line ends and quotes, parsed by pyarrow."""

from codecs import BOM_UTF8
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
from numpy.typing import NDArray

LF, CR = 10, 13

Bytes = NDArray[np.uint8]
Places = NDArray[np.int64]


@dataclass(frozen=True)
class WholeRecords:
    """The whole records at the start of a block.

    Attributes:
        end: Bytes that they take.
        count: Their number.
        blank: Blank lines between them, which are no records.
        lines: Lines that they take, those inside quotes included.
    """

    end: int
    count: int
    blank: int
    lines: int


def whole_records(data: bytes, delimiter: str, quote: str, last: bool) -> WholeRecords | None:
    """Find the whole records of a block that begins with a record.

    Args:
        data: UTF-8.
        delimiter: One ASCII character.
        quote: One ASCII character, or nothing.
        last: Whether the file ends here, so that a CR at the end has no LF behind it.

    Returns:
        None where a quote stands inside an unquoted value or text behind a closing quote: then
        counting quotes does not tell what is inside them.
    """
    block = np.frombuffer(data, dtype=np.uint8)
    ends = _line_ends(block, last)
    outer = ends
    if quote and quote.encode() in data:
        quotes = np.flatnonzero(block == ord(quote))
        outer = ends[np.searchsorted(quotes, ends) % 2 == 0]
        end = int(outer[-1]) + 1 if len(outer) else 0
        if not _regular(block, quotes[quotes < end], ord(delimiter), ord(quote)):
            return None
        if not last and not _opens_rightly(block, quotes[quotes >= end], ord(delimiter)):
            return None
    if not len(outer):
        return WholeRecords(0, 0, 0, 0)
    starts = np.concatenate([[0], outer[:-1] + 1])
    crlf = (block[outer] == LF) & (outer > starts) & (block[outer - 1] == CR)
    blank = int(np.count_nonzero(outer - starts - crlf == 0))
    lines = int(np.searchsorted(ends, outer[-1], side="right"))
    return WholeRecords(int(outer[-1]) + 1, len(outer) - blank, blank, lines)


def parse(
    data: bytes, names: list[str], wanted: list[str], delimiter: str, quote: str
) -> pa.Table | None:
    """The wanted columns of whole records as texts; None where Python's csv has to read them.

    Args:
        data: UTF-8.
        names: Of all columns.
        wanted: Of the columns to give.
        delimiter: One ASCII character.
        quote: One ASCII character, or nothing.
    """
    if data.startswith(BOM_UTF8):  # at the start of a record it is text, and pyarrow drops it
        return None
    wrong = []

    def skip(row: object) -> str:
        wrong.append(row)
        return "skip"

    places = [f"c{place}" for place in range(len(names))]
    chosen = [f"c{names.index(name)}" for name in wanted] or places[:1]
    table = pa_csv.read_csv(
        pa.py_buffer(data),
        read_options=pa_csv.ReadOptions(
            column_names=places, use_threads=False, block_size=len(data) + 1
        ),
        parse_options=pa_csv.ParseOptions(
            delimiter=delimiter,
            quote_char=quote or False,
            newlines_in_values=True,
            invalid_row_handler=skip,
        ),
        convert_options=pa_csv.ConvertOptions(
            check_utf8=False,
            column_types=dict.fromkeys(chosen, pa.string()),
            null_values=[],
            include_columns=chosen,
        ),
    )
    return None if wrong else table.rename_columns(wanted or chosen)


def _line_ends(block: Bytes, last: bool) -> Places:
    """Positions of LF, and of CR without LF behind it."""
    is_end = block == LF
    cr = np.flatnonzero(block == CR)
    if len(cr):
        inner = cr[cr + 1 < len(block)]
        is_end[inner[block[inner + 1] != LF]] = True
        if last and block[-1] == CR:
            is_end[-1] = True
    return np.flatnonzero(is_end)


def _regular(block: Bytes, quotes: Places, delimiter: int, quote: int) -> bool:
    """Whether quotes open at the start of a value, or stand doubled, and close at its end."""
    opening, closing = quotes[0::2], quotes[1::2]
    before = block[np.maximum(opening - 1, 0)]
    starts = (opening == 0) | _is_edge(before, delimiter)
    starts[1:] |= opening[1:] == closing[: len(opening) - 1] + 1
    after = block[np.minimum(closing + 1, len(block) - 1)]
    stops = _is_edge(after, delimiter) | (after == quote)
    return bool(starts.all() and stops.all())


def _opens_rightly(block: Bytes, quotes: Places, delimiter: int) -> bool:
    """Whether the first quote of the record that goes on in the next block opens a value."""
    if not len(quotes):
        return True
    return bool(quotes[0] == 0 or _is_edge(block[quotes[:1] - 1], delimiter)[0])


def _is_edge(characters: Bytes, delimiter: int) -> NDArray[np.bool_]:
    return np.isin(characters, (delimiter, LF, CR))
