"""Writes the rows of a split as shards, by the workers of whichever engine."""

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import fsspec
import ibis.expr.types as ir
import pyarrow as pa
import pyarrow.parquet as pq

from data_modules.manifest import file_record
from data_modules.prepare.engines import Engine
from data_modules.prepare.reading.locations import is_url, open_binary
from data_modules.shard_writer import write_shard
from hierarchy_lm.dataset import SPLITS, FileRecord

ROW_GROUP_ROWS = 10_240


@dataclass(frozen=True)
class Slice:
    """Rows ``start`` up to ``stop``, exclusive, of an intermediate file."""

    place: str
    start: int
    stop: int


@dataclass(frozen=True)
class ShardTask:
    """One shard to write.

    Attributes:
        slices: Its rows, in order.
        target: Path or URL of the shard.
        split: Its split.
        schema: Its columns.
        tree_fingerprint: That of the tree, if there is one.
    """

    slices: tuple[Slice, ...]
    target: str
    split: str
    schema: pa.Schema
    tree_fingerprint: str | None


def write_splits(
    engine: Engine,
    rows: ir.Table,
    target: str,
    folder: str,
    schema: pa.Schema,
    rows_per_shard: int,
    tree_fingerprint: str | None,
) -> dict[str, FileRecord]:
    """Write the shards of every split, sorted by item id, which makes them the same everywhere.

    Args:
        engine: Sorts; its workers write.
        rows: With a column ``split``.
        target: Path or URL of the dataset folder.
        folder: ``products`` or ``tasks/<task>``.
        schema: Of the shards.
        rows_per_shard: Of all but a split's last shard.
        tree_fingerprint: That of the tree, if there is one.

    Returns:
        The manifest's records of the shards by their names.
    """
    tasks = []
    for split in SPLITS:
        part = rows.filter(rows["split"] == split).select(*schema.names)
        places = engine.sorted_parts(part, "item_id", folder)
        for number, slices in enumerate(_cut(places, rows_per_shard)):
            name = f"{target}/{folder}/{split}-{number:05d}.parquet"
            tasks.append(ShardTask(slices, name, split, schema, tree_fingerprint))
    if not is_url(target):
        Path(target, folder).mkdir(parents=True)
    names = [task.target.removeprefix(f"{target}/") for task in tasks]
    return dict(zip(names, engine.run(write_shard_file, tasks), strict=True))


def write_shard_file(task: ShardTask) -> FileRecord:
    """Write one shard and say what the manifest holds of it."""
    batches = _rows(task.slices, task.schema)
    if not is_url(task.target):
        write_shard(batches, task.target, task.schema, task.tree_fingerprint)
        return file_record(Path(task.target), task.split)
    with tempfile.TemporaryDirectory() as folder:
        local = Path(folder) / "shard.parquet"
        write_shard(batches, local, task.schema, task.tree_fingerprint)
        system, path = fsspec.core.url_to_fs(task.target)
        system.makedirs(path.rpartition("/")[0], exist_ok=True)
        system.put_file(str(local), path)
        return file_record(local, task.split)


def _cut(places: list[str], rows_per_shard: int) -> Iterator[tuple[Slice, ...]]:
    """Slices of files in a row that hold ``rows_per_shard`` rows together."""
    slices: list[Slice] = []
    room = rows_per_shard
    for place in places:
        start, rows = 0, _num_rows(place)
        while start < rows:
            stop = min(rows, start + room)
            slices.append(Slice(place, start, stop))
            room -= stop - start
            start = stop
            if not room:
                yield tuple(slices)
                slices, room = [], rows_per_shard
    if slices:
        yield tuple(slices)


def _num_rows(place: str) -> int:
    with open_binary(place) as stream, pq.ParquetFile(stream) as file:
        rows: int = file.metadata.num_rows
        return rows


def _rows(slices: tuple[Slice, ...], schema: pa.Schema) -> Iterator[pa.Table]:
    """Row groups of one size, whatever the files had."""
    waiting: list[pa.Table] = []
    count = 0
    for part in (part for piece in slices for part in _parts(piece)):
        table = pa.Table.from_batches([part]).select(schema.names).cast(schema)
        while count + table.num_rows >= ROW_GROUP_ROWS:
            room = ROW_GROUP_ROWS - count
            yield pa.concat_tables([*waiting, table.slice(0, room)]).combine_chunks()
            table, waiting, count = table.slice(room), [], 0
        waiting.append(table)
        count += table.num_rows
    if count:
        yield pa.concat_tables(waiting).combine_chunks()


def _parts(piece: Slice) -> Iterator[pa.RecordBatch]:
    """The batches of a slice, without reading row groups outside it."""
    with open_binary(piece.place) as stream, pq.ParquetFile(stream) as file:
        first = 0
        for group in range(file.num_row_groups):
            size = file.metadata.row_group(group).num_rows
            if first < piece.stop and first + size > piece.start:
                at = first
                for batch in file.iter_batches(ROW_GROUP_ROWS, row_groups=[group]):
                    begin = max(piece.start - at, 0)
                    length = min(piece.stop - at, batch.num_rows) - begin
                    if length > 0:
                        yield batch.slice(begin, length)
                    at += batch.num_rows
            first += size
