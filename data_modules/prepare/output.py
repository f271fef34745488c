"""Where the dataset folder is made: beside its place on a disk, or piece by piece below a URL."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import fsspec

from data_modules.folders import new_folder
from data_modules.prepare.reading.locations import is_url
from hierarchy_lm.errors import UserError

INFO = "dataset.json"
"""Written last: a folder without it is none."""


@dataclass(frozen=True)
class Output:
    """A dataset folder in the making.

    Attributes:
        folder: Local folder for what this process writes.
        target: Path or URL that shards are written below, by whichever process.
        scratch: Local folder for intermediate results; not made yet.
        shared_scratch: The same for a cluster: below the URL, if there is one.
    """

    folder: Path
    target: str
    scratch: Path
    shared_scratch: str


@contextmanager
def new_output(output: str) -> Iterator[Output]:
    """A folder that appears when the block ends well; below a URL, ``dataset.json`` comes last.

    Raises:
        UserError: If there is something already, or it cannot be written.
    """
    if not is_url(output):
        with new_folder(Path(output).absolute()) as made:
            scratch = made.parent / "scratch"
            yield Output(made, str(made), scratch, str(scratch))
        return
    system, path = _empty_place(output)
    scratch_url = f"{output.rstrip('/')}.scratch-{uuid4().hex[:8]}"
    work = Path(tempfile.mkdtemp(prefix="hlm-prepare-"))
    made = work / "made"
    made.mkdir()
    try:
        yield Output(made, output.rstrip("/"), work / "scratch", scratch_url)
        _upload(made, system, path)
    except BaseException:
        if system.exists(path):
            system.rm(path, recursive=True)
        raise
    finally:
        shutil.rmtree(work, ignore_errors=True)
        _, scratch_path = fsspec.core.url_to_fs(scratch_url)
        if system.exists(scratch_path):
            system.rm(scratch_path, recursive=True)


def _empty_place(output: str) -> tuple[fsspec.AbstractFileSystem, str]:
    try:
        system, path = fsspec.core.url_to_fs(output)
        taken = system.exists(path) and bool(system.ls(path))
    except (ImportError, ValueError, OSError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"{output}: cannot be written ({reason})") from error
    if taken:
        raise UserError(f"{output}: is there already; name another folder or remove it")
    return system, path


def _upload(made: Path, system: fsspec.AbstractFileSystem, path: str) -> None:
    files = sorted(file for file in made.rglob("*") if file.is_file())
    for file in sorted(files, key=lambda file: file.name == INFO):
        place = f"{path.rstrip('/')}/{file.relative_to(made).as_posix()}"
        system.makedirs(place.rpartition("/")[0], exist_ok=True)
        system.put_file(str(file), place)
