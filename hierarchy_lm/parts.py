"""Parquet files that grow batch by batch and are whole or absent."""

import os
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import ArrayLike


class PartWriter:
    """One rank's part of an output.

    Args:
        folder: The output; made if missing.
        rank: Number of the process.
        schema: Columns.
    """

    def __init__(self, folder: Path, rank: int, schema: pa.Schema) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.schema = schema
        self._part = folder / f"part-{rank:05d}.parquet"
        self._writer = pq.ParquetWriter(self._part.with_suffix(".tmp"), schema)

    def write(self, columns: list[pa.Array]) -> None:
        """Append rows."""
        self._writer.write_table(pa.table(columns, schema=self.schema))

    def close(self) -> None:
        """Give the part its name."""
        self._writer.close()
        os.replace(self._part.with_suffix(".tmp"), self._part)


def list_column(owners: ArrayLike, values: ArrayLike, size: int) -> pa.Array:
    """Lists of the values of owners 0 .. size - 1, owners ascending, as ``list<int32>``."""
    counts = np.bincount(np.asarray(owners, dtype=np.int64), minlength=size)
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(np.asarray(values, dtype=np.int32)))
