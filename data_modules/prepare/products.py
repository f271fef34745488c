"""From the products' rows to the tree and the shards under `products/`."""

import ibis.expr.types as ir

from data_modules.prepare.expressions import ITEM
from data_modules.prepare.identity import identify, where
from data_modules.prepare.inputs import Inputs
from data_modules.prepare.mapping import ProductOptions, TreeOptions
from data_modules.prepare.node_ids import distinct_items, with_ids
from data_modules.prepare.progress import Stages
from data_modules.prepare.rows import read_rows
from data_modules.prepare.tree import (
    Reference,
    references_into,
    spoken,
    tree_of_paths,
    without_super_root,
)
from data_modules.prepare.tree_file import read_tree
from hierarchy_lm.errors import UserError
from hierarchy_lm.hierarchy import Hierarchy


def product_rows(
    inputs: Inputs, options: ProductOptions, tree_options: TreeOptions, stages: Stages
) -> tuple[ir.Table, Hierarchy]:
    """All products with split and node ids, computed into one file, and their tree.

    Raises:
        UserError: If an input or the tree is broken, or a row has an unknown node, a path with a
            gap, or a weight that is no number.
    """
    _check_paths(options)
    with stages.stage("Reading products") as stage:
        rows = read_rows(inputs, options, "products", stage)
        rows = identify(inputs, rows, options, "products")
        rows = rows.mutate(weight=_weight(inputs, rows))
    with stages.stage("Making the tree"):
        paths = distinct_items(inputs.engine, rows, "path_set")
        if tree_options.input is None:
            tree, references = tree_of_paths(paths, tree_options)
        else:
            tree = read_tree(inputs, tree_options.input, tree_options)
            references = references_into(tree, paths)
        if tree_options.drop_super_root:
            tree, references = without_super_root(tree, references)
        _check_references(inputs, rows, references, options, tree_options)
    with stages.stage("Labelling products"):
        labelled = with_ids(inputs.engine, rows, "path_set", references, tree)
        labelled = _drop_unknown(inputs, labelled, options)
        labelled = labelled.rename(node_ids="ids")
        kept = inputs.engine.kept([inputs.engine.keep(labelled, "products")])
        _count(inputs, kept)
    return kept, tree


def _check_paths(options: ProductOptions) -> None:
    if not options.paths:
        raise UserError("products: 'paths' is missing; say where a row's category path stands")
    for path in options.paths:
        if sum(bool(source) for source in (path.columns, path.column, path.node)) != 1:
            raise UserError("products.paths: give one of 'columns', 'column' and 'node' per entry")


def _weight(inputs: Inputs, rows: ir.Table) -> ir.NumericValue:
    """Importance as float32, 1 where missing."""
    number = rows["weight"].try_cast("float32")
    wrong = rows["weight"].notnull() & ~((number >= 0) & (number < float("inf"))).fill_null(False)
    bad = rows.filter(wrong).select("source_file", "source_row", "weight")
    for row in inputs.engine.rows(bad.order_by("source_file", "source_row").limit(1)):
        raise UserError(f"{where(row)}: the weight '{row['weight']}' is no number from 0 on")
    return number.fill_null(1.0).cast("float32")


def _check_references(
    inputs: Inputs,
    rows: ir.Table,
    references: dict[str, Reference],
    options: ProductOptions,
    tree_options: TreeOptions,
) -> None:
    for item, reference in references.items():
        if reference.unknown and options.unknown_node == "error":
            raise UserError(
                f"{_first_row(inputs, rows, item)}: the tree has no node '{spoken(item)}'; "
                "mend it or set unknown_node to drop_label or drop_row"
            )
        if reference.gap and tree_options.gaps == "error":
            raise UserError(
                f"{_first_row(inputs, rows, item)}: the path '{spoken(item)}' misses a name in "
                "its middle; mend it or set tree.gaps: cut"
            )


def _first_row(inputs: Inputs, rows: ir.Table, item: str) -> str:
    holds = rows["path_set"].split(ITEM).contains(item)
    found = rows.filter(holds).select("source_file", "source_row")
    return where(inputs.engine.rows(found.order_by("source_file", "source_row").limit(1))[0])


def _drop_unknown(inputs: Inputs, rows: ir.Table, options: ProductOptions) -> ir.Table:
    unknown = int(inputs.engine.values(rows.aggregate(rows=rows["unknown"].sum()))["rows"] or 0)
    if options.unknown_node == "drop_row":
        inputs.counts["products: rows left out for an unknown node"] = unknown
        return rows.filter(~rows["unknown"])
    inputs.counts["products: rows that lost an unknown node"] = unknown
    return rows


def _count(inputs: Inputs, rows: ir.Table) -> None:
    sums = inputs.engine.values(
        rows.aggregate(gap=rows["gap"].sum(), leaves=rows["cut_leaves"].sum(), rows=rows.count())
    )
    if not sums["rows"]:
        raise UserError("products: no row is left; check 'keep' and 'unknown_node' in the mapping")
    inputs.counts["products: rows with a path cut at a missing name"] = sums["gap"]
    inputs.counts["products: rows whose path lost a last name like the title"] = sums["leaves"]
