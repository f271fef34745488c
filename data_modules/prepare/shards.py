"""Writes rows as Parquet shards."""

from collections.abc import Iterable
from pathlib import Path

import ibis.expr.types as ir
import pyarrow as pa
import pyarrow.parquet as pq

from data_modules.prepare.engine import Engine
from hierarchy_lm.dataset import SPLITS


def write_splits(
    engine: Engine, rows: ir.Table, folder: Path, schema: pa.Schema, rows_per_shard: int
) -> dict[str, int]:
    """Write the shards of every split, sorted by item id, which makes them the same everywhere.

    Returns:
        Rows per split.
    """
    folder.mkdir(parents=True)
    counts = {}
    for split in SPLITS:
        part = rows.filter(rows["split"] == split).select(*schema.names).order_by("item_id")
        batches = (batch.cast(schema) for batch in engine.batches(part))
        counts[split] = _write(batches, folder / split, schema, rows_per_shard)
    return counts


def _write(
    batches: Iterable[pa.RecordBatch], stem: Path, schema: pa.Schema, rows_per_shard: int
) -> int:
    total = number = written = 0
    writer: pq.ParquetWriter | None = None
    for batch in batches:
        if writer is None or written + batch.num_rows > rows_per_shard:
            if writer is not None:
                writer.close()
            path = stem.with_name(f"{stem.name}-{number:05d}.parquet")
            writer = pq.ParquetWriter(path, schema, compression="zstd", write_page_checksum=True)
            number, written = number + 1, 0
        writer.write_batch(batch)
        written += batch.num_rows
        total += batch.num_rows
    if writer is not None:
        writer.close()
    return total
