"""Reading what `hlm embed` wrote: whole splits, or the same sample of them for every encoder."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import torch
from numpy.typing import NDArray
from torch import Tensor

from hierarchy_lm.dataset import read_json
from hierarchy_lm.embeddings.writer import INFO, TREE
from hierarchy_lm.errors import UserError
from hierarchy_lm.hierarchy import Hierarchy
from hierarchy_lm.parquet import read_table

BATCH_ROWS = 4096
HASH_FACTOR = np.uint64(0x100000001B3)  # the prime of the FNV hash


@dataclass(frozen=True)
class Documents:
    """Embedded documents in the order of their ids, so that it is the same for every encoder.

    Attributes:
        item_ids: N strings.
        vectors: ``(N, k)`` float32.
        rows, nodes: ``(P,)`` pairs of a document and a node on one of its paths, sorted by
            document.
    """

    item_ids: pa.Array
    vectors: Tensor
    rows: NDArray[np.int64]
    nodes: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.vectors)


class EmbeddingFolder:
    """A folder of `hlm embed`.

    Args:
        folder: The folder.

    Attributes:
        info: ``embeddings.json``.
        hierarchy: The tree of the node ids.

    Raises:
        UserError: If the folder is unfinished, broken or of another kind.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        if not (folder / INFO).is_file():
            raise UserError(f"{folder}: no {INFO} there; make it with `hlm embed`")
        self.info = read_json(folder / INFO, "run `hlm embed` again")
        self.hierarchy = Hierarchy.from_parquet(folder / TREE)
        self.parts = sorted(folder.glob("part-*.parquet"))
        self._check()

    def _check(self) -> None:
        try:
            rows = sum(pq.read_metadata(part).num_rows for part in self.parts)
            if rows != self.info["size"]:
                raise ValueError(f"{rows} rows, but {INFO} says {self.info['size']}")
            if self.hierarchy.fingerprint != self.info["tree_fingerprint"]:
                raise ValueError(f"{TREE} is not the tree of {INFO}")
        except (OSError, KeyError, ValueError, pa.ArrowException) as error:
            reason = str(error).splitlines()[0]
            raise UserError(f"{self.folder}: {reason}; run `hlm embed` again") from error

    @cached_property
    def _index(self) -> pa.Table:
        index = read_table(self.parts, ["item_id", "split"])
        if pc.count_distinct(index["item_id"]).as_py() != len(index):
            raise UserError(f"{self.folder}: holds items twice; run `hlm embed` again")
        return index

    def splits(self) -> list[str]:
        """Splits with at least one document."""
        return [str(name) for name in pc.unique(self._index["split"].cast(pa.string())).to_pylist()]

    def read(self, split: str, most: int | None = None) -> Documents:
        """Documents of a split.

        Args:
            split: One of :meth:`splits`.
            most: Read a sample of this size, a function of the item ids alone.

        Raises:
            UserError: If the split is empty, or a vector holds something else than numbers.
        """
        ids = self._index["item_id"].combine_chunks()
        rows = np.flatnonzero(pc.equal(self._index["split"].cast(pa.string()), split).to_numpy())
        if len(rows) == 0:
            raise UserError(
                f"{self.folder}: nothing of the split '{split}', only {', '.join(self.splits())}; "
                "run `hlm embed` with --data.predict_split all"
            )
        rows = rows[sample(ids.take(pa.array(rows)), most)]
        rows = rows[pc.sort_indices(ids.take(pa.array(rows))).to_numpy()]
        documents = self._take(rows, ids.take(pa.array(rows)))
        if not bool(torch.isfinite(documents.vectors).all()):
            raise UserError(f"{self.folder}: holds vectors that are not finite; embed them again")
        return documents

    def _take(self, rows: NDArray[np.int64], item_ids: pa.Array) -> Documents:
        vectors = np.empty((len(rows), self.info["dimensions"]), dtype=np.float32)
        place = np.full(self.info["size"], -1)
        place[rows] = np.arange(len(rows))
        owners, nodes = [np.empty(0, dtype=np.int64)], [np.empty(0, dtype=np.int64)]
        first = 0
        for batch in self._batches():
            to = place[first : first + len(batch)]
            first += len(batch)
            kept = batch.filter(pa.array(to >= 0))
            to = to[to >= 0]
            numbers = kept["embedding"].flatten().to_numpy(zero_copy_only=False)
            vectors[to] = numbers.reshape(len(to), vectors.shape[1])
            owners.append(np.repeat(to, pc.list_value_length(kept["node_ids"]).to_numpy()))
            nodes.append(kept["node_ids"].flatten().to_numpy().astype(np.int64))
        pairs = np.concatenate(owners)
        order = np.argsort(pairs, kind="stable")
        return Documents(
            item_ids, torch.from_numpy(vectors), pairs[order], np.concatenate(nodes)[order]
        )

    def _batches(self) -> Iterator[Any]:
        for part in self.parts:
            with pq.ParquetFile(part) as file:
                yield from file.iter_batches(BATCH_ROWS, columns=["node_ids", "embedding"])


def sample(item_ids: pa.Array, most: int | None) -> NDArray[np.int64]:
    """Positions of at most ``most`` ids, those of the smallest hashes, ascending."""
    if most is None or most >= len(item_ids):
        return np.arange(len(item_ids))
    smallest = np.argsort(hash_ids(item_ids), kind="stable")[:most]
    return np.sort(smallest).astype(np.int64)


def hash_ids(item_ids: pa.Array) -> NDArray[np.uint64]:
    """A hash of each string, the same everywhere: FNV's polynomial, then mixed as in SplitMix."""
    data = item_ids.cast(pa.large_binary())
    lengths = pc.binary_length(data).to_numpy().astype(np.int64)
    ends = np.cumsum(lengths)
    offsets = np.frombuffer(data.buffers()[1], dtype=np.int64)[data.offset :]
    if not lengths.sum():
        return np.zeros(len(item_ids), dtype=np.uint64)
    text = np.frombuffer(data.buffers()[2], dtype=np.uint8)[offsets[0] : offsets[len(lengths)]]
    position = np.arange(len(text)) - np.repeat(ends - lengths, lengths)
    powers = np.cumprod(np.full(lengths.max(), HASH_FACTOR, dtype=np.uint64))
    # Differences of a running sum that wraps around give every string's own sum, empty ones too.
    running = np.zeros(len(text) + 1, dtype=np.uint64)
    np.cumsum((text + np.uint64(1)) * powers[position], out=running[1:])
    return _mix(running[ends] - running[ends - lengths])


def _mix(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))
