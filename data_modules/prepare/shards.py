"""Writes rows as Parquet shards, and folders that are whole or absent."""

import hashlib
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import ibis.expr.types as ir
import pyarrow as pa
import pyarrow.parquet as pq

from data_modules.prepare.engine import Engine
from hierarchy_lm.dataset import SPLITS
from hierarchy_lm.errors import UserError


@contextmanager
def new_folder(output: Path) -> Iterator[Path]:
    """A folder beside ``output`` that takes its place when the block ends well.

    Raises:
        UserError: If ``output`` is a file or holds something, or cannot be written.
    """
    if output.is_file() or (output.is_dir() and any(output.iterdir())):
        raise UserError(f"{output}: is there already; name another folder or remove it")
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        work = Path(tempfile.mkdtemp(prefix=f".{output.name}.", dir=output.parent))
    except OSError as error:
        raise UserError(f"{output}: cannot be written ({error.strerror})") from error
    try:
        made = work / "made"
        made.mkdir()
        yield made
        made.replace(output)
    except OSError as error:
        raise UserError(f"{output}: cannot be written ({error})") from error
    finally:
        shutil.rmtree(work, ignore_errors=True)


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
            writer = pq.ParquetWriter(path, schema, compression="zstd")
            number, written = number + 1, 0
        writer.write_batch(batch)
        written += batch.num_rows
        total += batch.num_rows
    if writer is not None:
        writer.close()
    return total


def fingerprint(folder: Path) -> str:
    """Hash of all Parquet files of a folder; other rows or another tree give another one."""
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*.parquet")):
        digest.update(path.relative_to(folder).as_posix().encode())
        with path.open("rb") as stream:
            digest.update(hashlib.file_digest(stream, "sha256").digest())
    return digest.hexdigest()
