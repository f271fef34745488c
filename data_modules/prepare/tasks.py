"""From a task's rows to labels and label ids."""

import re
from collections import Counter

import ibis.expr.types as ir

from data_modules.prepare.accounts import leave_out, staying
from data_modules.prepare.identity import Places, identify
from data_modules.prepare.inputs import Inputs
from data_modules.prepare.mapping import TaskOptions
from data_modules.prepare.names import normal_name
from data_modules.prepare.node_ids import distinct_items, with_ids
from data_modules.prepare.progress import Stages
from data_modules.prepare.rows import read_rows
from data_modules.prepare.tree import Reference
from hierarchy_lm.dataset import TaskInfo
from hierarchy_lm.errors import UserError

TASK_NAME = re.compile(r"\w[\w-]*")
UNLABELLED = "left out for want of a label"


def check_task_name(name: str) -> None:
    """Refuse a name that cannot be a folder's."""
    if not TASK_NAME.fullmatch(name):
        raise UserError(f"tasks: '{name}' cannot be a folder's name; use letters, digits, - and _")


def task_rows(
    inputs: Inputs,
    options: TaskOptions,
    name: str,
    products: ir.Table | None,
    on_products: bool,
    stages: Stages,
) -> tuple[ir.Table, TaskInfo]:
    """All rows of a task with split and label ids, computed once, and its labels.

    Where rows are products that have nodes, there is a column `node_ids`, null for the others.

    Args:
        inputs: Reads the files.
        options: Of the task.
        name: Of the task.
        products: All products, if there are any.
        on_products: Whether the task is on the products' own rows.
        stages: Progress.

    Raises:
        UserError: If an input is broken, a label is not among the given ones, or the labels do
            not fit the kind of task.
    """
    use = f"tasks.{name}"
    if not options.label:
        raise UserError(f"{use}: 'label' is missing; name the label's column")
    with stages.stage(f"Reading task {name}") as stage:
        rows, files = read_rows(inputs, options, use, stage)
        places = Places(inputs.engine, files)
        same_rows = products if on_products else None
        rows = identify(places, rows, options, use, same_rows)
        if not options.item_id:  # ids made of texts are not to be made twice
            rows = inputs.engine.keep(rows, use)
        labels = _labels(inputs, staying(rows), options, use)
        info = TaskInfo(name, options.kind, labels, bool(options.query))
        labelled = _with_label_ids(inputs, rows, info)
        if products is not None:
            labelled = _with_nodes(labelled, staying(products))
        kept = inputs.engine.keep(labelled, use)
        inputs.accounts.settle(use, inputs.engine, kept)
    _check_labels(places, staying(kept), info)
    linked = kept if products is None else _linked(inputs, kept, use, options)
    return linked, info


def _labels(inputs: Inputs, rows: ir.Table, options: TaskOptions, use: str) -> list[str]:
    there = [label for label in distinct_items(inputs.engine, rows, "label_set") if label]
    given = [normal_name(label) for label in options.labels or []]
    if "" in given:
        raise UserError(f"{use}.labels: one is blank; leave it out")
    for label, times in Counter(given).items():
        if times > 1:
            raise UserError(f"{use}.labels: '{label}' stands there {times} times; name it once")
    known = set(given)
    for label in there:
        if given and label not in known:
            raise UserError(
                f"{use}: the label '{label[:60]}' is not among the mapping's 'labels'; add it, or "
                "leave 'labels' out"
            )
    if not there:
        raise UserError(f"{use}: no row has a label; check 'label' and 'keep'")
    labels = given or sorted(there)
    if options.kind == "binary" and len(labels) != 2:
        raise UserError(f"{use}: a binary task needs two labels, not {labels[:5]}")
    return labels


def _with_label_ids(inputs: Inputs, rows: ir.Table, info: TaskInfo) -> ir.Table:
    """Rows with `label_ids`; without a label, a row stays in a multi-label task only."""
    references = {label: Reference([number]) for number, label in enumerate(info.labels)}
    labelled = with_ids(inputs.engine, rows, "label_set", {"": Reference([]), **references})
    labelled = labelled.rename(label_ids="ids")
    if info.kind == "multilabel":
        return labelled
    return leave_out(labelled, labelled["label_ids"].length() == 0, UNLABELLED)


def _with_nodes(rows: ir.Table, products: ir.Table) -> ir.Table:
    """Rows with the nodes of their product; null where it has none or is unknown."""
    filed = products.filter(products["node_ids"].length() > 0)
    filed = filed.select("node_ids", linked=filed["item_id"])
    linked = rows.mutate(linked=rows["product_id"].fill_null(rows["item_id"]))
    return linked.left_join(filed, "linked").select(*rows.columns, "node_ids")


def _linked(inputs: Inputs, rows: ir.Table, use: str, options: TaskOptions) -> ir.Table:
    """Without the column of nodes if no row has any."""
    stay = staying(rows)
    counts = inputs.engine.values(
        stay.aggregate(rows=stay.count(), bare=stay["node_ids"].isnull().sum())
    )
    if counts["bare"] < counts["rows"] or options.product_id:
        inputs.accounts.changes[f"{use}: rows whose product has no node"] = counts["bare"]
    return rows if counts["bare"] < counts["rows"] else rows.drop("node_ids")


def _check_labels(places: Places, rows: ir.Table, info: TaskInfo) -> None:
    if info.kind == "multilabel":
        return
    if row := places.first(rows.filter(rows["label_ids"].length() > 1)):
        raise UserError(
            f"{row['where']} has several labels; set tasks.{info.name}.kind to multilabel"
        )
