"""The dataset folder: file names, columns and ``dataset.json`` (docs/dataset.md)."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args

import pyarrow as pa

from hierarchy_lm.errors import UserError

SCHEMA_VERSION = 2
READABLE = (1, SCHEMA_VERSION)
"""Version 1 has no list of files."""
HIERARCHY = "hierarchy.parquet"
SPLITS = ("train", "validation", "test")
PATH_SEPARATOR = " > "
SPLIT_STARTS = {"validation": "cccccccc", "test": "e6666666"}
"""First eight MD5 digits at which a split begins, compared as text; those below are train."""

TaskKind = Literal["multiclass", "binary", "multilabel"]

HIERARCHY_SCHEMA = pa.schema(
    [
        pa.field("node_id", pa.int32(), nullable=False),
        pa.field("parent_id", pa.int32(), nullable=False),
        pa.field("level", pa.int16(), nullable=False),
        pa.field("name", pa.string(), nullable=False),
        pa.field("path", pa.string(), nullable=False),
        pa.field("key", pa.string()),
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
        pa.field("node_ids", pa.list_(pa.int32())),
    ]
)
"""``node_ids`` is left out where no row has any."""


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
class FileRecord:
    """What ``dataset.json`` says of one Parquet file.

    Attributes:
        split: The split that its rows belong to; None for the tree.
        rows: Number of rows.
        size: Bytes.
        footer: SHA-256 of its footer, which is compared whenever the dataset is opened.
        sha256: SHA-256 of the whole file, which `hlm check` compares.
    """

    split: str | None
    rows: int
    size: int
    footer: str
    sha256: str


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
        hierarchy_fingerprint: That of the tree, None without one; every shard names it too.
        files: Every Parquet file of the folder by its path below it, in POSIX form; None in a
            folder of an older release.
    """

    name: str
    source: str
    licence: str
    fingerprint: str
    counts: Mapping[str, int] = field(default_factory=dict)
    tasks: list[str] = field(default_factory=list)
    schema_version: int = SCHEMA_VERSION
    hierarchy_fingerprint: str | None = None
    files: Mapping[str, FileRecord] | None = None


MAKE = "make it with `hlm prepare` or `hlm sample`"


def write_json(path: Path, value: object) -> None:
    """Write ``value`` (a dataclass or plain data) so that the file is whole or absent."""
    plain = asdict(value) if hasattr(value, "__dataclass_fields__") else value  # type: ignore[call-overload]
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_text(json.dumps(plain, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    temporary.replace(path)


def read_json(file: Path, remedy: str) -> dict[str, Any]:
    """Read a file of :func:`write_json` that holds an object.

    Args:
        file: The file.
        remedy: What to do if it is missing or damaged, as the end of a sentence.

    Raises:
        UserError: If it is.
    """
    if not file.is_file():
        raise UserError(f"{file.parent}: no {file.name} there; {remedy}")
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{file}: no valid JSON ({error}); {remedy}") from error
    if not isinstance(content, dict):
        raise UserError(f"{file}: holds no JSON object; {remedy}")
    return content


def read_task(path: Path) -> TaskInfo:
    """Read ``task.json`` from a task's folder.

    Raises:
        UserError: If the folder holds no readable ``task.json``.
    """
    file = path / "task.json"
    task = _build(TaskInfo, file, read_json(file, MAKE))
    if task.kind not in get_args(TaskKind):
        raise UserError(f"{file}: kind '{task.kind}' is none of {', '.join(get_args(TaskKind))}")
    if not isinstance(task.labels, list) or not all(isinstance(name, str) for name in task.labels):
        raise UserError(f"{file}: labels must be a list of names")
    if len(task.labels) < (2 if task.kind == "binary" else 1):
        raise UserError(f"{file}: a {task.kind} task needs more labels than {len(task.labels)}")
    return task


def read_dataset(path: Path) -> DatasetInfo:
    """Read ``dataset.json`` from a dataset folder.

    Raises:
        UserError: If the folder is no dataset folder or of another schema version.
    """
    file = path / "dataset.json"
    content = read_json(file, MAKE)
    # Before anything else is looked at: another version may have other keys.
    version = content.get("schema_version", SCHEMA_VERSION)
    if version not in READABLE:
        raise UserError(
            f"{path}: schema version {version}, this release reads "
            f"{' and '.join(map(str, READABLE))}; prepare the dataset again"
        )
    if content.get("files") is not None:
        content["files"] = _read_records(file, content["files"])
    return _build(DatasetInfo, file, content)


def _read_records(file: Path, files: Any) -> dict[str, FileRecord]:  # noqa: ANN401
    if not isinstance(files, dict) or not all(isinstance(one, dict) for one in files.values()):
        raise UserError(f"{file}: 'files' must hold an object for each file; make it again")
    return {name: _build(FileRecord, file, record) for name, record in files.items()}


_Info = TypeVar("_Info", TaskInfo, DatasetInfo, FileRecord)


def _build(kind: type[_Info], file: Path, content: dict[str, Any]) -> _Info:
    try:
        return kind(**content)
    except TypeError as error:
        reason = str(error).removeprefix(f"{kind.__name__}.__init__() ")
        raise UserError(f"{file}: {reason}; make it again") from error
