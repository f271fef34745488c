"""What every reader gives: batches of the wanted columns, and a count of all records."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias

import pyarrow as pa

from hierarchy_lm.errors import UserError

Column: TypeAlias = "pa.Array | list[Any]"
"""Values of one column: an Arrow array, or plain Python values of any kind."""
BATCH_ROWS = 8_192


@dataclass(frozen=True)
class RawBatch:
    """Some records in a row of one file, as the file has them.

    Attributes:
        first: Number of the first record in the file, from 1.
        rows: Records.
        columns: The wanted columns that are there.
    """

    first: int
    rows: int
    columns: dict[str, Column]


@dataclass
class Tally:
    """What a reader counted on its way through a file.

    Attributes:
        records: Records of the file.
        left_out: Lines that are no records, by cause.
        columns: Names of the columns, as far as they are known by now.
        open_ended: Whether a record may lack any column, as an object of JSON may.
    """

    records: int = 0
    left_out: Counter[str] = field(default_factory=Counter)
    columns: dict[str, None] = field(default_factory=dict)
    open_ended: bool = False


class Reader(Protocol):
    """Reads one format."""

    tally: Tally
    """What was counted; complete once all batches are read."""

    def batches(self, wanted: Sequence[str]) -> Iterator[RawBatch]:
        """The wanted columns, record by record in the order of the file."""


def named_columns(names: Sequence[object], rename: dict[str, str], label: str) -> list[str]:
    """The columns' names as the mapping knows them, each once.

    Args:
        names: The file's own names; blank ones are numbered from 0.
        rename: The mapping's ``rename``.
        label: Of the file.

    Raises:
        UserError: If two columns have one name.
    """
    plain = [str(name).strip() if name is not None else "" for name in names]
    numbered = [name or f"column{index}" for index, name in enumerate(plain)]
    renamed = [rename.get(name, name) for name in numbered]
    for name, times in Counter(renamed).items():
        if times > 1:
            raise UserError(
                f"{label}: two columns are called '{name[:60]}'; rename one in the file, or give "
                "'column_names' and 'skip_rows: 1' for CSV"
            )
    return renamed
