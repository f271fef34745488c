"""A calibration as a table."""

from rich.console import Console
from rich.table import Table

from hierarchy_lm.calibration import Threshold
from hierarchy_lm.classification.calibration import Report


def print_calibration(report: Report) -> None:
    """Print temperatures, thresholds, and what each promises."""
    console = Console()
    found = report.calibration
    console.print(
        f"temperatures: department {found.department_temperature:.3f}, leaf "
        f"{found.leaf_temperature:.3f} (fitted on {report.tuned_on:,} items)",
        highlight=False,
    )
    table = Table(
        title=f"thresholds for {found.target_accuracy:.0%} accuracy, chosen on "
        f"{report.chosen_on:,} items; each promise may fail with probability "
        f"{found.error_probability}"
    )
    for column in ("", "threshold", "coverage", "accuracy", "at least", "items"):
        table.add_column(column, justify="left" if not column else "right")
    overall = report.thresholds.overall
    table.add_row("leaf, all departments", *_cells(overall.leaf))
    table.add_row("department, where the leaf is not accepted", *_cells(overall.department))
    table.add_section()
    for node, pair in report.thresholds.by_department.items():
        table.add_row(f"leaf in {report.names[node]}", *_cells(pair.leaf))
        table.add_row("  department, where not", *_cells(pair.department))
    console.print(table)
    used = "its department's own thresholds" if found.per_department else "the first two thresholds"
    console.print(f"`hlm predict` decides on an item by {used}.", highlight=False)


def _cells(threshold: Threshold) -> list[str]:
    if threshold.threshold is None:
        return [threshold.reason, "0.0 %", "", "", f"{threshold.items:,}"]
    return [
        f"{threshold.threshold:.4f}",
        f"{threshold.coverage:.1%}",
        f"{threshold.accuracy:.1%}",
        f"{threshold.lower_bound:.1%}",
        f"{threshold.items:,}",
    ]
