"""Product texts to token ids: cleaning, a length budget shared by the fields, segments.

All steps work on whole columns (pyarrow, numpy); only the tokenizer's Rust code sees single rows.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Literal, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from tokenizers import Tokenizer

from hierarchy_lm.errors import UserError

TextField = Literal["title", "description", "bullet_points"]

CHARACTERS_PER_TOKEN = 256
"""Longer texts are cut to this many characters per token of ``max_length`` before tokenising: a
10 MB text would take seconds. The tokens kept are the same unless its words are longer than this on
average, as those of an embedded picture are."""


@dataclass(frozen=True)
class TextOptions:
    """How a product's fields become one token sequence.

    Attributes:
        fields: Which fields, in their order in the sequence; the first is cut last.
        max_length: Longest sequence in tokens, special tokens included.
        segments: ``document`` writes all fields as one segment with one [SEP] (SST); ``fields``
            gives each its own segment id and [SEP] (DHPC, C.1).
        clean: ``keep`` the characters, or only ``letters`` of every script (DHPC, C).
        keep_digits: Let ``clean: letters`` keep digits too (sizes, model numbers).
        lowercase: Lower-case before the tokenizer does as it likes.
    """

    fields: Sequence[TextField] = ("title", "description", "bullet_points")
    max_length: int = 128
    segments: Literal["document", "fields"] = "document"
    clean: Literal["keep", "letters"] = "keep"
    keep_digits: bool = False
    lowercase: bool = False

    def __post_init__(self) -> None:
        if not self.fields or len(set(self.fields)) < len(self.fields):
            raise ValueError(f"text.fields must name each field once, got {list(self.fields)}")
        if self.max_length < len(self.fields) + 3:
            raise ValueError(f"text.max_length {self.max_length} leaves no room for tokens")

    def num_segments(self, pair: bool) -> int:
        """Distinct segment ids, with or without a query in front."""
        if self.segments == "fields":
            return len(self.fields)
        return 2 if pair else 1


class SpecialTokens(NamedTuple):
    """Ids that frame a sequence."""

    cls: int
    sep: int
    pad: int


class TokenRows(NamedTuple):
    """Token ids of N documents, ragged.

    Attributes:
        ids: All documents' ids, concatenated.
        lengths: ``(N,)`` tokens per document.
        boundaries: ``(N, S - 1)`` token positions at which segments 1 .. S - 1 begin.
        truncated: Documents that lost tokens to ``max_length``.
    """

    ids: NDArray[np.int64]
    lengths: NDArray[np.int64]
    boundaries: NDArray[np.int64]
    truncated: int


@dataclass(frozen=True)
class ProductTokenizer:
    """Turns columns of product fields (and queries) into token rows.

    Attributes:
        tokenizer: Fast tokenizer, without truncation or padding.
        special: Ids of [CLS], [SEP] and padding.
        options: How fields are cleaned, cut and joined.
        pair: Whether a query stands before the product as a segment of its own.
        linked: Whether ``node_text`` stands before the product's own fields, in their segment (SST,
            Table VII).
    """

    tokenizer: Tokenizer
    special: SpecialTokens
    options: TextOptions = field(default_factory=TextOptions)
    pair: bool = False
    linked: bool = False

    def __post_init__(self) -> None:
        if self.options.segments == "fields" and (self.pair or self.linked):
            what = "a query" if self.pair else "node_text"
            raise UserError(f"text.segments: fields cannot be used with {what}; use document")

    @property
    def num_segments(self) -> int:
        """S, the number of distinct segment ids written."""
        return self.options.num_segments(self.pair)

    def encode(self, columns: pa.Table) -> TokenRows:
        """Token rows of a table of the text fields (and ``query``, ``node_text`` in front)."""
        front = ["query"] * self.pair + ["node_text"] * self.linked
        names = [*front, *self.options.fields]
        fields = [self._encode_column(columns[name]) for name in names]
        lengths = np.stack([lengths for _, lengths in fields], axis=1)
        separators = self._separators(lengths)
        budget = self.options.max_length - 1 - separators.sum(axis=1)
        kept = share_budget(lengths, budget, first_served=len(front) + 1)
        return self._assemble(fields, lengths, kept, separators)

    def _encode_column(
        self, column: pa.ChunkedArray
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        texts = clean(column, self.options).to_pylist()
        encodings = self.tokenizer.encode_batch_fast(texts, add_special_tokens=False)
        ids = [encoding.ids for encoding in encodings]
        lengths = np.fromiter(map(len, ids), dtype=np.int64, count=len(ids))
        flat = np.fromiter(chain.from_iterable(ids), dtype=np.int64, count=int(lengths.sum()))
        return flat, lengths

    def _separators(self, lengths: NDArray[np.int64]) -> NDArray[np.int64]:
        """``(N, F)``: 1 where a [SEP] follows the field. An absent field has none."""
        present = lengths > 0
        if self.options.segments == "fields":
            separators = present.astype(np.int64)
            separators[~present.any(axis=1), 0] = 1  # [CLS] [SEP] for a text of nothing
            return separators
        separators = np.zeros_like(lengths)
        separators[:, -1] = 1
        if self.pair:
            separators[:, 0] = 1
        return separators

    def _assemble(
        self,
        fields: Sequence[tuple[NDArray[np.int64], NDArray[np.int64]]],
        lengths: NDArray[np.int64],
        kept: NDArray[np.int64],
        separators: NDArray[np.int64],
    ) -> TokenRows:
        parts = kept + separators
        ends = 1 + np.cumsum(parts, axis=1)
        total = ends[:, -1]
        row_starts = _starts(total)
        ids = np.empty(int(total.sum()), dtype=np.int64)
        ids[row_starts] = self.special.cls
        for number, (flat, _) in enumerate(fields):
            starts = row_starts + ends[:, number] - parts[:, number]
            source = _ranges(_starts(lengths[:, number]), kept[:, number])
            ids[_ranges(starts, kept[:, number])] = flat[source]
            has_separator = separators[:, number] > 0
            ids[(starts + kept[:, number])[has_separator]] = self.special.sep
        boundaries = ends[:, : self.num_segments - 1]
        truncated = int((kept < lengths).any(axis=1).sum())
        return TokenRows(ids, total, boundaries, truncated)


def share_budget(
    lengths: NDArray[np.int64], budget: NDArray[np.int64], first_served: int
) -> NDArray[np.int64]:
    """How many tokens of each field fit.

    The first fields take what they need in turn; the others share the rest equally, and what a
    short one leaves goes to the longer ones.

    Args:
        lengths: ``(N, F)`` tokens per field.
        budget: ``(N,)`` tokens that fit in all.
        first_served: How many leading fields are served before the others.

    Returns:
        ``(N, F)`` tokens kept per field.
    """
    kept = np.zeros_like(lengths)
    left = budget.copy()
    for number in range(first_served):
        kept[:, number] = np.minimum(lengths[:, number], left)
        left -= kept[:, number]
    rest = lengths[:, first_served:]
    rows = np.arange(len(lengths))
    for turn, column in enumerate(np.argsort(rest, axis=1, kind="stable").T):
        # Shortest field first: none can take more than an equal share of what is left.
        share = np.minimum(rest[rows, column], left // (rest.shape[1] - turn))
        kept[rows, first_served + column] = share
        left -= share
    return kept


def clean(column: pa.ChunkedArray, options: TextOptions) -> pa.ChunkedArray:
    """Column of strings, or of lists of strings, as one cleaned string per row, never null."""
    texts = join_lists(column) if pa.types.is_list(column.type) else column
    if options.clean == "letters":
        kept = r"\p{L}\p{M}\p{N}" if options.keep_digits else r"\p{L}\p{M}"
        texts = pc.replace_substring_regex(texts, rf"[^{kept}]+", " ")
    if options.lowercase:
        texts = pc.utf8_lower(texts)
    texts = pc.replace_substring_regex(texts, r"[\s\p{Z}]+", " ")
    # Cut last: what cleaning drops must not use up the characters.
    texts = pc.utf8_slice_codeunits(texts, 0, CHARACTERS_PER_TOKEN * options.max_length)
    return pc.fill_null(pc.utf8_trim_whitespace(texts), "")


def join_lists(column: pa.ChunkedArray | pa.Array, separator: str = " ") -> pa.ChunkedArray:
    """Items of each list joined to one text; missing items and lists count as empty."""
    lists = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    items = pc.fill_null(lists.flatten(), "")
    counts = pc.fill_null(pc.list_value_length(lists), 0).to_numpy(zero_copy_only=False)
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)
    joined = pc.binary_join(pa.ListArray.from_arrays(pa.array(offsets), items), separator)
    return pa.chunked_array([joined])


def _starts(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Where each of the consecutive runs of ``counts`` items begins."""
    return np.cumsum(counts) - counts


def _ranges(starts: NDArray[np.int64], counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Concatenation of ``arange(start, start + count)`` for every row."""
    return np.repeat(starts - _starts(counts), counts) + np.arange(int(counts.sum()))
