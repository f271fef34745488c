"""What a tested run got wrong, from the rows that its test kept (``test_items``)."""

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from hierarchy_lm.hierarchy import Hierarchy
from hierarchy_lm.metrics.bootstrap import Outcomes
from hierarchy_lm.reports.configs import flat
from hierarchy_lm.reports.runs_data import Run
from hierarchy_lm.reports.table_items import read_items
from hierarchy_lm.run_files import TEST_ITEMS

DEPARTMENTS, LEAVES = "DepartmentClassifier", "LeafClassifier"
EXAMPLES = 3

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class NodeItems:
    """Gold and predicted nodes of a run's test, as pairs of an item and a node.

    Attributes:
        tree: Of the run's dataset.
        item_ids: n strings.
        gold: ``(2, g)`` items and nodes.
        predicted: ``(2, p)`` likewise.
    """

    tree: Hierarchy
    item_ids: pa.ChunkedArray
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


def node_items(run: Run) -> NodeItems | str:
    """A run's test items as nodes of its tree, or why there are none.

    Raises:
        UserError: If a file is damaged.
    """
    items = read_items(run.folder)
    if items is None:
        return f"no {TEST_ITEMS} (`hlm test` or test_after_fit writes them)"
    recorded = run.record.get("dataset") or {}
    dataset = recorded.get("path") or flat(run.config).get("data.dataset")
    if recorded and "hierarchy" not in recorded:
        return f"{dataset} has no tree"
    file = Path(str(dataset), "hierarchy.parquet")
    if not file.is_file():
        return f"{file} is gone"
    tree = _tree(file)
    if recorded.get("hierarchy", tree.fingerprint) != tree.fingerprint:
        return f"{file} has changed since"
    nodes = _nodes(run, tree, items.outcomes)
    if nodes is None:
        return "its labels are no nodes of the tree"
    if len(nodes) != items.outcomes.num_labels:
        return f"its labels are not those of {file}"
    pairs = [
        np.stack([found.items, nodes[found.labels]])
        for found in (items.outcomes.gold, items.outcomes.predicted)
    ]
    return NodeItems(tree, items.ids, *pairs)


@cache
def _tree(file: Path) -> Hierarchy:
    # That of a sweep's runs is the same.
    return Hierarchy.from_parquet(file)


def _nodes(run: Run, tree: Hierarchy, outcomes: Outcomes) -> Ints | None:
    """The node of each label id; ``None`` if labels are no nodes."""
    if outcomes.level_offsets:
        return np.arange(tree.num_nodes)
    if run.kind == DEPARTMENTS:
        return np.arange(tree.level_sizes[0])
    if run.kind == LEAVES:
        name = flat(run.config)["data.department"]
        return np.asarray(tree.leaves_of(tree.department(name)), dtype=np.int64)
    return None


def sibling_pairs(items: NodeItems, most: int) -> tuple[list[SiblingPair], int]:
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


def recall_by_department(items: NodeItems) -> tuple[dict[int, int], dict[int, float]]:
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
