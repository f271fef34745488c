"""Writing Parquet shards, each of which names the tree that its node ids are of."""

from collections.abc import Iterable, Iterator
from itertools import groupby
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


def write_shards(
    batches: Iterable[pa.RecordBatch],
    stem: Path,
    schema: pa.Schema,
    rows_per_shard: int,
    tree_fingerprint: str | None,
) -> int:
    """Write the shards ``<stem>-00000.parquet`` and so on, in bounded memory.

    Args:
        batches: The rows in their order; a batch is not divided, so that one of more than
            ``rows_per_shard`` rows is a shard of its own. Without any there is no file.
        stem: The folder and the name of the split.
        schema: The columns of all batches.
        rows_per_shard: Largest number of rows in a shard.
        tree_fingerprint: That of the tree; None in a dataset without one.

    Returns:
        Number of rows.
    """
    return sum(
        write_shard(
            (batch for _, batch in group),
            stem.with_name(f"{stem.name}-{number:05d}.parquet"),
            schema,
            tree_fingerprint,
        )
        for number, group in groupby(_numbered(batches, rows_per_shard), key=lambda pair: pair[0])
    )


def _numbered(
    batches: Iterable[pa.RecordBatch], rows_per_shard: int
) -> Iterator[tuple[int, pa.RecordBatch]]:
    """Each batch with the number of its shard."""
    number = rows = 0
    for batch in batches:
        if rows and batch.num_rows and rows + batch.num_rows > rows_per_shard:
            number, rows = number + 1, 0
        rows += batch.num_rows
        yield number, batch


def _with_tree(schema: pa.Schema, tree_fingerprint: str | None) -> pa.Schema:
    if tree_fingerprint is None:
        return schema
    return schema.with_metadata({**(schema.metadata or {}), HIERARCHY_KEY: tree_fingerprint})
