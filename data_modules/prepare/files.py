"""Finds the input files and makes each a plain UTF-8 text or Parquet file."""

import gzip
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from fnmatch import fnmatch
from io import BufferedReader
from pathlib import Path
from shutil import copyfileobj
from typing import IO

from data_modules.prepare.mapping import Encoding, FileOptions, Patterns
from hierarchy_lm.dataset import SPLITS
from hierarchy_lm.errors import UserError

CHUNK_BYTES = 1 << 22
BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True)
class InputFile:
    """One file to read.

    Attributes:
        path: A file on disk, or the archive it is a member of.
        member: Name inside a zip archive.
        split: Split all its rows belong to, if files are given per split.
    """

    path: Path
    member: str | None = None
    split: str | None = None

    @property
    def label(self) -> str:
        """What messages call it."""
        return f"{self.path}::{self.member}" if self.member else str(self.path)

    @property
    def is_plain(self) -> bool:
        """Whether the file lies uncompressed on disk."""
        return self.member is None and self.path.suffix != ".gz"

    @property
    def kind(self) -> str:
        """Ending of the content's name, such as ``csv``, without ``gz`` or ``zip``."""
        name = Path(self.member or self.path.name)
        return (name.with_suffix("") if name.suffix == ".gz" else name).suffix.lstrip(".").lower()


def find_files(options: FileOptions, root: Path) -> list[InputFile]:
    """All files that the patterns name, in a fixed order.

    Raises:
        UserError: If a pattern matches nothing or a split's name is unknown.
    """
    if not isinstance(options.files, dict):
        return list(_expand(options.files, root, None))
    for split in options.files:
        if split not in SPLITS:
            raise UserError(f"files: '{split}' is no split; use {', '.join(SPLITS)}")
    return [file for split, patterns in options.files.items()
            for file in _expand(patterns, root, split)]  # fmt: skip


def _expand(patterns: Patterns, root: Path, split: str | None) -> Iterator[InputFile]:
    for pattern in [patterns] if isinstance(patterns, str) else patterns:
        outer, _, inner = pattern.partition("::")
        paths = _match(root, outer)
        if not paths:
            raise UserError(f"{root / outer}: no such file; check the mapping's 'files' and --root")
        for path in paths:
            members = _members(path, inner) if path.suffix == ".zip" else [None]
            yield from (InputFile(path, member, split) for member in members)


def _match(root: Path, pattern: str) -> list[Path]:
    path = root / pattern
    if path.is_file():
        return [path]
    if Path(pattern).is_absolute():
        root, pattern = Path(path.anchor), str(path.relative_to(path.anchor))
    return sorted(found for found in root.glob(pattern) if found.is_file())


def _members(path: Path, pattern: str) -> list[str | None]:
    with reading(str(path)), zipfile.ZipFile(path) as archive:
        names = [entry.filename for entry in archive.infolist() if not entry.is_dir()]
    chosen = sorted(name for name in names if fnmatch(name, pattern or "*"))
    if not chosen:
        raise UserError(f"{path}: no member '{pattern}' in the archive; it holds {names}")
    return [*chosen]


@contextmanager
def reading(label: str) -> Iterator[None]:
    """Turn what a broken file raises into one line that names it."""
    try:
        yield
    except (EOFError, zlib.error, zipfile.BadZipFile, gzip.BadGzipFile, RuntimeError) as error:
        raise UserError(f"{label}: broken archive ({error}); fetch it again") from error
    except OSError as error:
        raise UserError(f"{label}: cannot be read ({error.strerror or error})") from error


def make_plain(
    file: InputFile, kind: str, encoding: Encoding, folder: Path, number: int
) -> tuple[Path, int]:
    """A plain copy of ``file`` below ``folder``, or the file itself if it is plain already.

    Returns:
        The path, and the number of characters put in place of invalid bytes.

    Raises:
        UserError: If the file is empty, broken, or not in ``encoding``; names the line.
    """
    target = folder / f"{number:05d}.{kind}"
    with reading(file.label), _open(file) as stream:
        if not stream.read(1):
            raise UserError(f"{file.label}: the file is empty; remove it or fetch it again")
        stream.seek(0)
        if kind == "parquet":
            return _copy_bytes(file, stream, target), 0
        has_bom = stream.read(len(BOM)) == BOM
        stream.seek(0)
        if file.is_plain and encoding == "utf-8" and not has_bom:
            _recode(file, stream, encoding, None)
            return file.path, 0
        with target.open("wb") as sink:
            return target, _recode(file, stream, encoding, sink)


@contextmanager
def _open(file: InputFile) -> Iterator[IO[bytes]]:
    with ExitStack() as stack:
        if file.member is None:
            stream: IO[bytes] = stack.enter_context(file.path.open("rb"))
        else:
            archive = stack.enter_context(zipfile.ZipFile(file.path))
            stream = stack.enter_context(archive.open(file.member))
        if (file.member or file.path.name).endswith(".gz"):
            # The buffer makes reading lines fast.
            stream = BufferedReader(stack.enter_context(gzip.GzipFile(fileobj=stream)))
        yield stream


def _copy_bytes(file: InputFile, stream: IO[bytes], target: Path) -> Path:
    if file.is_plain:
        return file.path
    with target.open("wb") as sink:
        copyfileobj(stream, sink, CHUNK_BYTES)
    return target


def _recode(file: InputFile, stream: IO[bytes], encoding: Encoding, sink: IO[bytes] | None) -> int:
    """Check the encoding, write UTF-8 to ``sink``; whole lines, so that no character is cut."""
    codec, errors = encoding.removesuffix("-replace"), "strict"
    if encoding == "utf-8-replace":
        errors = "replace"
    lines = replaced = 0
    while chunk := b"".join(stream.readlines(CHUNK_BYTES)):
        if lines == 0:
            chunk = chunk.removeprefix(BOM)
        try:
            text = chunk.decode(codec, errors)
        except UnicodeDecodeError as error:
            line = lines + chunk.count(b"\n", 0, error.start) + 1
            raise UserError(
                f"{file.label}: line {line} is not {encoding} (byte 0x{chunk[error.start]:02x}); "
                "set 'encoding' to latin-1, cp1252 or utf-8-replace"
            ) from error
        lines += chunk.count(b"\n")
        if sink is not None:
            sink.write(text.encode())
        if errors == "replace":
            replaced += text.count("\ufffd") - chunk.count("\ufffd".encode())
    return replaced
