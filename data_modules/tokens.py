"""The token cache: a split's token and label ids in flat, memory-mapped files, built once."""

import hashlib
import json
import multiprocessing
import os
import shutil
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from filelock import FileLock
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track

from data_modules.encoding import EncodedRows, EncodeJob, split_shard
from data_modules.node_texts import NodeTexts
from data_modules.shards import Shard
from hierarchy_lm.dataset import write_json
from hierarchy_lm.errors import UserError
from hierarchy_lm.hierarchy import Hierarchy
from hierarchy_lm.text import TextOptions
from hierarchy_lm.vocabulary import Vocabulary

CACHE_VERSION = 2
PARALLEL_ROWS = 100_000


@dataclass(frozen=True)
class CacheSpec:
    """Everything that decides what a token cache holds; the cache's name is its hash.

    Attributes:
        shards: The split's files.
        vocabulary: Tokenizer.
        text: Text options.
        pair: Whether a query stands before the text.
        label_column: ``node_ids`` or ``label_ids``.
        num_labels: Number of distinct label ids.
        hierarchy: If given, label ids are node ids and are closed under ancestors.
        weighted: Whether the rows have an importance, in the column ``weight``.
        nodes: If given, each row's nodes stand in front of its text.
    """

    shards: tuple[Shard, ...]
    vocabulary: Vocabulary
    text: TextOptions
    pair: bool
    label_column: str
    num_labels: int
    hierarchy: Hierarchy | None = None
    weighted: bool = False
    nodes: NodeTexts | None = None

    @property
    def key(self) -> str:
        """Hash of the shards, the tokenizer, the text options and the tree."""
        parts = {
            "version": CACHE_VERSION,
            "shards": [shard.digest for shard in self.shards],
            "tokenizer": self.vocabulary.fingerprint,
            "text": asdict(self.text),
            "pair": self.pair,
            "labels": [self.label_column, self.num_labels, self.weighted],
            "hierarchy": self.hierarchy.fingerprint if self.hierarchy else None,
        }
        if self.nodes:
            parts["nodes"] = self.nodes.fingerprint
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]

    @property
    def dtype(self) -> str:
        """Smallest type that holds every token id; mBERT's and XLM-R's need 32 bits."""
        return "uint16" if self.vocabulary.size <= 1 << 16 else "uint32"

    def jobs(self) -> Iterator[EncodeJob]:
        """The shards cut into pieces for the worker processes."""
        tokenizer_json = self.vocabulary.tokenizer.to_str()
        for shard in self.shards:
            for row_groups in split_shard(shard):
                yield EncodeJob(
                    path=shard.path,
                    row_groups=row_groups,
                    tokenizer_json=tokenizer_json,
                    special=self.vocabulary.special,
                    text=self.text,
                    pair=self.pair,
                    label_column=self.label_column,
                    num_labels=self.num_labels,
                    weighted=self.weighted,
                    dtype=self.dtype,
                    nodes=self.nodes,
                )


class TokenStore:
    """A token cache, opened.

    Attributes:
        lengths: ``(N,)`` tokens per document.
        label_counts: ``(N,)`` labels per document.
        meta: What building it counted: rows, tokens, truncated, invalid_utf8.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.meta = json.loads((folder / "meta.json").read_text(encoding="utf-8"))
        self._ids = _map(folder / "ids.bin", self.meta["dtype"])
        self._offsets = _map(folder / "offsets.bin", "int64")
        self._boundaries = _map(folder / "boundaries.bin", "int32").reshape(
            self.meta["rows"], self.meta["num_segments"] - 1
        )
        self._labels = _map(folder / "labels.bin", "int32")
        self._label_offsets = _map(folder / "label_offsets.bin", "int64")
        self._weights = _map(folder / "weights.bin", "float32")
        self._item_ids = folder / "item_ids.arrow"
        self.lengths: NDArray[np.int64] = np.diff(self._offsets)
        self.label_counts: NDArray[np.int64] = np.diff(self._label_offsets)

    def __len__(self) -> int:
        return int(self.meta["rows"])

    def __reduce__(self) -> tuple[type["TokenStore"], tuple[Path]]:
        # A loader process maps the files itself; pickling a mapped array would copy it.
        return TokenStore, (self.folder,)

    def tokens(self, rows: NDArray[np.int64]) -> tuple[NDArray[np.int64], ...]:
        """Padded ``input_ids``, ``token_type_ids`` and ``attention_mask``, each ``(B, T)``."""
        lengths = self.lengths[rows]
        positions = np.arange(lengths.max())
        mask = positions < lengths[:, None]
        input_ids = np.full(mask.shape, self.meta["pad"], dtype=np.int64)
        input_ids[mask] = self._ids[(self._offsets[rows][:, None] + positions)[mask]]
        segments = (self._boundaries[rows][:, :, None] <= positions).sum(axis=1) * mask
        return input_ids, segments.astype(np.int64), mask.astype(np.int64)

    def labels(self, rows: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Label ids of the rows as coordinates ``(document, label)``, each ``(P,)``."""
        counts = self.label_counts[rows]
        documents = np.repeat(np.arange(len(rows)), counts)
        starts = self._label_offsets[rows] - np.concatenate([[0], np.cumsum(counts)[:-1]])
        source = np.repeat(starts, counts) + np.arange(len(documents))
        return documents, self._labels[source].astype(np.int64)

    def weights(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """Importance of the rows."""
        taken: NDArray[np.float32] = self._weights[rows]
        return taken

    def item_ids(self, rows: NDArray[np.int64]) -> pa.Array:
        """Item ids of the rows, in their order."""
        with pa.memory_map(str(self._item_ids)) as source:
            column = pa.ipc.open_file(source).read_all()["item_id"]
            return column.take(pa.array(rows)).combine_chunks()


def open_cache(spec: CacheSpec, folder: Path, split: str) -> TokenStore:
    """Open the split's token cache, building it first where it is missing.

    Several processes may ask at once: one builds, the others wait. A killed build leaves nothing
    that is taken for a cache.

    Raises:
        UserError: If the folder cannot be written or a shard is broken.
    """
    final = folder / f"{split}-{spec.key}"
    if not final.is_dir():
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with FileLock(folder / f"{split}.lock"):
                if not final.is_dir():
                    _build(spec, final, split)
        except PermissionError as error:
            raise UserError(
                f"{folder}: cannot write the token cache ({error.strerror}); set data.cache_dir"
            ) from error
        except OSError as error:
            raise UserError(f"{folder}: the token cache was not written ({error})") from error
        except BrokenProcessPool as error:
            raise UserError(
                f"{folder}: a process that tokenised the {split} split was killed, most likely for "
                "want of memory; free some and run again"
            ) from error
    return TokenStore(final)


def _build(spec: CacheSpec, final: Path, split: str) -> None:
    for orphan in final.parent.glob(f"{split}-*.tmp"):
        shutil.rmtree(orphan)  # the lock is ours, so its writer is dead
    temporary = final.with_name(final.name + ".tmp")
    temporary.mkdir()
    console = Console(stderr=True)
    rows = sum(shard.num_rows for shard in spec.shards)
    jobs = list(spec.jobs())
    results = track(
        _run(jobs, rows),
        description=f"Tokenising {split} ({rows:,} rows)",
        total=len(jobs),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
    try:
        meta = _write(spec, results, temporary)
        os.replace(temporary, final)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)  # gigabytes, perhaps on a full disk
        raise
    console.print(
        f"Tokenised {split}: {meta['rows']:,} rows, {meta['tokens'] / max(1, meta['rows']):.1f} "
        f"tokens each, {meta['truncated']:,} cut to {spec.text.max_length} tokens"
        + (f", {meta['invalid_utf8']:,} texts with invalid UTF-8" if meta["invalid_utf8"] else ""),
        highlight=False,
        soft_wrap=True,  # one line also in a log file
    )


def _run(jobs: list[EncodeJob], rows: int) -> Iterator[EncodedRows]:
    workers = min(len(jobs), os.cpu_count() or 1)
    if workers < 2 or rows < PARALLEL_ROWS:
        yield from (job.run() for job in jobs)  # starting processes would take longer
        return
    with ExitStack() as stack:
        # One tokenizer thread per process: the processes are the parallelism.
        stack.callback(
            _restore_env, "TOKENIZERS_PARALLELISM", os.environ.get("TOKENIZERS_PARALLELISM")
        )
        os.environ["TOKENIZERS_PARALLELISM"] = "false"
        context = multiprocessing.get_context("spawn")
        pool = stack.enter_context(ProcessPoolExecutor(workers, mp_context=context))
        yield from pool.map(EncodeJob.run, jobs)


def _restore_env(name: str, value: str | None) -> None:
    if value is None:
        os.environ.pop(name, None)
    else:
        os.environ[name] = value


def _write(spec: CacheSpec, results: Iterable[EncodedRows], folder: Path) -> dict[str, Any]:
    meta: dict[str, Any] = {"rows": 0, "tokens": 0, "truncated": 0, "invalid_utf8": 0}
    meta |= {"dtype": spec.dtype, "pad": spec.vocabulary.special.pad, "num_segments": 1}
    labels_written = 0
    with ExitStack() as stack:
        files = {
            name: stack.enter_context((folder / f"{name}.bin").open("wb"))
            for name in ("ids", "offsets", "boundaries", "labels", "label_offsets", "weights")
        }
        schema = pa.schema([("item_id", pa.string())])
        item_ids = stack.enter_context(pa.ipc.new_file(folder / "item_ids.arrow", schema))
        files["offsets"].write(np.int64(0).tobytes())
        files["label_offsets"].write(np.int64(0).tobytes())
        for rows in results:
            labels, label_offsets = _label_sets(spec, rows)
            item_ids.write_batch(pa.record_batch([rows.item_ids], schema=schema))
            files["ids"].write(rows.ids.tobytes())
            files["offsets"].write((meta["tokens"] + np.cumsum(rows.lengths)).tobytes())
            files["boundaries"].write(rows.boundaries.astype(np.int32).tobytes())
            files["labels"].write(labels.tobytes())
            files["weights"].write(rows.weights.tobytes())
            files["label_offsets"].write((labels_written + label_offsets[1:]).tobytes())
            labels_written += len(labels)
            meta["rows"] += len(rows.lengths)
            meta["tokens"] += len(rows.ids)
            meta["truncated"] += rows.truncated
            meta["invalid_utf8"] += rows.invalid_utf8
            meta["num_segments"] = rows.boundaries.shape[1] + 1
    write_json(folder / "meta.json", meta)
    return meta


def _label_sets(spec: CacheSpec, rows: EncodedRows) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Label ids per row, sorted and without repetition, closed under ancestors in a tree."""
    offsets = np.concatenate([[0], np.cumsum(rows.label_counts)]).astype(np.int64)
    if spec.hierarchy:
        return spec.hierarchy.close(rows.labels, offsets)
    owners = np.repeat(np.arange(len(rows.label_counts)), rows.label_counts)
    pairs = np.unique(owners * spec.num_labels + rows.labels)
    counts = np.bincount(pairs // spec.num_labels, minlength=len(rows.label_counts))
    labels = (pairs % spec.num_labels).astype(np.int32)
    return labels, np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)


def _map(path: Path, dtype: str) -> NDArray[Any]:
    if path.stat().st_size == 0:
        return np.empty(0, dtype=dtype)  # an empty file cannot be mapped
    return np.memmap(path, dtype=dtype, mode="r")
