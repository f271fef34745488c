"""From a task's rows to labels and the shards under `tasks/<task>/`."""

import re

import ibis.expr.types as ir

from data_modules.prepare.identity import identify, where
from data_modules.prepare.inputs import Inputs
from data_modules.prepare.mapping import TaskOptions
from data_modules.prepare.node_ids import distinct_items, with_ids
from data_modules.prepare.progress import Stages
from data_modules.prepare.rows import read_rows
from data_modules.prepare.tree import Reference
from hierarchy_lm.dataset import TaskInfo
from hierarchy_lm.errors import UserError

TASK_NAME = re.compile(r"\w[\w-]*")


def task_rows(
    inputs: Inputs, options: TaskOptions, name: str, products: ir.Table | None, stages: Stages
) -> tuple[ir.Table, TaskInfo]:
    """All rows of a task with split and label ids, computed into one file, and its labels.

    Where rows are products that have nodes, there is a column `node_ids`, null for the others.

    Raises:
        UserError: If an input is broken, a label is not among the given ones, or the labels do
            not fit the kind of task.
    """
    if not TASK_NAME.fullmatch(name):
        raise UserError(f"tasks: '{name}' cannot be a folder's name; use letters, digits, - and _")
    if not options.label:
        raise UserError(f"tasks.{name}: 'label' is missing; name the label's column")
    with stages.stage(f"Reading task {name}") as stage:
        rows = read_rows(inputs, options, f"tasks.{name}", stage)
        rows = identify(inputs, rows, options, f"tasks.{name}")
        info = TaskInfo(
            name, options.kind, _labels(inputs, rows, options, name), options.query is not None
        )
        labelled = _with_label_ids(inputs, rows, info)
        if products is not None:
            labelled = _with_nodes(labelled, products)
        kept = inputs.engine.kept([inputs.engine.keep(labelled, name)])
    _check_labels(inputs, kept, info)
    return (kept if products is None else _linked(inputs, kept, name)), info


def _labels(inputs: Inputs, rows: ir.Table, options: TaskOptions, name: str) -> list[str]:
    found = [label for label in distinct_items(inputs.engine, rows, "label_set") if label]
    labels = options.labels or sorted(found)
    for label in found:
        if label not in labels:
            raise UserError(
                f"tasks.{name}: the label '{label}' is not among the mapping's 'labels'"
            )
    if not found:
        raise UserError(f"tasks.{name}: no row has a label; check 'label' and 'keep'")
    if options.kind == "binary" and len(labels) != 2:
        raise UserError(f"tasks.{name}: a binary task needs two labels, not {labels[:5]}")
    return labels


def _with_label_ids(inputs: Inputs, rows: ir.Table, info: TaskInfo) -> ir.Table:
    """Rows with `label_ids`; without a label, a row stays in a multi-label task only."""
    references = {label: Reference([number]) for number, label in enumerate(info.labels)}
    labelled = with_ids(inputs.engine, rows, "label_set", {"": Reference([]), **references})
    labelled = labelled.rename(label_ids="ids")
    if info.kind == "multilabel":
        return labelled
    bare = labelled.filter(labelled["label_ids"].length() == 0).aggregate(rows=lambda t: t.count())
    inputs.counts[f"tasks.{info.name}: rows left out for want of a label"] = inputs.engine.values(
        bare
    )["rows"]
    return labelled.filter(labelled["label_ids"].length() > 0)


def _with_nodes(rows: ir.Table, products: ir.Table) -> ir.Table:
    """Rows with the nodes of their product; null where it has none or is unknown."""
    filed = products.filter(products["node_ids"].length() > 0)
    filed = filed.select("node_ids", linked=filed["item_id"])
    rows = rows.mutate(linked=rows["product_id"].fill_null(rows["item_id"]))
    return rows.left_join(filed, "linked").drop("linked", "linked_right")


def _linked(inputs: Inputs, rows: ir.Table, name: str) -> ir.Table:
    """Without the column of nodes if no row has any."""
    counts = inputs.engine.values(
        rows.aggregate(rows=rows.count(), bare=rows["node_ids"].isnull().sum())
    )
    if counts["bare"] == counts["rows"]:
        return rows.drop("node_ids")
    inputs.counts[f"tasks.{name}: rows whose product has no node"] = counts["bare"]
    return rows


def _check_labels(inputs: Inputs, rows: ir.Table, info: TaskInfo) -> None:
    if info.kind == "multilabel":
        return
    several = rows.filter(rows["label_ids"].length() > 1).select("source_file", "source_row")
    for row in inputs.engine.rows(several.order_by("source_file", "source_row").limit(1)):
        raise UserError(
            f"{where(row)} has several labels; set tasks.{info.name}.kind to multilabel"
        )
