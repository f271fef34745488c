"""Finds the input files: paths, URLs, globs and members of archives."""

import os
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from typing import IO

import fsspec

from data_modules.prepare.mapping.files import FileOptions, Patterns
from data_modules.prepare.reading.faults import reading
from hierarchy_lm.dataset import SPLITS
from hierarchy_lm.errors import UserError

ENDINGS = {
    "csv": "csv", "tsv": "tsv", "txt": "csv",
    "json": "json", "jsonl": "json", "ndjson": "json",
    "parquet": "parquet", "pq": "parquet",
    "xlsx": "excel", "xlsm": "excel",
}  # fmt: skip


def is_url(place: str) -> bool:
    """Whether a place is not of the local disk, such as ``s3://bucket/key``."""
    return "://" in place


@dataclass(frozen=True)
class InputFile:
    """One file to read.

    Attributes:
        name: A path or URL as it was given, perhaps of the archive that the file is a member of.
        member: Name inside a zip archive.
        split: Split all its rows belong to, if files are given per split.
    """

    name: str
    member: str | None = None
    split: str | None = None
    place: str = field(init=False)
    """The same, wherever a process works."""

    def __post_init__(self) -> None:
        place = self.name if is_url(self.name) else os.path.abspath(self.name)
        object.__setattr__(self, "place", place)

    @property
    def label(self) -> str:
        """What messages call it."""
        name = f"{self.name}::{self.member}" if self.member else self.name
        return name.encode("utf-8", "replace").decode()  # a file's name may be any bytes

    @property
    def is_gzip(self) -> bool:
        """Whether its name says that it is compressed with gzip."""
        return self._ending_name.endswith(".gz")

    @property
    def is_excel(self) -> bool:
        """Whether its name says that it is an Excel file."""
        return self._ending_name.endswith((".xlsx", ".xlsm"))

    @property
    def _ending_name(self) -> str:
        return PurePosixPath(self.member or self.name.replace("\\", "/")).name.lower()

    def kind(self, options: FileOptions) -> str:
        """How its content is read: csv, tsv, json, parquet, excel, or the form of a tree.

        Raises:
            UserError: If neither ``format`` nor the name's ending says it.
        """
        if options.format != "auto":
            return options.format
        name = self._ending_name.removesuffix(".gz")
        ending = name.rpartition(".")[2] if "." in name else ""
        if ending in ENDINGS:
            return ENDINGS[ending]
        if ending == "xls":
            raise UserError(f"{self.label}: old Excel files are not read; save it as .xlsx")
        raise UserError(
            f"{self.label}: unknown format '{ending}'; set 'format' to csv, json, parquet or excel"
        )


def open_binary(place: str) -> IO[bytes]:
    """Open a path or URL for reading."""
    return _open(place, "rb")


def create_binary(place: str) -> IO[bytes]:
    """Open a path or URL for writing."""
    return _open(place, "wb")


def _open(place: str, mode: str) -> IO[bytes]:
    if not is_url(place):
        return open(place, mode)
    stream: IO[bytes] = fsspec.open(place, mode).open()
    return stream


def find_files(options: FileOptions, root: str) -> list[InputFile]:
    """All files that the patterns name, in a fixed order.

    Raises:
        UserError: If a pattern matches nothing, a file is named twice or a split's name is unknown.
    """
    by_split = options.files if isinstance(options.files, dict) else {None: options.files}
    for split in by_split:
        if split is not None and split not in SPLITS:
            raise UserError(f"files: '{split}' is no split; use {', '.join(SPLITS)}")
    files = [
        file for split, patterns in by_split.items() for file in _expand(patterns, root, split)
    ]
    if not files:
        raise UserError("files: the list is empty; name at least one file")
    seen: set[tuple[str, str | None]] = set()
    for file in files:
        place = (file.place if is_url(file.place) else os.path.realpath(file.place), file.member)
        if place in seen:
            raise UserError(f"{file.label}: 'files' names it twice; its rows would count twice")
        seen.add(place)
    return files


def _expand(patterns: Patterns, root: str, split: str | None) -> Iterator[InputFile]:
    for pattern in [patterns] if isinstance(patterns, str) else patterns:
        outer, _, inner = pattern.partition("::")
        places = _match(root, outer)
        if not places and not is_url(outer) and not is_url(root) and Path(root, outer).is_dir():
            raise UserError(f"{_below(root, outer)}: is a folder; name files, as in {outer}/*.csv")
        if not places:
            where = outer if is_url(outer) or Path(outer).is_absolute() else _below(root, outer)
            raise UserError(f"{where}: no such file; check the mapping's 'files' and --root")
        for place in places:
            members = _members(place, inner) if place.lower().endswith(".zip") else [None]
            yield from (InputFile(place, member, split) for member in members)


def _below(root: str, name: str) -> str:
    if is_url(root):
        return f"{root}{'' if root.endswith('/') else '/'}{name}"
    return str(Path(root) / name)


def _match(root: str, pattern: str) -> list[str]:
    place = pattern if is_url(pattern) else _below(root, pattern)
    if is_url(place):
        return _match_url(place)
    path = Path(place)
    if path.is_file():
        return [str(path)]
    base = Path(path.anchor)
    parts = list(path.parts[1:] if path.anchor else path.parts)
    while parts and (base / parts[0]).is_dir():  # a folder called a[1] is that folder
        base /= parts.pop(0)
    if not parts:
        return []
    try:
        matched = [path for path in base.glob("/".join(parts)) if path.is_file()]
    except ValueError as error:
        raise UserError(f"{place}: no usable pattern ({error}); check 'files'") from error
    return sorted(str(path) for path in matched if _meant(str(path.relative_to(base))))


def _match_url(place: str) -> list[str]:
    with reading(place):
        try:
            system, path = fsspec.core.url_to_fs(place)
        except ValueError as error:
            raise UserError(f"{place}: cannot be read ({error})") from error
        if system.isfile(path):
            return [place]
        matched = [name for name in system.glob(path) if system.isfile(name)]
        fixed = path.partition("*")[0].rpartition("/")[0]  # its folders are named, not matched
        meant = [name for name in matched if _meant(name.removeprefix(fixed).lstrip("/"))]
        return sorted(system.unstrip_protocol(name) for name in meant)


def _meant(name: str) -> bool:
    """Not hidden, as a folder of ours in the making is, and not what a Mac puts into archives."""
    parts = PurePosixPath(name).parts
    return "__MACOSX" not in parts and not any(part.startswith(".") for part in parts)


def _members(place: str, pattern: str) -> list[str | None]:
    with reading(place), open_binary(place) as stream, zipfile.ZipFile(stream) as archive:
        names = [entry.filename for entry in archive.infolist() if not entry.is_dir()]
    if pattern in names:
        return [pattern]
    chosen = sorted(n for n in names if _meant(n) and fnmatchcase(n, pattern or "*"))
    if not chosen:
        raise UserError(f"{place}: no member '{pattern}' in the archive; it holds {names}")
    return [*chosen]


@contextmanager
def open_file(file: InputFile) -> Iterator[IO[bytes]]:
    """The bytes of a file or member as they lie there, compressed if it is."""
    with open_binary(file.place) as stream:
        if file.member is None:
            yield stream
            return
        with zipfile.ZipFile(stream) as archive, archive.open(file.member) as member:
            yield member
