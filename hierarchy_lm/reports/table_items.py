"""Reads what a tested run said of each item."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from hierarchy_lm.errors import UserError
from hierarchy_lm.metrics.bootstrap import Outcomes, Pairs
from hierarchy_lm.parquet import read_table
from hierarchy_lm.run_files import TEST_ITEMS


class Items(NamedTuple):
    """The test items of a run in the order of their ids.

    Attributes:
        ids: Their ids.
        outcomes: What the run said of them.
    """

    ids: pa.ChunkedArray
    outcomes: Outcomes


def read_items(run: Path) -> Items | None:
    """Test items of a run folder; None if it keeps none.

    Raises:
        UserError: If they cannot be read.
    """
    parts = sorted((run / TEST_ITEMS).glob("part-*.parquet"))
    if not parts:
        return None
    try:
        table = pa.concat_tables([read_table(part) for part in parts]).sort_by("item_id")
        metadata = table.schema.metadata
        outcomes = Outcomes(
            gold=_pairs(table["gold"].combine_chunks()),
            predicted=_pairs(table["predicted"].combine_chunks()),
            weights=table["weight"].to_numpy().astype(np.float64),
            num_labels=int(metadata[b"num_labels"]),
            level_offsets=tuple(json.loads(metadata.get(b"level_offsets", b"[]"))),
        )
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise UserError(
            f"{run / TEST_ITEMS}: cannot be read ({error}); test the run again"
        ) from error
    return Items(table["item_id"], outcomes)


def same_items(items: Sequence[Items]) -> bool:
    """Whether all runs were tested on the same items with the same gold labels."""
    first, *others = items
    return all(
        other.ids.equals(first.ids)
        and all(map(np.array_equal, other.outcomes.gold, first.outcomes.gold))
        and other.outcomes.num_labels == first.outcomes.num_labels
        for other in others
    )


def _pairs(lists: pa.ListArray) -> Pairs:
    counts = lists.value_lengths().to_numpy()
    owners = np.repeat(np.arange(len(lists)), counts)
    return Pairs(owners, lists.flatten().to_numpy().astype(np.int64))
