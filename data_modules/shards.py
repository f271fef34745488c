"""The Parquet shards of a split, each checked before anything is read."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from hierarchy_lm.errors import UserError
from hierarchy_lm.parquet import Footer, read_footer


@dataclass(frozen=True)
class Shard:
    """One Parquet file.

    Attributes:
        path: The file.
        num_rows: Its rows, from the footer.
        num_row_groups: Its row groups.
        digest: Hash of name, size, time of writing and footer. The footer alone may stay the same
            when rows change places; the folder can move.
    """

    path: Path
    num_rows: int
    num_row_groups: int
    digest: str


def find_shards(folder: Path, split: str, schema: pa.Schema, columns: list[str]) -> list[Shard]:
    """All shards of a split, after a look at every footer.

    Args:
        folder: ``products`` or ``tasks/<task>`` of a dataset folder.
        split: ``train``, ``validation`` or ``test``.
        schema: The contract's columns.
        columns: Those that must be there; others and their order do not matter.

    Raises:
        UserError: If the folder or the split is empty, or a file is broken or lacks a column.
    """
    paths = sorted(folder.glob(f"{split}-*.parquet"))
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder; prepare the dataset again")
    shards = [
        _check_shard(path, {name: schema.field(name).type for name in columns}) for path in paths
    ]
    if not any(shard.num_rows for shard in shards):
        raise UserError(
            f"{folder}: the {split} split is empty; see 'split' in the mapping it was prepared with"
        )
    return shards


def _check_shard(path: Path, columns: Mapping[str, pa.DataType]) -> Shard:
    footer = read_footer(path)
    for name, expected in columns.items():
        _check_column(path, footer.schema, name, expected)
    return Shard(path, footer.num_rows, footer.num_row_groups, _digest(path, footer))


def _check_column(path: Path, found: pa.Schema, name: str, expected: pa.DataType) -> None:
    positions = found.get_all_field_indices(name)
    if not positions:
        raise UserError(f"{path}: no column '{name}'; it has {', '.join(map(repr, found.names))}")
    if len(positions) > 1:
        raise UserError(f"{path}: {len(positions)} columns are named '{name}'; keep one")
    kind = found.field(positions[0]).type
    if not _alike(kind, expected):
        raise UserError(f"{path}: column '{name}' is {kind}, expected {expected}")


def _alike(found: pa.DataType, expected: pa.DataType) -> bool:
    """Same kind, whatever the width: string or large string, list of int32 or int64."""
    if _is_list(expected):
        return _is_list(found) and _alike(found.value_type, expected.value_type)
    kinds: list[Callable[[pa.DataType], bool]] = [
        _is_string,
        pa.types.is_integer,
        pa.types.is_floating,
    ]
    # A column that is null in every row may carry Arrow's null type.
    return pa.types.is_null(found) or any(kind(found) and kind(expected) for kind in kinds)


def _is_list(kind: pa.DataType) -> bool:
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind))


def _is_string(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _digest(path: Path, footer: Footer) -> str:
    about = f"{path.name} {footer.size} {path.stat().st_mtime_ns} "
    return hashlib.sha256(about.encode() + footer.content).hexdigest()
