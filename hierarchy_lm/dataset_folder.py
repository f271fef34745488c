"""Opening a dataset folder: are its files those that ``dataset.json`` lists?"""

import logging
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

from hierarchy_lm.dataset import HIERARCHY, DatasetInfo, FileRecord, read_dataset
from hierarchy_lm.errors import UserError
from hierarchy_lm.hierarchy import Hierarchy
from hierarchy_lm.parquet import Footer, read_footer

LOG = logging.getLogger(__name__)
PATTERNS = (HIERARCHY, "products/*.parquet", "tasks/*/*.parquet")
AGAIN = "copy it again or prepare the dataset again"


@dataclass(frozen=True)
class Dataset:
    """A dataset folder that was looked through; :func:`open_dataset` makes it.

    Attributes:
        folder: The folder.
        info: Its ``dataset.json``.
    """

    folder: Path
    info: DatasetInfo

    @property
    def tree_file(self) -> Path:
        """Where the tree is, if it has one."""
        return self.folder / HIERARCHY

    @cached_property
    def hierarchy(self) -> Hierarchy:
        """The tree.

        Raises:
            UserError: If there is none or it is broken.
        """
        return Hierarchy.from_parquet(self.tree_file)


def open_dataset(folder: Path) -> Dataset:
    """Look through a dataset folder: its ``dataset.json``, and the footers of all its files.

    No row is read: `hlm check` does that. A folder of an older release has no list of its files;
    what is read of it is looked at when it is read.

    Raises:
        UserError: If the folder is no dataset, or a file is missing, not listed, cut off, under
            another's name, of another version or of another tree.
    """
    info = read_dataset(folder)
    if info.files is None:
        _warn(folder)
    else:
        _compare(folder, info, info.files)
    return Dataset(folder, info)


def parquet_files(folder: Path) -> list[str]:
    """All Parquet files of a dataset folder, as paths below it in POSIX form."""
    found = [path for pattern in PATTERNS for path in sorted(folder.glob(pattern))]
    return [path.relative_to(folder).as_posix() for path in found]


@cache
def _warn(folder: Path) -> None:
    """Once per process and folder, and not once per rank."""
    if os.environ.get("LOCAL_RANK", "0") == "0":
        LOG.warning(
            f"{folder}: written by an older release, without a list of its files: mixed-up ones go "
            "unnoticed; prepare it again, or let `hlm check` read it through"
        )


def _compare(folder: Path, info: DatasetInfo, files: Mapping[str, FileRecord]) -> None:
    found = parquet_files(folder)
    missing = sorted(files.keys() - set(found))
    for name in found:
        if name not in files:
            raise UserError(f"{folder / name}: {_surplus(folder / name, files, missing)}")
    for name in missing:
        raise UserError(f"{folder / name}: is missing; {AGAIN}")
    for name, record in files.items():
        _check_file(folder / name, record, info)


def _surplus(path: Path, files: Mapping[str, FileRecord], missing: Iterable[str]) -> str:
    """What a file is that ``dataset.json`` does not list, and what to do."""
    try:
        footer = read_footer(path).digest
    except UserError:
        footer = ""
    same = [name for name, record in files.items() if record.footer == footer]
    for name in same:
        if name in missing:
            return f"is '{name}' of dataset.json under another name; rename it back"
    if same:
        return f"is a copy of '{same[0]}', not listed in dataset.json; remove it"
    return "is not listed in dataset.json; remove it or prepare the dataset again"


def _check_file(path: Path, record: FileRecord, info: DatasetInfo) -> None:
    size = path.stat().st_size
    if size != record.size:
        raise UserError(
            f"{path}: has {size:,} bytes, not the {record.size:,} of dataset.json; {AGAIN}"
        )
    footer = read_footer(path)
    if (footer.digest, footer.num_rows) != (record.footer, record.rows):
        raise UserError(f"{path}: is another version than dataset.json lists; {AGAIN}")
    _check_tree(path, footer, info)


def _check_tree(path: Path, footer: Footer, info: DatasetInfo) -> None:
    if footer.hierarchy != info.hierarchy_fingerprint:
        of, listed = (
            f"tree {named[:12]}" if named else "no tree"
            for named in (footer.hierarchy, info.hierarchy_fingerprint)
        )
        raise UserError(f"{path}: is of {of}, dataset.json of {listed}; prepare the dataset again")
