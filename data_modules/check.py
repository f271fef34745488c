"""`hlm check`: every byte, count and node id of a dataset folder."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
from rich.console import Console
from rich.progress import Progress

from data_modules.columns import TYPES, read_row_groups
from data_modules.datasets import find_dataset
from data_modules.encoding import read_ids, split_shard
from data_modules.manifest import file_record, manifest_fingerprint, split_of
from data_modules.shards import Shard, find_shards
from hierarchy_lm.dataset import PRODUCT_SCHEMA, SPLITS, TASK_SCHEMA, FileRecord, read_task
from hierarchy_lm.dataset_folder import AGAIN, Dataset, parquet_files
from hierarchy_lm.errors import UserError
from hierarchy_lm.parquet import read_footer

OPTIONAL = ("node_ids", "true_node_ids")
"""Columns that the shards of a task, and of products, may lack."""


@dataclass(frozen=True)
class _Place:
    """A folder of shards.

    Attributes:
        folder: ``products`` or one of the tasks'.
        schema: Its columns.
        limits: Columns of ids; each id must be below its column's limit.
    """

    folder: Path
    schema: pa.Schema
    limits: Mapping[str, int]

    @property
    def required(self) -> list[str]:
        """Columns that no shard may lack."""
        optional = OPTIONAL if "label_ids" in self.schema.names else OPTIONAL[1:]
        return [name for name in self.schema.names if name not in optional]


def check(dataset: str) -> None:
    """Read a whole dataset folder and compare it with its dataset.json (docs/dataset.md).

    Args:
        dataset: Dataset folder, or ``sample``.

    Raises:
        UserError: Naming the first file that is not what dataset.json says of it, or that holds
            what no dataset may.
    """
    found = find_dataset(dataset)
    console = Console(stderr=True)
    with Progress(console=console, disable=not console.is_terminal, transient=True) as progress:
        names = parquet_files(found.folder)
        files = {
            name: _record(found, name)
            for name in progress.track(names, description="Reading files")
        }
        _check_tree(found)
        _check_counts(found, files)
        shards = [(place, shard) for place in _places(found) for shard in _shards(place)]
        for place, shard in progress.track(shards, description="Reading ids"):
            _check_ids(place, shard, whole=found.info.files is None)
        _check_fingerprint(found, files)
    _print_summary(found, files)


def _record(found: Dataset, name: str) -> FileRecord:
    path = found.folder / name
    record = file_record(path, split_of(name))
    if found.info.files is not None and record != found.info.files[name]:
        raise UserError(f"{path}: holds other bytes than dataset.json lists; {AGAIN}")
    return record


def _check_tree(found: Dataset) -> None:
    counts = {"nodes": 0, "levels": 0}
    if found.tree_file.is_file():
        counts = {"nodes": found.hierarchy.num_nodes, "levels": found.hierarchy.depth}
    for name, count in counts.items():
        _compare_count(found, name, count, "the tree has")


def _check_counts(found: Dataset, files: Mapping[str, FileRecord]) -> None:
    rows = _rows(files)
    counted = {name for name in found.info.counts if name.rpartition("/")[2] in SPLITS}
    for name in sorted(counted | rows.keys()):
        _compare_count(found, name, rows[name], "the shards have")


def _rows(files: Mapping[str, FileRecord]) -> Counter[str]:
    """Rows of each split, by its name in the counts of ``dataset.json``."""
    rows: Counter[str] = Counter()
    for name, record in files.items():
        if record.split is not None:
            place = name.rpartition("/")[0] + "/"
            rows[place.removeprefix("products/") + record.split] += record.rows
    return rows


def _compare_count(found: Dataset, name: str, count: int, who: str) -> None:
    stated = found.info.counts.get(name, 0)
    if stated != count:
        raise UserError(
            f"{found.folder / 'dataset.json'}: counts {stated:,} for '{name}', {who} {count:,}; "
            "prepare the dataset again"
        )


def _places(found: Dataset) -> Iterator[_Place]:
    nodes = found.hierarchy.num_nodes if found.tree_file.is_file() else 0
    if (found.folder / "products").is_dir():
        limits = dict.fromkeys(OPTIONAL, nodes)
        yield _Place(found.folder / "products", PRODUCT_SCHEMA, limits)
    for task in sorted({path.name for path in found.folder.glob("tasks/*")}):
        if task not in found.info.tasks:
            raise UserError(
                f"{found.folder / 'tasks' / task}: dataset.json lists no such task; remove it"
            )
    for task in found.info.tasks:
        folder = found.folder / "tasks" / task
        limits = {"label_ids": len(read_task(folder).labels), "node_ids": nodes}
        yield _Place(folder, TASK_SCHEMA, limits)


def _shards(place: _Place) -> list[Shard]:
    return find_shards(place.folder, "*", place.schema, place.required)


def _check_ids(place: _Place, shard: Shard, whole: bool) -> None:
    """Look for ids out of range; ``whole`` also compares the checksums of all other columns."""
    names = read_footer(shard.path).schema.names
    columns = [name for name in names if name in (TYPES if whole else place.limits)]
    for row_groups in split_shard(shard):
        table, _ = read_row_groups(shard.path, row_groups, columns)
        for name in place.limits.keys() & set(columns):
            read_ids(shard.path, row_groups, table, name, place.limits[name])


def _check_fingerprint(found: Dataset, files: Mapping[str, FileRecord]) -> None:
    if manifest_fingerprint(files) != found.info.fingerprint:
        raise UserError(
            f"{found.folder / 'dataset.json'}: was written for other files than these (by its "
            "fingerprint); prepare the dataset again"
        )


def _print_summary(found: Dataset, files: Mapping[str, FileRecord]) -> None:
    size = sum(record.size for record in files.values())
    how = "each as dataset.json lists it"
    if found.info.files is None:
        how = "which an older release did not list: compared with the fingerprint of them all"
    console = Console(highlight=False, soft_wrap=True)
    console.print(f"{found.folder}: whole", markup=False)
    console.print(f"- {len(files):,} files, {size:,} bytes, {how}", markup=False)
    if found.tree_file.is_file():
        tree = found.hierarchy
        console.print(f"- Tree: {tree.num_nodes:,} nodes on {tree.depth} levels", markup=False)
    rows = _rows(files)
    for prefix in ("", *(f"tasks/{task}/" for task in found.info.tasks)):
        splits = ", ".join(f"{rows[prefix + split]:,} {split}" for split in SPLITS)
        console.print(f"- {prefix.rstrip('/') or 'products'}: {splits}", markup=False)
