"""Joins ids to rows: from the set of paths, keys or labels that a row holds to a list of ids."""

from collections.abc import Mapping, Sequence

import ibis
import ibis.expr.types as ir
import numpy as np
import pyarrow as pa

from data_modules.prepare.engines import Engine
from data_modules.prepare.expressions import ITEM
from data_modules.prepare.tree import Reference
from hierarchy_lm.hierarchy import Hierarchy


def distinct_items(engine: Engine, rows: ir.Table, column: str) -> dict[str, int]:
    """Every path, key or label of a set column, and in how many rows it stands."""
    sets = rows.group_by(column).aggregate(rows=lambda t: t.count())
    items = _unnest(sets, column)
    counted = items.group_by("item").aggregate(rows=items["rows"].sum())
    counts = engine.collect(counted.order_by("item"))
    return dict(zip(counts["item"].to_pylist(), counts["rows"].to_pylist(), strict=True))


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
    pairs = sets.inner_join(engine.small(_reference_table(references)), "item")
    pairs = pairs.select(column, "id", "unknown", "gap")
    flags = pairs.group_by(column).aggregate(unknown=pairs["unknown"].any(), gap=pairs["gap"].any())
    known = pairs.filter(pairs["id"].notnull()).select(column, "id").distinct()
    if tree is not None:
        known = _most_specific(engine, known, column, tree)
    lists = known.group_by(column).aggregate(ids=known["id"].collect().sort())
    lookup = engine.keep(
        flags.left_join(lists, column).select(column, "unknown", "gap", "ids"), column
    )
    joined = rows.left_join(lookup, column).select(*rows.columns, "unknown", "gap", "ids")
    return joined.mutate(ids=joined["ids"].fill_null(ibis.literal([], type="array<int32>")))


def _reference_table(references: Mapping[str, Reference]) -> pa.Table:
    """One row per item and node; an item without a node has one row with a null id."""
    nodes: list[Sequence[int | None]] = [r.nodes or [None] for r in references.values()]
    repeats = np.array([len(several) for several in nodes])
    items = pa.array(references, pa.string())
    places = pa.array(np.repeat(np.arange(len(nodes)), repeats))
    return pa.table(
        {
            "item": items.take(places),
            "id": pa.array([node for several in nodes for node in several], pa.int32()),
            "unknown": pa.array([r.unknown for r in references.values()], pa.bool_()).take(places),
            "gap": pa.array([r.gap for r in references.values()], pa.bool_()).take(places),
        }
    )


def _most_specific(engine: Engine, pairs: ir.Table, column: str, tree: Hierarchy) -> ir.Table:
    """Pairs without the nodes that are an ancestor of another node of the same set."""
    several = pairs.group_by(column).having(lambda t: t.count() > 1).aggregate()
    above = engine.small(_ancestor_table(tree))
    covered = pairs.semi_join(several, column).inner_join(above, "id")
    covered = covered.select(column, id="ancestor").distinct()
    return pairs.anti_join(covered, [column, "id"])


def _ancestor_table(tree: Hierarchy) -> pa.Table:
    ids = above = np.arange(tree.num_nodes, dtype=np.int32)
    pairs = [(ids[:0], ids[:0])]
    while len(ids):
        above = tree.parents[above]
        ids, above = ids[above >= 0], above[above >= 0]
        pairs.append((ids, above))
    below, ancestors = (np.concatenate(column) for column in zip(*pairs, strict=True))
    return pa.table({"id": below, "ancestor": ancestors})
