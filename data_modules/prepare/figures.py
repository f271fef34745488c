"""Counts what the report shows, from the shards as written."""

import operator
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from typing import Any

import ibis
import ibis.expr.types as ir
import numpy as np
from numpy.typing import NDArray

from data_modules.prepare.engine import Engine
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
    """Labels of a product table or a task, per level (a task has one)."""

    levels: list[LevelFigures]
    several: int
    without: int


def read_splits(engine: Engine, folder: Path) -> ir.Table:
    """All shards of a folder, with a column ``split``."""
    parts = []
    for split in SPLITS:
        if paths := sorted(folder.glob(f"{split}-*.parquet")):
            parts.append(engine.kept(paths).mutate(split=ibis.literal(split)))
    return ibis.union(*parts) if len(parts) > 1 else parts[0]


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
    ids, offsets, items, train = _label_sets(engine, rows, "node_ids")
    closed, closed_offsets = tree.close(ids.astype(np.int32), offsets)
    sizes = np.diff(closed_offsets)
    per_node = _add_up(closed, np.repeat(items, sizes), tree.num_nodes)
    train_per_node = _add_up(closed, np.repeat(train, sizes), tree.num_nodes)
    sets = np.repeat(np.arange(len(items)), sizes)
    levels = []
    for start, end in zip(tree.level_offsets, tree.level_offsets[1:], strict=False):
        with_level = np.unique(sets[(closed >= start) & (closed < end)])
        levels.append(
            _level(per_node[start:end], train_per_node[start:end], int(items[with_level].sum()))
        )
    return _labels(levels, offsets, items)


def label_figures(engine: Engine, rows: ir.Table, num_labels: int) -> LabelFigures:
    """Items per label of a task."""
    ids, offsets, items, train = _label_sets(engine, rows, "label_ids")
    sizes = np.diff(offsets)
    per_label = _add_up(ids, np.repeat(items, sizes), num_labels)
    train_per_label = _add_up(ids, np.repeat(train, sizes), num_labels)
    level = _level(per_label, train_per_label, int(items[sizes > 0].sum()))
    return _labels([level], offsets, items)


def _label_sets(engine: Engine, rows: ir.Table, column: str) -> tuple[Ids, Ids, Ids, Ids]:
    """Distinct id lists, concatenated, their offsets, and in how many (training) rows each is."""
    sets = rows.group_by(column).aggregate(
        items=rows.count(), train=(rows["split"] == "train").sum()
    )
    found = engine.collect(sets)
    lists = found[column].combine_chunks()
    offsets = np.concatenate([[0], np.cumsum(lists.value_lengths().to_numpy())]).astype(np.int64)
    ids = lists.flatten().to_numpy().astype(np.int64)
    return ids, offsets, found["items"].to_numpy(), found["train"].to_numpy()


def _add_up(ids: NDArray[Any], weights: Ids, size: int) -> Ids:
    return np.bincount(ids, weights=weights, minlength=size).astype(np.int64)


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


def _labels(levels: list[LevelFigures], offsets: Ids, items: Ids) -> LabelFigures:
    sizes = np.diff(offsets)
    return LabelFigures(levels, int(items[sizes > 1].sum()), int(items[sizes == 0].sum()))
