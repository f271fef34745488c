"""Which mistakes a cascade makes: confused siblings, and labels it contradicts."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from hierarchy_lm.dataset_folder import open_dataset
from hierarchy_lm.parquet import read_table
from hierarchy_lm.reports.cascade_data import Evaluation, Ints
from hierarchy_lm.reports.cascade_figures import Judgement

EXAMPLES = 3


@dataclass(frozen=True)
class Confusion:
    """A leaf predicted in the place of its sibling.

    Attributes:
        gold: Leaf of the label.
        predicted: Leaf of the cascade, under the same parent.
        items: How often.
        labelled: Items whose label is the gold leaf.
        importance: Weight of the confused items.
        examples: Ids of the most confident ones.
    """

    gold: int
    predicted: int
    items: int
    labelled: int
    importance: float
    examples: list[str]


@dataclass(frozen=True)
class Contradiction:
    """An item whose label the cascade confidently contradicts, perhaps a wrong label.

    Attributes:
        item_id: The item.
        gold: Nodes of its label.
        predicted: Leaf of the cascade.
        confidence: Confidence in that leaf.
    """

    item_id: str
    gold: list[int]
    predicted: int
    confidence: float


def confused_siblings(
    evaluation: Evaluation, judgement: Judgement, most: int
) -> tuple[list[Confusion], int]:
    """The most confused pairs of leaves under one parent by importance, and how many there are."""
    tree, gold, rows = evaluation.hierarchy, evaluation.gold, evaluation.gold_rows
    predicted = evaluation.leaf[rows]
    wrong = (judgement.answered & ~judgement.leaf_right)[rows]
    siblings = (tree.parents[gold] == tree.parents[predicted]) & (tree.parents[gold] >= 0)
    found = np.flatnonzero(wrong & siblings & tree.is_leaf[gold])
    keys = gold[found] * tree.num_nodes + predicted[found]
    pairs, pair, counts = np.unique(keys, return_inverse=True, return_counts=True)
    weights = np.bincount(pair, evaluation.weight[rows[found]], len(pairs))
    labelled = np.bincount(gold, minlength=tree.num_nodes)
    first = np.lexsort((-counts, -weights))[:most]
    return [
        Confusion(
            *divmod(int(pairs[index]), tree.num_nodes),
            items=int(counts[index]),
            labelled=int(labelled[pairs[index] // tree.num_nodes]),
            importance=float(weights[index]),
            examples=_examples(evaluation, rows[found[pair == index]]),
        )
        for index in first
    ], len(pairs)


def _examples(evaluation: Evaluation, rows: Ints) -> list[str]:
    order = np.argsort(-evaluation.confidence[rows], kind="stable")[:EXAMPLES]
    return list(evaluation.item_ids.take(pa.array(rows[order])).to_pylist())


def contradicted_labels(
    evaluation: Evaluation, judgement: Judgement, most: int
) -> tuple[list[Contradiction], int]:
    """The contradicted items of highest confidence, and how many there are."""
    rows = np.flatnonzero(judgement.contradicted)
    total = len(rows)
    rows = rows[np.argsort(-evaluation.confidence[rows], kind="stable")[:most]]
    starts = np.searchsorted(evaluation.gold_rows, rows)
    ends = np.searchsorted(evaluation.gold_rows, rows, side="right")
    return [
        Contradiction(
            item_id=evaluation.item_ids[row].as_py(),
            gold=evaluation.gold[start:end].tolist(),
            predicted=int(evaluation.leaf[row]),
            confidence=float(evaluation.confidence[row]),
        )
        for row, start, end in zip(rows.tolist(), starts, ends, strict=True)
    ], total


def read_titles(dataset: str, split: str, item_ids: Sequence[str]) -> dict[str, str] | None:
    """Titles of some items from the dataset's products; ``None`` if they cannot be read.

    Raises:
        UserError: If the dataset is there, but some of its files are not those it lists.
    """
    if not dataset or not Path(dataset).is_dir():
        return None
    files = sorted((open_dataset(Path(dataset)).folder / "products").glob(f"{split}-*.parquet"))
    if not files:
        return None
    wanted = pc.field("item_id").isin(pa.array(item_ids, pa.string()))
    try:
        table = read_table(files, ["item_id", "title"], wanted)
    except (OSError, ValueError, pa.ArrowException):
        return None
    titles = zip(table["item_id"].to_pylist(), table["title"].to_pylist(), strict=True)
    return {item_id: title for item_id, title in titles if title}
