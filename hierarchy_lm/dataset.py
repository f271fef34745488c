"""The dataset folder: file names, columns and ``dataset.json`` (docs/dataset.md)."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal, TypeVar

import pyarrow as pa

from hierarchy_lm.errors import UserError

SCHEMA_VERSION = 1
SPLITS = ("train", "validation", "test")
PATH_SEPARATOR = " > "

TaskKind = Literal["multiclass", "binary", "multilabel"]

HIERARCHY_SCHEMA = pa.schema(
    [
        pa.field("node_id", pa.int32(), nullable=False),
        pa.field("parent_id", pa.int32(), nullable=False),
        pa.field("level", pa.int16(), nullable=False),
        pa.field("name", pa.string(), nullable=False),
        pa.field("path", pa.string(), nullable=False),
    ]
)
TEXT_FIELDS = [
    pa.field("item_id", pa.string(), nullable=False),
    pa.field("title", pa.string()),
    pa.field("description", pa.string()),
    pa.field("bullet_points", pa.list_(pa.string())),
]
PRODUCT_SCHEMA = pa.schema(
    [
        *TEXT_FIELDS,
        pa.field("node_ids", pa.list_(pa.int32()), nullable=False),
        pa.field("weight", pa.float32(), nullable=False),
        pa.field("locale", pa.string()),
    ]
)
TASK_SCHEMA = pa.schema(
    [
        *TEXT_FIELDS,
        pa.field("query", pa.string()),
        pa.field("label_ids", pa.list_(pa.int32()), nullable=False),
    ]
)


@dataclass(frozen=True)
class TaskInfo:
    """A downstream task of a dataset folder, as ``tasks/<name>/task.json`` holds it.

    Attributes:
        name: Folder name.
        kind: What a label set may hold: one label, 0 or 1 (binary), or any number.
        labels: Label names in the order of their ids.
        pair: Whether a search query stands before the product text.
    """

    name: str
    kind: TaskKind
    labels: list[str]
    pair: bool = False

    @property
    def num_outputs(self) -> int:
        """Logits of the head: one for a binary task, else one per label."""
        return 1 if self.kind == "binary" else len(self.labels)

    @property
    def fingerprint(self) -> str:
        """Hash of the kind and the labels in their order."""
        return hashlib.sha256("\n".join([self.kind, *self.labels]).encode()).hexdigest()


@dataclass(frozen=True)
class DatasetInfo:
    """``dataset.json``: what the folder holds and where it came from.

    Attributes:
        name: Short name.
        source: Where the data came from.
        licence: Licence as its publisher states it.
        fingerprint: Hash of the hierarchy and the rows; caches are keyed by it.
        counts: Rows per split, nodes, levels, and whatever else the writer counted.
        tasks: Names of the folders under ``tasks``.
    """

    name: str
    source: str
    licence: str
    fingerprint: str
    counts: Mapping[str, int] = field(default_factory=dict)
    tasks: list[str] = field(default_factory=list)
    schema_version: int = SCHEMA_VERSION


def write_json(path: Path, value: object) -> None:
    """Write ``value`` (a dataclass or plain data) so that the file is whole or absent."""
    plain = asdict(value) if hasattr(value, "__dataclass_fields__") else value  # type: ignore[call-overload]
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_text(json.dumps(plain, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    temporary.replace(path)


def read_task(path: Path) -> TaskInfo:
    """Read ``task.json`` from a task's folder.

    Raises:
        UserError: If the folder holds no readable ``task.json``.
    """
    return _read(TaskInfo, path / "task.json")


def read_dataset(path: Path) -> DatasetInfo:
    """Read ``dataset.json`` from a dataset folder.

    Raises:
        UserError: If the folder is no dataset folder or of another schema version.
    """
    info = _read(DatasetInfo, path / "dataset.json")
    if info.schema_version != SCHEMA_VERSION:
        raise UserError(
            f"{path}: schema version {info.schema_version}, this release reads {SCHEMA_VERSION}; "
            "prepare the dataset again"
        )
    return info


_Info = TypeVar("_Info", TaskInfo, DatasetInfo)


def _read(kind: type[_Info], file: Path) -> _Info:
    if not file.is_file():
        raise UserError(
            f"{file.parent}: no {file.name} there; make it with `hlm prepare` or `hlm sample`"
        )
    try:
        return kind(**json.loads(file.read_text(encoding="utf-8")))
    except (ValueError, TypeError) as error:
        raise UserError(f"{file}: not a valid {file.name} ({error}); make it again") from error
