"""Departments of a cascade: who gets a model, and which to repair first."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from hierarchy_lm.cascade_folder import DepartmentEntry, Status
from hierarchy_lm.cli.evaluate import evaluate_cascade
from hierarchy_lm.hierarchy import Hierarchy
from hierarchy_lm.reports.cascade_data import read_evaluation
from hierarchy_lm.reports.cascade_figures import by_department, judge


def plan_departments(
    hierarchy: Hierarchy,
    items: NDArray[np.int64],
    validation_items: NDArray[np.int64],
    min_items: int,
) -> list[DepartmentEntry]:
    """One entry per department; those that get a model are pending.

    Args:
        hierarchy: The tree.
        items: ``(C,)`` training items of each node.
        validation_items: ``(C,)`` the same of the validation split.
        min_items: A department with fewer gets the shares of its leaves instead of a model, as does
            one whose items all have the same leaf, and one without a validation item to choose the
            best epoch by.
    """
    return [
        _entry(hierarchy, node, items, validation_items, min_items)
        for node in range(hierarchy.level_sizes[0])
    ]


def _entry(
    hierarchy: Hierarchy,
    node: int,
    items: NDArray[np.int64],
    validation_items: NDArray[np.int64],
    min_items: int,
) -> DepartmentEntry:
    leaves = hierarchy.leaves_of(node)
    counts = items[leaves]
    total, kinds = int(counts.sum()), int((counts > 0).sum())
    shares = {
        str(leaf): float(count / total) for leaf, count in zip(leaves, counts, strict=True) if count
    }
    status: Status = "pending"
    reason = ""
    if len(leaves) == 1:
        status, shares, reason = "single_leaf", {str(leaves[0]): 1.0}, "the only leaf"
    elif total == 0:
        status, reason = "empty", "no training item"
    elif total < min_items or kinds == 1:
        status = "prior"
        reason = f"{total} training items of {kinds} of {len(leaves)} leaves"
    elif not validation_items[leaves].any():
        status, reason = "prior", "no validation item to choose the best epoch by"
    prior = shares if status in ("single_leaf", "prior") else {}
    return DepartmentEntry(
        node, hierarchy.paths[node], status, total, len(leaves), prior=prior, reason=reason
    )


def print_ranking(cascade: Path, dataset: str, console: Console) -> None:
    """Run the cascade on the validation split and rank its departments by importance x error."""
    # A calibration for a beam would be refused without it, and changes nothing in the ranking.
    evaluate_cascade(cascade, dataset, ["--model.calibrated=false"])
    answers = read_evaluation(cascade, "validation")
    found = by_department(answers, judge(answers))
    table = Table(title="departments by importance x error on the validation split")
    for column in ("", "importance", "items", "department right", "leaf right", "imp. x error"):
        table.add_column(column, justify="right" if column else "left")
    for place in np.argsort(-found.loss, kind="stable"):
        table.add_row(
            answers.hierarchy.paths[found.node[place]],
            f"{found.importance[place]:.1%}",
            f"{found.items[place]:,}",
            f"{found.department_accuracy[place]:.1%}",
            f"{found.leaf_accuracy[place]:.1%}",
            f"{found.loss[place]:.4f}",
        )
    console.print(table)
    console.print("Train one again: hlm fit-cascade ... --departments NAME", highlight=False)
