"""Copies of items with shuffled title words and their label's name (DHPC, Section D.4)."""

import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from filelock import FileLock
from numpy.typing import NDArray

from data_modules.columns import TYPES, read_row_groups
from data_modules.shard_writer import parquet_writer
from data_modules.shards import Shard
from hierarchy_lm.errors import UserError

VERSION = 1
KEY = b"hlm.augmentation"
"""Footer entry that says what a shard of copies was made from."""
COLUMNS = ("item_id", "title", "description", "bullet_points", "node_ids", "weight")
DRAW, TEXT = 0, 1
"""Random streams of a seed: which items, and their words."""


@dataclass(frozen=True)
class AugmentationOptions:
    """Which items get an augmented copy (DHPC, Section D.4).

    Attributes:
        rate: Share of each leaf's items, rounded half up and without a minimum: at 0.05 a leaf of
            9 items has no copy, one of 10 has one. 0 switches augmentation off.
        mode: ``add`` the copies to the items, or let them ``replace`` the items they were made of.
        multi_label: An item of several labels gets ``one`` label's name, that of the leaf which
            drew it (a random one of them if several did), or the names of ``all`` its labels.
    """

    rate: float = 0.0
    mode: Literal["add", "replace"] = "add"
    multi_label: Literal["one", "all"] = "one"

    def __post_init__(self) -> None:
        if not 0 <= self.rate <= 1:
            raise ValueError(f"augmentation.rate must be from 0 to 1, got {self.rate}")
        if self.mode not in ("add", "replace"):
            raise ValueError(f"augmentation.mode must be add or replace, got '{self.mode}'")
        if self.multi_label not in ("one", "all"):
            raise ValueError(
                f"augmentation.multi_label must be one or all, got '{self.multi_label}'"
            )


class _Copies(NamedTuple):
    """Drawn items, ascending, each once, with the labels that may lend their names (ragged).

    Shape:
        - rows: ``(N,)``, starts: ``(N + 1,)``, labels: ``(starts[N],)``
    """

    rows: NDArray[np.int64]
    starts: NDArray[np.int64]
    labels: NDArray[np.int64]


def augmented_shard(
    shards: Sequence[Shard],
    rows: NDArray[np.int64],
    names: Sequence[str],
    documents: NDArray[np.int64],
    labels: NDArray[np.int64],
    options: AugmentationOptions,
    seed: int,
    output: Path,
) -> NDArray[np.int64]:
    """Write the copies of a split's items as one more product shard.

    A copy keeps ``item_id``, ``node_ids`` and ``weight``. Its title is the item's title words in
    random order with the label's name between two of them, or at an end; the other fields are gone.
    Without a title the name stands alone.

    A shard made of the same input is left as it is, with its time of writing, so that its token
    cache stays valid. Several processes may ask at once: one writes, the others wait.

    Args:
        shards: The split's files.
        rows: ``(B,)`` row numbers in the split of the items to draw from; row numbers run on from
            one shard to the next.
        names: Name of each label, without those of its ancestors.
        documents: ``(P,)`` positions in ``rows``.
        labels: ``(P,)`` positions in ``names``; each pair (documents[i], labels[i]) once.
        options: How many copies, and which names.
        seed: The same seed draws the same items and makes the same titles.
        output: The Parquet file to write; none of whose rows is there if nothing was drawn.

    Returns:
        The split's row numbers of the copied items, ascending, in the order of the copies.

    Raises:
        UserError: If a shard cannot be read or ``output`` cannot be written.
    """
    copies = _draw(rows, documents, labels, options, seed)
    key = _fingerprint(shards, copies, names, options, seed)
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(output.with_name(output.name + ".lock")):
            if not _is_written(output, key):
                _write(shards, copies, names, options, seed, output, key)
    except (OSError, pa.ArrowException) as error:
        reason = str(error).splitlines()[0]
        raise UserError(
            f"{output}: the augmented items were not written ({reason}); set data.cache_dir"
        ) from error
    return copies.rows


def augment_title(title: str | None, names: Sequence[str], rng: np.random.Generator) -> str:
    """Title words in random order, each name as one phrase at a random word boundary.

    Words are what white space separates: a script that writes without it keeps its order, and the
    name comes before or after.
    """
    words = (title or "").split()
    parts = [words[index] for index in rng.permutation(len(words))]
    for name in names:
        parts.insert(int(rng.integers(len(parts) + 1)), " ".join(name.split()))
    return " ".join(filter(None, parts))


def _draw(
    rows: NDArray[np.int64],
    documents: NDArray[np.int64],
    labels: NDArray[np.int64],
    options: AugmentationOptions,
    seed: int,
) -> _Copies:
    rng = np.random.default_rng([seed, DRAW])
    drawn = _draw_per_label(labels, options.rate, rng)
    if options.multi_label == "all":
        drawn = np.flatnonzero(np.isin(documents, documents[drawn]))
    owners = rows[documents[drawn]]
    order = np.lexsort((labels[drawn], owners))
    chosen, starts = np.unique(owners[order], return_index=True)
    return _Copies(chosen, np.append(starts, len(drawn)), labels[drawn][order])


def _draw_per_label(
    labels: NDArray[np.int64], rate: float, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Positions in ``labels``: of each label a share of its occurrences, without replacement."""
    order = np.lexsort((rng.random(len(labels)), labels))
    grouped = labels[order]
    counts = np.bincount(labels)
    rank = np.arange(len(labels)) - (np.cumsum(counts) - counts)[grouped]
    drawn: NDArray[np.int64] = order[rank < np.floor(rate * counts + 0.5)[grouped]]
    return drawn


def _fingerprint(
    shards: Sequence[Shard],
    copies: _Copies,
    names: Sequence[str],
    options: AugmentationOptions,
    seed: int,
) -> bytes:
    digest = hashlib.sha256()
    used = [names[label] for label in np.unique(copies.labels)]
    plain = [VERSION, [shard.digest for shard in shards], used, asdict(options), seed]
    digest.update(json.dumps(plain).encode())
    for array in copies:
        digest.update(np.ascontiguousarray(array, dtype=np.int64).tobytes())
    return digest.hexdigest().encode()


def _is_written(output: Path, key: bytes) -> bool:
    try:
        metadata = pq.read_schema(output).metadata or {}
    except (FileNotFoundError, pa.ArrowException):
        return False
    return bool(metadata.get(KEY) == key)


def _write(
    shards: Sequence[Shard],
    copies: _Copies,
    names: Sequence[str],
    options: AugmentationOptions,
    seed: int,
    output: Path,
    key: bytes,
) -> None:
    schema = pa.schema([(name, TYPES[name]) for name in COLUMNS], metadata={KEY: key})
    temporary = output.with_name(f".{output.name}.{os.getpid()}.tmp")
    done = 0
    try:
        with parquet_writer(temporary, schema) as writer:
            for originals in _originals(shards, copies.rows):
                span = range(done, done + originals.num_rows)
                titles = _titles(originals["title"], span, copies, names, options, seed)
                writer.write_table(_with_titles(originals, titles, schema))
                done += originals.num_rows
        os.replace(temporary, output)
    finally:
        temporary.unlink(missing_ok=True)


def _titles(
    column: pa.ChunkedArray,
    span: range,
    copies: _Copies,
    names: Sequence[str],
    options: AugmentationOptions,
    seed: int,
) -> list[str]:
    titles = []
    for title, number in zip(column.to_pylist(), span, strict=True):
        # One stream per row: a title does not depend on which other items were drawn.
        rng = np.random.default_rng([seed, TEXT, int(copies.rows[number])])
        labels = copies.labels[copies.starts[number] : copies.starts[number + 1]]
        if options.multi_label == "one":
            labels = rng.choice(labels, 1)
        titles.append(augment_title(title, [names[label] for label in labels], rng))
    return titles


def _with_titles(originals: pa.Table, titles: list[str], schema: pa.Schema) -> pa.Table:
    count = len(titles)
    columns = {name: originals[name] for name in ("item_id", "node_ids", "weight")}
    columns["title"] = pa.array(titles, pa.string())
    columns["description"] = pa.nulls(count, pa.string())
    columns["bullet_points"] = pa.array([[]] * count, TYPES["bullet_points"])
    return pa.table([columns[name] for name in COLUMNS], schema=schema)


def _originals(shards: Sequence[Shard], rows: NDArray[np.int64]) -> Iterator[pa.Table]:
    """The rows in their order, one row group at a time; groups without any are not read."""
    first = 0
    for shard in shards:
        metadata = pq.read_metadata(shard.path)
        for group in range(shard.num_row_groups):
            count = metadata.row_group(group).num_rows
            begin, end = np.searchsorted(rows, [first, first + count])
            if begin < end:
                yield _read(shard.path, group).take(pa.array(rows[begin:end] - first))
            first += count


def _read(path: Path, group: int) -> pa.Table:
    table, _ = read_row_groups(path, [group], ["item_id", "title", "node_ids"])
    if "weight" in pq.read_schema(path).names:
        weight = read_row_groups(path, [group], ["weight"])[0]["weight"]
    else:
        weight = pa.array(np.ones(table.num_rows), TYPES["weight"])
    return table.append_column("weight", weight)
