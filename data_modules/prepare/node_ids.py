"""Joins ids to rows: from the set of paths, keys or labels that a row holds to a list of ids."""

from collections.abc import Mapping

import ibis
import ibis.expr.types as ir
import numpy as np
import pyarrow as pa

from data_modules.prepare.engine import Engine
from data_modules.prepare.expressions import ITEM
from data_modules.prepare.tree import Reference
from hierarchy_lm.hierarchy import Hierarchy

NO_NODE: list[int | None] = [None]


def distinct_items(engine: Engine, rows: ir.Table, column: str) -> dict[str, int]:
    """Every path, key or label of a set column, and in how many rows it stands."""
    sets = rows.group_by(column).aggregate(rows=lambda t: t.count())
    items = _unnest(sets, column)
    counted = items.group_by("item").aggregate(rows=items["rows"].sum())
    found = engine.collect(counted.order_by("item"))
    return dict(zip(found["item"].to_pylist(), found["rows"].to_pylist(), strict=True))


def _unnest(sets: ir.Table, column: str) -> ir.Table:
    return sets.mutate(item=sets[column].split(ITEM).unnest())


def with_ids(
    engine: Engine,
    rows: ir.Table,
    column: str,
    references: Mapping[str, Reference],
    tree: Hierarchy | None = None,
) -> ir.Table:
    """Add `ids`, the sorted ids of the row's items, and the flags `unknown` and `gap`.

    They are worked out per distinct set, so that the big table meets one join only.

    Args:
        engine: Keeps the lookup table.
        rows: The rows.
        column: The set, items joined as text.
        references: What each item stands for.
        tree: If given, a node is left out where the row holds one below it.
    """
    sets = _unnest(rows.select(column).distinct(), column)
    known = ibis.memtable(_reference_table(references))
    pairs = sets.inner_join(known, "item").select(column, "id", "unknown", "gap")
    flags = pairs.group_by(column).aggregate(unknown=pairs["unknown"].any(), gap=pairs["gap"].any())
    found = pairs.filter(pairs["id"].notnull()).select(column, "id").distinct()
    if tree is not None:
        found = _most_specific(found, column, tree)
    lists = found.group_by(column).aggregate(ids=found["id"].collect().sort())
    lookup = flags.left_join(lists, column).select(column, "unknown", "gap", "ids")
    joined = rows.left_join(engine.kept([engine.keep(lookup, column)]), column)
    return joined.mutate(ids=joined["ids"].fill_null(ibis.literal([], type="array<int32>")))


def _reference_table(references: Mapping[str, Reference]) -> pa.Table:
    """One row per item and node; an item without a node has one row with a null id."""
    rows = [
        (item, node, reference.unknown, reference.gap)
        for item, reference in references.items()
        for node in (reference.nodes or NO_NODE)
    ]
    names, types = ("item", "id", "unknown", "gap"), (pa.string(), pa.int32(), *[pa.bool_()] * 2)
    columns = zip(*rows, strict=True)
    return pa.table({n: pa.array(c, t) for n, c, t in zip(names, columns, types, strict=True)})


def _most_specific(pairs: ir.Table, column: str, tree: Hierarchy) -> ir.Table:
    """Pairs without the nodes that are an ancestor of another node of the same set."""
    above = ibis.memtable(_ancestor_table(tree))
    covered = pairs.inner_join(above, "id").select(column, id="ancestor").distinct()
    return pairs.anti_join(covered, [column, "id"])


def _ancestor_table(tree: Hierarchy) -> pa.Table:
    ids = above = np.arange(tree.num_nodes, dtype=np.int32)
    pairs = []
    while len(ids):
        above = tree.parents[above]
        ids, above = ids[above >= 0], above[above >= 0]
        pairs.append((ids, above))
    below, ancestors = (np.concatenate(column) for column in zip(*pairs, strict=True))
    return pa.table({"id": below, "ancestor": ancestors})
