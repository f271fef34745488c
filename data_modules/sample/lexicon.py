"""Words picked by index arrays: a whole column of text at a time."""

from collections.abc import Iterable, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


def join(columns: Sequence[pa.Array], separator: str = " ") -> pa.Array:
    """Join columns row by row, leaving out nulls; null where all are."""
    nothing = ~np.any([column.is_valid().to_numpy(zero_copy_only=False) for column in columns], 0)
    # pyarrow 26 drops a row whose columns are all null, so that such a row gets an empty text.
    anchor = pc.if_else(pa.array(nothing), "", pa.scalar(None, pa.string()))
    joined = pc.binary_join_element_wise(*columns, anchor, separator, null_handling="skip")
    return only(joined, ~nothing)


def only(column: pa.Array, keep: NDArray[np.bool_]) -> pa.Array:
    """The column, null where ``keep`` is false."""
    return pc.if_else(pa.array(keep), column, None)


class Lexicon:
    """Several words per key and locale.

    Args:
        entries: Per key the words of each locale.
    """

    def __init__(self, entries: Iterable[Sequence[Sequence[str]]]) -> None:
        lists = [words for entry in entries for words in entry]
        self._words = pa.array([word for words in lists for word in words], pa.string())
        self._counts = np.array([len(words) for words in lists], dtype=np.int64)
        self._starts = np.cumsum(self._counts) - self._counts

    def pick(self, keys: Ints, locales: Ints, uniform: Floats) -> pa.Array:
        """A word per row; null where the key is -1.

        Args:
            keys: Key of each row.
            locales: Locale number of each row.
            uniform: Numbers in [0, 1) that choose among the words.
        """
        entry = 2 * np.maximum(keys, 0) + locales
        index = self._starts[entry] + (uniform * self._counts[entry]).astype(np.int64)
        return self._words.take(pa.array(index, mask=keys < 0))

    @property
    def size(self) -> int:
        """Number of keys."""
        return len(self._counts) // 2


class Sentences:
    """Sentences with up to two gaps, {0} and {1}, in that order.

    Args:
        templates: The sentences of each locale; the same number of gaps in all.
    """

    def __init__(self, templates: Sequence[Sequence[str]]) -> None:
        pieces = [[_cut(template) for template in locale] for locale in templates]
        self._pieces = [
            Lexicon([[[cut[part] for cut in locale] for locale in pieces]])
            for part in range(len(pieces[0][0]))
        ]

    def fill(self, locales: Ints, uniform: Floats, *gaps: pa.Array) -> pa.Array:
        """A sentence per row with its gaps filled; null where a gap is."""
        keys = np.zeros_like(locales)
        pieces = [piece.pick(keys, locales, uniform) for piece in self._pieces]
        columns = [pieces[0]]
        for gap, piece in zip(gaps, pieces[1:], strict=True):
            columns += [gap, piece]
        return pc.binary_join_element_wise(*columns, "")


def _cut(template: str) -> list[str]:
    return template.replace("{1}", "{0}").split("{0}")
