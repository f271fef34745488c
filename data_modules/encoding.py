"""Parquet row groups to token rows: the work of one process while a token cache is built."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray
from tokenizers import Tokenizer

from data_modules.columns import read_row_groups
from data_modules.node_texts import LINKS, NodeTexts
from data_modules.shards import Shard
from hierarchy_lm.errors import UserError
from hierarchy_lm.text import ProductTokenizer, SpecialTokens, TextOptions

ROWS_PER_JOB = 20_000


class EncodedRows(NamedTuple):
    """What one job returns; arrays are ragged over N rows."""

    item_ids: pa.Array
    ids: NDArray[Any]
    lengths: NDArray[np.int64]
    boundaries: NDArray[np.int64]
    labels: NDArray[np.int32]
    label_counts: NDArray[np.int64]
    weights: NDArray[np.float32]
    truncated: int
    invalid_utf8: int


@dataclass(frozen=True)
class EncodeJob:
    """Row groups of one shard, with all that is needed to encode them in another process.

    Attributes:
        path: The shard.
        row_groups: Which of its row groups.
        tokenizer_json: The tokenizer, as its library writes it.
        special: Its special tokens.
        text: Text options.
        pair: Whether a query stands before the text.
        label_column: Column of label ids.
        num_labels: Ids must be below this.
        weighted: Whether the rows have an importance, in the column ``weight``.
        dtype: Integer type of the token ids.
        nodes: If given, each row's nodes stand in front of its text.
    """

    path: Path
    row_groups: Sequence[int]
    tokenizer_json: str
    special: SpecialTokens
    text: TextOptions
    pair: bool
    label_column: str
    num_labels: int
    weighted: bool
    dtype: str
    nodes: NodeTexts | None = None

    def run(self) -> EncodedRows:
        """Read, check and tokenise the rows.

        Raises:
            UserError: If the shard cannot be read or holds an unknown label id.
        """
        linked = self.nodes is not None
        columns = read_columns(self.text, self.pair, self.label_column, self.weighted, linked)
        table, invalid = read_row_groups(self.path, self.row_groups, columns)
        tokenizer = ProductTokenizer(
            Tokenizer.from_str(self.tokenizer_json), self.special, self.text, self.pair, linked
        )
        rows = tokenizer.encode(self._with_node_text(table))
        labels, counts = read_ids(
            self.path, self.row_groups, table, self.label_column, self.num_labels
        )
        return EncodedRows(
            item_ids=table["item_id"].combine_chunks(),
            ids=rows.ids.astype(self.dtype),
            lengths=rows.lengths,
            boundaries=rows.boundaries,
            labels=labels,
            label_counts=counts,
            weights=read_weights(self.path, self.row_groups, table),
            truncated=rows.truncated,
            invalid_utf8=invalid,
        )

    def _with_node_text(self, table: pa.Table) -> pa.Table:
        if self.nodes is None:
            return table
        read_ids(self.path, self.row_groups, table, LINKS, len(self.nodes.texts))
        return table.append_column("node_text", self.nodes.of(table[LINKS]))


def read_ids(
    path: Path, row_groups: Sequence[int], table: pa.Table, name: str, count: int
) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Ids of a list column of some row groups, and how many each row has.

    Raises:
        UserError: If an id is not below ``count``.
    """
    lists = table[name].combine_chunks()
    counts = pc.fill_null(pc.list_value_length(lists), 0).to_numpy(zero_copy_only=False)
    flat = lists.flatten()
    ids = pc.fill_null(flat, -1).to_numpy(zero_copy_only=False)
    wrong = np.flatnonzero((ids < 0) | (ids >= count))
    if len(wrong):
        row = int(np.searchsorted(np.cumsum(counts), wrong[0], side="right"))
        raise UserError(
            f"{path}: row {_first_row(path, row_groups) + row}: {name} holds "
            f"{flat[int(wrong[0])].as_py()}, but ids go from 0 to {count - 1}; "
            "prepare the dataset again"
        )
    return ids.astype(np.int32), counts.astype(np.int64)


def read_weights(path: Path, row_groups: Sequence[int], table: pa.Table) -> NDArray[np.float32]:
    """Importance of the rows of some row groups, 1 each without the column ``weight``.

    Raises:
        UserError: If one is negative or no number.
    """
    if "weight" not in table.column_names:
        return np.ones(len(table), dtype=np.float32)
    column = pc.fill_null(table["weight"].cast(pa.float32()), 1.0)
    weights: NDArray[np.float32] = column.to_numpy()
    wrong = np.flatnonzero(~(np.isfinite(weights) & (weights >= 0)))
    if len(wrong):
        raise UserError(
            f"{path}: row {_first_row(path, row_groups) + int(wrong[0])}: weight is "
            f"{weights[wrong[0]]}, but importance is a finite number of at least 0"
        )
    return weights


def _first_row(path: Path, row_groups: Sequence[int]) -> int:
    metadata = pq.ParquetFile(path).metadata
    return sum(metadata.row_group(group).num_rows for group in range(row_groups[0]))


def read_columns(
    text: TextOptions,
    pair: bool,
    label_column: str,
    weighted: bool = False,
    linked: bool = False,
) -> list[str]:
    """Columns of a shard that encoding needs."""
    query, weight = ["query"] if pair else [], ["weight"] if weighted else []
    links = [LINKS] if linked else []
    return ["item_id", *text.fields, *query, label_column, *weight, *links]


def split_shard(shard: Shard) -> Iterator[list[int]]:
    """Consecutive row groups of about ``ROWS_PER_JOB`` rows."""
    groups: list[int] = []
    rows = 0
    metadata = pq.ParquetFile(shard.path).metadata
    for group in range(shard.num_row_groups):
        groups.append(group)
        rows += metadata.row_group(group).num_rows
        if rows >= ROWS_PER_JOB:
            yield groups
            groups, rows = [], 0
    if groups:
        yield groups
