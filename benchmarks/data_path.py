"""From Parquet shards to padded batches: ours against Hugging Face ``datasets``."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import datasets  # type: ignore[import-untyped]
import numpy as np
from torch.utils.data import DataLoader
from transformers import AutoTokenizer, DataCollatorWithPadding

from benchmarks.corpus import minilm_folder, wide_tree, write_shards
from benchmarks.report import Report, Table
from benchmarks.timing import INTERLEAVED, Timings, interleave, spread
from data_modules.batching import BatchOptions, BatchPlan, ProductRows, TrainBatches
from data_modules.encoding import read_columns
from data_modules.shards import find_shards
from data_modules.tokens import CacheSpec, TokenStore, open_cache
from hierarchy_lm.batches import ProductBatch
from hierarchy_lm.dataset import PRODUCT_SCHEMA
from hierarchy_lm.hierarchy import Hierarchy
from hierarchy_lm.text import TextOptions
from hierarchy_lm.vocabulary import Vocabulary, load_vocabulary

BATCH = 256
MAX_LENGTH = 128
MAP_BATCH = 1000  # the default of datasets
OURS = "token cache, shuffled, sorted into lengths, sparse targets"
STREAMING = "datasets streaming, batched tokenising, dynamic padding"
MAPPED = "datasets tokenised beforehand, dynamic padding"
UNPADDED = "datasets streaming, batched tokenising, no batches made"
BUILD = "building our token cache, labels included"
TOKENIZER = "`tokenizer(texts)`, texts already in memory"


def run(quick: bool) -> Report:
    """Measure 60,000 texts, or 600."""
    rows, rounds = (600, 1) if quick else (60_000, 5)
    datasets.disable_progress_bars()
    vocabulary = load_vocabulary(minilm_folder())
    tree = wide_tree(300 if quick else 30_000, depth=10)
    with TemporaryDirectory() as folder:
        shards = Path(folder) / "products"
        write_shards(shards, rows, _words(vocabulary), tree)
        store = open_cache(_spec(shards, vocabulary, tree), Path(folder) / "cache", "train")
        baseline = HuggingFace(shards, Path(folder) / "datasets")
        batches = _batch_times(store, baseline, rounds)
        building = _build_times(_spec(shards, vocabulary, tree), baseline, rounds)
    tables = [
        _table("Rows per second to batches of 256", batches, rows, STREAMING),
        _table("Rows per second to token ids", building, rows, TOKENIZER),
        _fill_table(store),
    ]
    notes = [
        f"{rows:,} texts of log-normal length (median 25 tokens, cut at {MAX_LENGTH}) in 4 Parquet "
        "shards, 1 to 3 nodes each; the real MiniLM tokenizer.",
        "The variants of `datasets` neither shuffle nor yield labels; ours does both.",
        "The token cache is built once; what that costs stands in the second table.",
        INTERLEAVED.format(rounds=rounds),
    ]
    return Report("From shards to batches", notes, tables)


class HuggingFace:
    """What a user of ``datasets`` writes."""

    def __init__(self, shards: Path, cache: Path) -> None:
        self.files = sorted(str(path) for path in shards.iterdir())
        self.cache = str(cache)
        self.tokenizer = AutoTokenizer.from_pretrained(minilm_folder())
        whole = datasets.load_dataset(
            "parquet", data_files=self.files, split="train", cache_dir=self.cache
        )
        self.texts: list[str] = list(whole["title"])
        self.mapped = whole.map(
            self.tokenise, batched=True, batch_size=MAP_BATCH, remove_columns=whole.column_names
        )

    def tokenise(self, rows: dict[str, list[str]]) -> dict[str, list[list[int]]]:
        """Token ids, attention mask and segments of the titles."""
        encoded = self.tokenizer(rows["title"], truncation=True, max_length=MAX_LENGTH)
        return dict(encoded)

    def streamed(self) -> Iterable[dict[str, list[int]]]:
        """Token ids row by row, straight from the shards."""
        rows = datasets.load_dataset(
            "parquet", data_files=self.files, split="train", streaming=True, cache_dir=self.cache
        )
        return rows.map(  # type: ignore[no-any-return]
            self.tokenise, batched=True, batch_size=MAP_BATCH, remove_columns=rows.column_names
        )

    def batches(self, rows: object) -> Iterator[dict[str, object]]:
        """Padded batches in the order of the rows."""
        collate = DataCollatorWithPadding(self.tokenizer)
        return iter(DataLoader(rows, batch_size=BATCH, collate_fn=collate))  # type: ignore[arg-type]


def _batch_times(store: TokenStore, baseline: HuggingFace, rounds: int) -> Timings:
    rows = np.arange(len(store))
    sampler = TrainBatches(_plan(store), rank=0, first_step=lambda: 0)
    ours: DataLoader[ProductBatch] = DataLoader(
        ProductRows(store, rows), batch_size=None, sampler=sampler
    )
    variants = {
        OURS: lambda: _exhaust(ours),
        STREAMING: lambda: _exhaust(baseline.batches(baseline.streamed())),
        UNPADDED: lambda: _exhaust(baseline.streamed()),
        MAPPED: lambda: _exhaust(baseline.batches(baseline.mapped)),
    }
    return interleave(variants, rounds, least_seconds=1.0)


def _build_times(spec: CacheSpec, baseline: HuggingFace, rounds: int) -> Timings:
    def build() -> None:
        with TemporaryDirectory() as folder:
            open_cache(spec, Path(folder), "train")

    def tokenise() -> None:
        for start in range(0, len(baseline.texts), MAP_BATCH):
            baseline.tokenise({"title": baseline.texts[start : start + MAP_BATCH]})

    return interleave({BUILD: build, TOKENIZER: tokenise}, rounds)


def _spec(shards: Path, vocabulary: Vocabulary, tree: Hierarchy) -> CacheSpec:
    text = TextOptions(fields=("title",), max_length=MAX_LENGTH)
    columns = read_columns(text, pair=False, label_column="node_ids")
    return CacheSpec(
        shards=tuple(find_shards(shards, "train", PRODUCT_SCHEMA, columns)),
        vocabulary=vocabulary,
        text=text,
        pair=False,
        label_column="node_ids",
        num_labels=tree.num_nodes,
        hierarchy=tree,
    )


def _plan(store: TokenStore, options: BatchOptions | None = None) -> BatchPlan:
    options = options or BatchOptions(tokens=BATCH * MAX_LENGTH, documents=BATCH)
    return BatchPlan(store.lengths, options, world_size=1)


def _words(vocabulary: Vocabulary) -> list[str]:
    """Whole words of the vocabulary in its order, which is that of their frequency."""
    ids = vocabulary.tokenizer.get_vocab()
    return [word for word in sorted(ids, key=ids.__getitem__) if word.isascii() and word.isalpha()]


def _exhaust(items: Iterable[object]) -> None:
    for _ in items:
        pass


def _table(title: str, timings: Timings, rows: int, base: str) -> Table:
    lines = [
        [name, f"{rows / timings.median(name):,.0f}", spread(timings.ratios(base, name), ".2f")]
        for name in timings.seconds
    ]
    return Table(title, ["path", "rows/s", "times the rows/s of: " + base], lines)


def _fill_table(store: TokenStore) -> Table:
    lengths = store.lengths
    unsorted = np.array_split(lengths, range(BATCH, len(lengths), BATCH))
    by_options = {
        "ours, 256 documents": _plan(store),
        "ours, default budget of 4096 tokens": _plan(store, BatchOptions()),
    }
    fills = {
        name: _fill(lengths[rows] for rows in plan.epoch(0)) for name, plan in by_options.items()
    }
    fills["dynamic padding in the order of the files"] = _fill(unsorted)
    fills[f"padding to {MAX_LENGTH}"] = float(lengths.mean()) / MAX_LENGTH
    return Table(
        "Fill factor: share of tokens that are not padding",
        ["batches", "fill factor"],
        [[name, f"{fill:.3f}"] for name, fill in fills.items()],
    )


def _fill(batches: Iterable[np.ndarray[tuple[int], np.dtype[np.int64]]]) -> float:
    sizes = [(int(lengths.sum()), len(lengths) * int(lengths.max())) for lengths in batches]
    return sum(real for real, _ in sizes) / sum(padded for _, padded in sizes)
