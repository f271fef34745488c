"""A dataset folder turned back into what a shop would export, to be prepared again.

python -m benchmarks.export_catalogue DATASET OUTPUT
"""

import argparse
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from hierarchy_lm.parquet import read_table

COLUMNS = ["item_id", "title", "description", "bullet_points", "weight", "locale", "node_ids"]


def export_catalogue(dataset: Path, output: Path) -> None:
    """Write the products of all splits with their category paths as lists of texts.

    Args:
        dataset: A dataset folder.
        output: Folder of the Parquet files, one per shard and of its name, so that a mapping can
            keep the splits: ``files: {train: OUTPUT/train-*.parquet, ...}``.
    """
    output.mkdir(parents=True)
    paths = read_table(dataset / "hierarchy.parquet", ["path"])["path"].combine_chunks()
    for shard in sorted((dataset / "products").glob("*.parquet")):
        with pq.ParquetFile(shard) as file:
            schema = file.schema_arrow
            types = {name: schema.field(name).type for name in COLUMNS[:-1]}
            written = pa.schema([*types.items(), ("categories", pa.list_(pa.string()))])
            with pq.ParquetWriter(output / shard.name, written) as writer:
                for batch in file.iter_batches(columns=COLUMNS):
                    writer.write_batch(_with_paths(batch, paths, written))


def _with_paths(batch: pa.RecordBatch, paths: pa.Array, schema: pa.Schema) -> pa.RecordBatch:
    nodes = batch.column("node_ids")
    categories = pa.ListArray.from_arrays(nodes.offsets, paths.take(nodes.values))
    columns = [*(batch.column(name) for name in COLUMNS[:-1]), categories]
    return pa.record_batch(columns, schema=schema)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("dataset", type=Path)
    parser.add_argument("output", type=Path)
    arguments = parser.parse_args()
    export_catalogue(arguments.dataset, arguments.output)
