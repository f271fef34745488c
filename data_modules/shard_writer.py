"""Writing Parquet shards, each of which names the tree that its node ids are of."""

from collections.abc import Iterable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from hierarchy_lm.parquet import HIERARCHY_KEY


def parquet_writer(where: str | Path | pa.NativeFile, schema: pa.Schema) -> pq.ParquetWriter:
    """Writes a compressed file whose pages carry checksums; ``with`` closes it."""
    return pq.ParquetWriter(where, schema, compression="zstd", write_page_checksum=True)


def write_shard(
    parts: Iterable[pa.Table | pa.RecordBatch],
    where: str | Path | pa.NativeFile,
    schema: pa.Schema,
    tree_fingerprint: str | None,
) -> int:
    """Write one shard.

    Args:
        parts: Its rows; each part becomes a row group, or several if it is large.
        where: A path, or whatever else pyarrow writes to.
        schema: The columns of all parts.
        tree_fingerprint: That of the tree; None in a dataset without one.

    Returns:
        Number of rows.
    """
    rows = 0
    with parquet_writer(where, _with_tree(schema, tree_fingerprint)) as writer:
        for part in parts:
            writer.write(part)
            rows += part.num_rows
    return rows


def _with_tree(schema: pa.Schema, tree_fingerprint: str | None) -> pa.Schema:
    if tree_fingerprint is None:
        return schema
    return schema.with_metadata({**(schema.metadata or {}), HIERARCHY_KEY: tree_fingerprint})
