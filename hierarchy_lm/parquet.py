"""Parquet files as they lie: rows without guesses from folder names, and what a footer says."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from hierarchy_lm.errors import UserError

HIERARCHY_KEY = b"hierarchy_fingerprint"
"""Footer entry that names the tree whose node ids a file holds."""
TAIL = 8  # a Parquet file ends in the footer's length (4 bytes) and "PAR1"


def read_table(
    source: Path | Sequence[Path],
    columns: Sequence[str] | None = None,
    wanted: pc.Expression | None = None,
) -> pa.Table:
    """The rows of one or several files, or those that are wanted.

    Below a folder called ``title=old``, Arrow's default would fill the column ``title`` with "old".
    """
    names = columns and list(columns)
    return pq.read_table(source, columns=names, filters=wanted, partitioning=None)


@dataclass(frozen=True)
class Footer:
    """What can be known of a file without reading a row.

    Attributes:
        size: Bytes of the whole file.
        num_rows: Its rows.
        num_row_groups: Its row groups.
        schema: Its columns.
        hierarchy: Fingerprint of the tree that it is of, if it names one.
        content: The footer's own bytes.
    """

    size: int
    num_rows: int
    num_row_groups: int
    schema: pa.Schema
    hierarchy: str | None
    content: bytes

    @property
    def digest(self) -> str:
        """Hash of the footer."""
        return hashlib.sha256(self.content).hexdigest()


def read_footer(path: Path) -> Footer:
    """Read a file's footer.

    Raises:
        UserError: If the file is missing, cut off, or none of Parquet.
    """
    try:
        with path.open("rb") as stream, pq.ParquetFile(stream) as file:
            metadata, schema = file.metadata, file.schema_arrow
            size = stream.seek(-TAIL, 2) + TAIL
            length = int.from_bytes(stream.read(4), "little")
            stream.seek(size - TAIL - length)
            content = stream.read(length)
    except FileNotFoundError as error:
        raise UserError(f"{path}: is missing; write it again") from error
    except (OSError, pa.ArrowException, UnicodeDecodeError) as error:
        size = path.stat().st_size
        what = f"is truncated or no Parquet file ({size} bytes)" if size else "is empty (0 bytes)"
        raise UserError(f"{path}: {what}; write it again") from error
    named = (metadata.metadata or {}).get(HIERARCHY_KEY)
    hierarchy = named.decode("utf-8", "replace") if named is not None else None
    return Footer(size, metadata.num_rows, metadata.num_row_groups, schema, hierarchy, content)
