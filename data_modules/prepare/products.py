"""From the products' rows to the tree and their node ids."""

import ibis
import ibis.expr.types as ir

from data_modules.prepare.accounts import LEFT_OUT, leave_out, staying
from data_modules.prepare.expressions import ITEM
from data_modules.prepare.identity import Places, identify
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

UNKNOWN = "left out for an unknown node"
LOST = "products: rows that lost an unknown node"


def product_rows(
    inputs: Inputs, options: ProductOptions, tree_options: TreeOptions, stages: Stages
) -> tuple[ir.Table, Hierarchy]:
    """All products with split and node ids, computed once, and their tree.

    Raises:
        UserError: If an input or the tree is broken, or a row has an unknown node or a path with a
            gap.
    """
    _check_paths(options, tree_options)
    with stages.stage("Reading products") as stage:
        rows, labels = read_rows(inputs, options, "products", stage)
        places = Places(inputs.engine, labels)
        rows = identify(places, rows, options, "products")
        if not options.item_id:  # ids made of texts are not to be made twice
            rows = inputs.engine.keep(rows, "products")
        if not options.paths:  # items to be classified
            rows = rows.mutate(split=ibis.literal("test"))
    with stages.stage("Making the tree") as stage:
        paths = distinct_items(inputs.engine, staying(rows), "path_set")
        if not paths:
            raise UserError(_no_row(inputs))
        if tree_options.input is None:
            tree, references = tree_of_paths(paths, tree_options, inputs.accounts.changes)
        else:
            tree = read_tree(inputs, tree_options.input, tree_options, stage)
            references = references_into(tree, paths)
        if tree_options.drop_super_root:
            tree, references = without_super_root(tree, references)
        _check_references(places, rows, references, options, tree_options)
    with stages.stage("Labelling products"):
        labelled = with_ids(inputs.engine, rows, "path_set", references, tree)
        if options.unknown_node == "drop_row":
            labelled = leave_out(labelled, labelled["unknown"], UNKNOWN)
        kept = inputs.engine.keep(labelled.rename(node_ids="ids"), "products")
        inputs.accounts.settle("products", inputs.engine, kept)
        _count(inputs, kept, options)
    return kept, tree


def _no_row(inputs: Inputs) -> str:
    files = [account for account in inputs.accounts.files if account.use == "products"]
    records = sum(account.records for account in files)
    causes = "; ".join(
        f"{n:,} {cause}" for cause, n in inputs.accounts.left_out("products").items()
    )
    return (
        f"products: no row is left of the {records:,} in {files[0].label}"
        f"{' and others' if len(files) > 1 else ''}; {causes or 'check the files and split.share'}"
    )


def _check_paths(options: ProductOptions, tree_options: TreeOptions) -> None:
    if not options.paths and tree_options.input is None:
        raise UserError(
            "products: 'paths' is missing; say where a row's category path stands, or give the "
            "tree's file in 'tree.input' for items that are to be classified"
        )
    for path in options.paths:
        if sum(bool(source) for source in (path.columns, path.column, path.node)) != 1:
            raise UserError("products.paths: give one of 'columns', 'column' and 'node' per entry")


def _check_references(
    places: Places,
    rows: ir.Table,
    references: dict[str, Reference],
    options: ProductOptions,
    tree_options: TreeOptions,
) -> None:
    for item, reference in references.items():
        if reference.unknown and options.unknown_node == "error":
            unknown = sum(other.unknown for other in references.values())
            more = f" (and {unknown - 1} others)" if unknown > 1 else ""
            raise UserError(
                f"{_first_row(places, rows, item)}: the tree has no node '{spoken(item)}'{more}; "
                "mend it or set unknown_node to drop_label or drop_row"
            )
        if reference.gap and tree_options.gaps == "error":
            raise UserError(
                f"{_first_row(places, rows, item)}: the path '{spoken(item)}' misses a name in "
                "its middle; mend it or set tree.gaps: cut"
            )


def _first_row(places: Places, rows: ir.Table, item: str) -> object:
    holds = rows["path_set"].split(ITEM).contains(item)
    first = places.first(staying(rows).filter(holds))
    return first["where"] if first else "products"


def _count(inputs: Inputs, rows: ir.Table, options: ProductOptions) -> None:
    rows = rows.filter(rows[LEFT_OUT].isnull())
    sums = inputs.engine.values(
        rows.aggregate(
            gap=rows["gap"].sum(),
            leaves=rows["cut_leaves"].sum(),
            unknown=rows["unknown"].sum(),
            rows=rows.count(),
        )
    )
    if not sums["rows"]:
        raise UserError("products: no row is left; check 'keep' and 'unknown_node' in the mapping")
    changes = inputs.accounts.changes
    changes["products: rows with a path cut at a missing name"] = sums["gap"]
    changes["products: rows whose path lost a last name like the title"] = sums["leaves"]
    if options.unknown_node == "drop_label":
        changes[LOST] = sums["unknown"]
