"""Tables of `run.sh`: scores by decoding, and how far any model could get on unseen nodes.

python benchmarks/wordnet/table.py DATASET RUNS
"""

import json
import sys
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hierarchy_lm.hierarchy import Hierarchy
from hierarchy_lm.parquet import read_table

DECODINGS = ("none", "parent", "top1", "top1-0.5")
OVER_ALL = ("micro_f1", "path_consistency", "node_consistency", "unanswered")


class Items(NamedTuple):
    """Numbers of items."""

    train: int
    test: int


def per_node(dataset: Path, split: str, tree: Hierarchy) -> NDArray[np.int64]:
    """Items of each node, an item counting for all nodes above its own."""
    shards = sorted(dataset.glob(f"products/{split}-*.parquet"))
    rows = read_table(shards, ["node_ids"])["node_ids"].to_pylist()
    offsets = np.concatenate([[0], np.cumsum([len(row) for row in rows])])
    nodes = np.array([node for row in rows for node in row], dtype=np.int32)
    return np.bincount(tree.close(nodes, offsets)[0], minlength=tree.num_nodes)


def constant_f1(train: NDArray[np.int64], test: NDArray[np.int64], items: Items) -> float:
    """Micro F1 of the same nodes for every item, those that are best on the training items."""
    order = np.argsort(-train)
    answers = np.arange(1, len(order) + 1)
    size = np.argmax(2 * train[order].cumsum() / (answers * items.train + train.sum())) + 1
    found = test[order[:size]].sum()
    return float(2 * found / (size * items.test + test.sum()))


def percent(value: float) -> str:
    return f"{100 * value:.1f}"


def main() -> None:
    dataset, runs = map(Path, sys.argv[1:])
    tree = Hierarchy.from_parquet(dataset / "hierarchy.parquet")
    train, test = per_node(dataset, "train", tree), per_node(dataset, "test", tree)
    items = Items(int(train[0]), int(test[0]))  # every item is below the one root
    scores = {
        name: json.loads((runs / name / "version_0" / "test.json").read_text())
        for name in DECODINGS
    }
    head = [
        "level",
        "nodes",
        "without training items",
        "test labels",
        "highest F1",
        "one answer for all",
        *DECODINGS,
    ]
    print("|", " | ".join(head), "|\n|", " | ".join("---" for _ in head), "|")
    for level, (start, end) in enumerate(pairwise(tree.level_offsets.tolist()), start=1):
        unseen, labels = train[start:end] == 0, test[start:end]
        found = labels[~unseen].sum()
        best = 2 * found / max(1, found + labels.sum())
        own = [percent(scores[name][f"test/micro_f1_L{level}"]) for name in DECODINGS]
        cells = [level, f"{end - start:,}", f"{unseen.sum():,}", f"{labels.sum():,}"]
        cells += [percent(best), percent(constant_f1(train[start:end], labels, items))]
        print("|", " | ".join(map(str, [*cells, *own])), "|")
    print("\n| over all levels |", " | ".join(DECODINGS), "|\n|", " | ".join(["---"] * 5), "|")
    for key in OVER_ALL:
        print(f"| {key} |", " | ".join(percent(scores[n][f"test/{key}"]) for n in DECODINGS), "|")


if __name__ == "__main__":
    main()
