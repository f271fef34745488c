"""The list of a dataset folder's files in ``dataset.json``, and the fingerprint it gives."""

import hashlib
from collections.abc import Mapping
from pathlib import Path

from hierarchy_lm.dataset import FileRecord
from hierarchy_lm.dataset_folder import parquet_files
from hierarchy_lm.parquet import read_footer


def file_record(path: Path, split: str | None) -> FileRecord:
    """What ``dataset.json`` says of one file, which is read once.

    Args:
        path: The file.
        split: The split that its rows belong to; None for the tree.

    Raises:
        UserError: If it is no Parquet file.
    """
    footer = read_footer(path)
    with path.open("rb") as stream:
        sha256 = hashlib.file_digest(stream, "sha256").hexdigest()
    return FileRecord(split, footer.num_rows, footer.size, footer.digest, sha256)


def folder_manifest(folder: Path) -> dict[str, FileRecord]:
    """The records of all Parquet files of a dataset folder, by their paths below it.

    Raises:
        UserError: If one is broken.
    """
    return {name: file_record(folder / name, split_of(name)) for name in parquet_files(folder)}


def split_of(name: str) -> str | None:
    """The split that a file's name says: ``products/train-00000.parquet`` is ``train``."""
    return name.rpartition("/")[2].rpartition("-")[0] or None


def manifest_fingerprint(files: Mapping[str, FileRecord]) -> str:
    """Hash of all files of a dataset; other rows or another tree give another one."""
    digest = hashlib.sha256()
    for name in sorted(files, key=lambda name: name.split("/")):
        digest.update(name.encode())
        digest.update(bytes.fromhex(files[name].sha256))
    return digest.hexdigest()
