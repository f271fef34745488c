"""What a tested run got wrong, from the rows that its test kept (``test_items``)."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from hierarchy_lm.errors import UserError
from hierarchy_lm.hierarchy import Hierarchy
from hierarchy_lm.reports.runs_data import Run, flat

ITEMS = "test_items"
COLUMNS = ["item_id", "gold", "predicted"]
DEPARTMENTS, LEAVES = "DepartmentClassifier", "LeafClassifier"
EXAMPLES = 3

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Items:
    """Gold and predicted nodes of a run's test, as pairs of an item and a node.

    Attributes:
        tree: Of the run's dataset.
        item_ids: n strings.
        gold: ``(2, g)`` items and nodes.
        predicted: ``(2, p)`` likewise.
    """

    tree: Hierarchy
    item_ids: pa.Array
    gold: Ints
    predicted: Ints


@dataclass(frozen=True)
class SiblingPair:
    """A node that was missed while its sibling was predicted in its place.

    Attributes:
        gold: The missed node.
        predicted: The sibling.
        items: How often.
        labelled: Items with the missed node.
        examples: Ids of the first ones.
    """

    gold: int
    predicted: int
    items: int
    labelled: int
    examples: list[str]


def read_items(run: Run) -> Items | str:
    """A run's test items with their tree, or why there are none.

    Raises:
        UserError: If a file is damaged.
    """
    files = sorted((run.folder / ITEMS).glob("part-*.parquet"))
    if not files:
        return f"no {ITEMS} (`hlm test` or test_after_fit writes them)"
    dataset = (run.record.get("dataset") or {}).get("path") or flat(run.config).get("data.dataset")
    file = Path(str(dataset), "hierarchy.parquet")
    if not file.is_file():
        return f"{file} is gone"
    tree = Hierarchy.from_parquet(file)
    recorded = (run.record.get("dataset") or {}).get("hierarchy")
    if recorded and tree.fingerprint != recorded:
        return f"{file} has changed since"
    try:
        table = pa.concat_tables(pq.read_table(file) for file in files).sort_by("item_id")
        nodes = _nodes(run, tree, table.schema.metadata or {})
        if nodes is None:
            return "its labels are no nodes of the tree"
        pairs = [_pairs(table[name].combine_chunks(), nodes) for name in COLUMNS[1:]]
    except (OSError, ValueError, KeyError, IndexError, pa.ArrowException) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"{run.folder / ITEMS}: {reason}; run `hlm test` again") from error
    return Items(tree, table["item_id"].combine_chunks(), *pairs)


def _nodes(run: Run, tree: Hierarchy, metadata: Mapping[bytes, bytes]) -> Ints | None:
    """The node of each label id; ``None`` if labels are no nodes."""
    if b"level_offsets" in metadata:
        return np.arange(tree.num_nodes)
    if run.kind == DEPARTMENTS:
        return np.arange(tree.level_sizes[0])
    if run.kind == LEAVES:
        name = flat(run.config)["data.department"]
        return np.asarray(tree.leaves_of(tree.department(name)), dtype=np.int64)
    return None


def _pairs(column: pa.Array, nodes: Ints) -> Ints:
    lengths = np.diff(column.offsets.to_numpy())
    labels = column.flatten().to_numpy(zero_copy_only=False).astype(np.int64)
    return np.stack([np.repeat(np.arange(len(column)), lengths), nodes[labels]])


def sibling_pairs(items: Items, most: int) -> tuple[list[SiblingPair], int]:
    """The pairs of siblings confused most often, and how many there are.

    A pair counts for an item that has the one node and was not given it, and was given the other
    and does not have it. Departments are siblings of one another.
    """
    size = items.tree.num_nodes
    gold, predicted = (rows * size + nodes for rows, nodes in (items.gold, items.predicted))
    missed = items.gold[:, ~np.isin(gold, predicted)]
    wrong = items.predicted[:, ~np.isin(predicted, gold)]
    first, second = _join(_below(missed, items.tree), _below(wrong, items.tree))
    keys = missed[1, first] * size + wrong[1, second]
    pairs, pair, counts = np.unique(keys, return_inverse=True, return_counts=True)
    labelled = np.bincount(items.gold[1], minlength=size)
    found = []
    for index in np.argsort(-counts, kind="stable")[:most].tolist():
        rows = missed[0, first[pair == index]][:EXAMPLES]
        one, other = divmod(int(pairs[index]), size)
        ids = items.item_ids.take(pa.array(rows)).to_pylist()
        found.append(SiblingPair(one, other, int(counts[index]), int(labelled[one]), ids))
    return found, len(pairs)


def _below(pairs: Ints, tree: Hierarchy) -> Ints:
    """A key for each pair's item and parent."""
    return np.asarray(pairs[0] * (tree.num_nodes + 1) + tree.parents[pairs[1]] + 1)


def _join(left: Ints, right: Ints) -> tuple[Ints, Ints]:
    """Indices of all pairs with equal keys."""
    order = np.argsort(right, kind="stable")
    starts = np.searchsorted(right[order], left)
    counts = np.searchsorted(right[order], left, side="right") - starts
    within = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    return np.repeat(np.arange(len(left)), counts), order[np.repeat(starts, counts) + within]


def recall_by_department(items: Items) -> tuple[dict[int, int], dict[int, float]]:
    """Items of each department of the labels, and the share of them that it was predicted for."""
    size = items.tree.num_nodes
    departments = items.tree.level_sizes[0]
    gold, predicted = (rows * size + nodes for rows, nodes in (items.gold, items.predicted))
    own = items.gold[1] < departments
    counts = np.bincount(items.gold[1, own], minlength=departments)
    found = np.bincount(items.gold[1, own & np.isin(gold, predicted)], minlength=departments)
    there = np.flatnonzero(counts).tolist()
    return (
        {node: int(counts[node]) for node in there},
        {node: float(found[node] / counts[node]) for node in there},
    )
