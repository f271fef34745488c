"""Counts what the report shows, from the rows as written."""

import operator
from dataclasses import dataclass
from functools import reduce
from typing import Any, NamedTuple

import ibis
import ibis.expr.types as ir
import numpy as np
from numpy.typing import NDArray

from data_modules.prepare.engines import Engine
from data_modules.prepare.expressions import ITEM, text_hash
from hierarchy_lm.dataset import SPLITS
from hierarchy_lm.hierarchy import Hierarchy

TAIL_ITEMS = 5
"""A node or label with this many items or fewer belongs to the long tail."""
HEAD_SHARE = 0.1
"""The share of a level's nodes, most frequent first, that is called its head."""

Ids = NDArray[np.int64]


@dataclass(frozen=True)
class TextFigures:
    """Texts of a product table or a task.

    Attributes:
        splits: Per split: rows, missing fields, empty texts and text lengths in characters.
        copies: Rows of equal text across splits, and texts with different labels.
    """

    splits: dict[str, dict[str, Any]]
    copies: dict[str, int]


@dataclass(frozen=True)
class LevelFigures:
    """Nodes of one level, or labels of a task.

    Attributes:
        nodes: Their number.
        items: Items with a node of this level.
        empty: Nodes without any item.
        unseen: Nodes that no training item has.
        tail: Nodes with 1 to ``TAIL_ITEMS`` items.
        head_share: Share of the (item, node) pairs in the most frequent tenth of the nodes.
    """

    nodes: int
    items: int
    empty: int
    unseen: int
    tail: int
    head_share: float


@dataclass(frozen=True)
class LabelFigures:
    """Labels of a product table or a task, per level (a task has one).

    Attributes:
        levels: One after the other.
        several: Rows with several labels.
        without: Rows with none.
        only_in_test: Nodes or labels that occur in the test split alone.
    """

    levels: list[LevelFigures]
    several: int
    without: int
    only_in_test: list[int]


def text_figures(engine: Engine, rows: ir.Table, labels: str) -> TextFigures:
    """Missing fields, lengths and equal texts of the rows."""
    bullets = rows["bullet_points"].fill_null(ibis.literal([], type="array<string>"))
    parts = [rows["title"], rows["description"], bullets.join(" ")]
    if "query" in rows.columns:
        parts.append(rows["query"])
    described = rows.select(
        "split",
        title=rows["title"].isnull(),
        description=rows["description"].isnull(),
        bullet_points=bullets.length() == 0,
        length=reduce(operator.add, [part.fill_null("").length() for part in parts]),
        text=text_hash(rows),
        labels=rows[labels].map(lambda label: label.cast("string")).join(ITEM),
    )
    return TextFigures(_per_split(engine, described), _copies(engine, described))


def _per_split(engine: Engine, rows: ir.Table) -> dict[str, dict[str, Any]]:
    length = rows["length"]
    found = rows.group_by("split").aggregate(
        rows=rows.count(),
        title=rows["title"].sum(),
        description=rows["description"].sum(),
        bullet_points=rows["bullet_points"].sum(),
        empty=(length == 0).sum(),
        median=length.quantile(0.5),
        p95=length.quantile(0.95),
        longest=length.max(),
    )
    per_split = {str(row.pop("split")): row for row in engine.rows(found)}
    return {split: per_split[split] for split in SPLITS if split in per_split}


def _copies(engine: Engine, rows: ir.Table) -> dict[str, int]:
    rows = rows.filter(rows["length"] > 0)
    counts = {split: (rows["split"] == split).sum() for split in SPLITS}
    texts = rows.group_by("text").aggregate(
        rows=rows.count(), label_sets=rows["labels"].nunique(), **counts
    )
    train, validation, test = (texts[split] for split in SPLITS)
    several = texts["label_sets"] > 1
    found = engine.values(
        texts.aggregate(
            repeated=(texts["rows"] > 1).sum(),
            validation_in_train=validation.sum(where=train > 0),
            test_in_train=test.sum(where=train > 0),
            test_in_validation=test.sum(where=validation > 0),
            texts_with_several_labels=several.sum(),
            rows_with_several_labels=texts["rows"].sum(where=several),
        )
    )
    return {name: int(count or 0) for name, count in found.items()}


def node_figures(engine: Engine, rows: ir.Table, tree: Hierarchy) -> LabelFigures:
    """Items per node, an item counting for its nodes and all their ancestors."""
    sets = _label_sets(engine, rows, "node_ids")
    ids, offsets = tree.close(sets.ids.astype(np.int32), sets.offsets)
    closed = _LabelSets(ids.astype(np.int64), offsets, *sets[2:])
    counts = _counts(closed, tree.num_nodes)
    rows_of = np.repeat(np.arange(len(sets.items)), np.diff(offsets))
    levels = []
    for start, end in zip(tree.level_offsets, tree.level_offsets[1:], strict=False):
        with_level = np.unique(rows_of[(ids >= start) & (ids < end)])
        part = slice(start, end)
        items = int(sets.items[with_level].sum())
        levels.append(_level(counts.items[part], counts.train[part], items))
    return _labels(levels, sets, counts)


def label_figures(engine: Engine, rows: ir.Table, num_labels: int) -> LabelFigures:
    """Items per label of a task."""
    sets = _label_sets(engine, rows, "label_ids")
    counts = _counts(sets, num_labels)
    items = int(sets.items[np.diff(sets.offsets) > 0].sum())
    return _labels([_level(counts.items, counts.train, items)], sets, counts)


class _LabelSets(NamedTuple):
    """Distinct id lists, concatenated, and in how many rows (of a split) each is."""

    ids: Ids
    offsets: Ids
    items: Ids
    train: Ids
    test: Ids


class _Counts(NamedTuple):
    """Rows (of a split) per node or label."""

    items: Ids
    train: Ids
    test: Ids


def _label_sets(engine: Engine, rows: ir.Table, column: str) -> _LabelSets:
    sets = rows.group_by(column).aggregate(
        items=rows.count(),
        train=(rows["split"] == "train").sum(),
        test=(rows["split"] == "test").sum(),
    )
    table = engine.collect(sets)
    lists = table[column].combine_chunks()
    offsets = np.concatenate([[0], np.cumsum(lists.value_lengths().to_numpy())]).astype(np.int64)
    ids = lists.flatten().to_numpy().astype(np.int64)
    numbers = (table[name].to_numpy() for name in ("items", "train", "test"))
    return _LabelSets(ids, offsets, *numbers)


def _counts(sets: _LabelSets, size: int) -> _Counts:
    repeats = np.diff(sets.offsets)
    return _Counts(
        *(
            np.bincount(sets.ids, weights=np.repeat(rows, repeats), minlength=size).astype(np.int64)
            for rows in (sets.items, sets.train, sets.test)
        )
    )


def _level(per_node: Ids, train: Ids, items: int) -> LevelFigures:
    head = -(-len(per_node) * HEAD_SHARE // 1)
    top = np.sort(per_node)[::-1][: int(head)].sum()
    return LevelFigures(
        nodes=len(per_node),
        items=items,
        empty=int((per_node == 0).sum()),
        unseen=int((train == 0).sum()),
        tail=int(((per_node > 0) & (per_node <= TAIL_ITEMS)).sum()),
        head_share=float(top / max(per_node.sum(), 1)),
    )


def _labels(levels: list[LevelFigures], sets: _LabelSets, counts: _Counts) -> LabelFigures:
    sizes = np.diff(sets.offsets)
    only_in_test = np.flatnonzero((counts.test > 0) & (counts.test == counts.items))
    return LabelFigures(
        levels,
        several=int(sets.items[sizes > 1].sum()),
        without=int(sets.items[sizes == 0].sum()),
        only_in_test=only_in_test.tolist(),
    )
