"""A cascade's scores that are no single number, as CSV files of the run."""

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
from pyarrow import csv

from hierarchy_lm.metrics import CoverageCurve, DepartmentScores


def write_departments(file: Path, scores: DepartmentScores, names: Sequence[str]) -> None:
    """One row per gold department."""
    columns = {name: values.cpu().numpy() for name, values in scores._asdict().items()}
    csv.write_csv(pa.table({"department": pa.array(names), **columns}), file)


def write_curve(file: Path, curve: CoverageCurve) -> None:
    """One row per threshold that accepts other items than the next lower one."""
    items = curve.items.tolist()
    kept = [n for n, count in enumerate(items) if n == 0 or count != items[n - 1]]
    columns = {name: values[kept].cpu().numpy() for name, values in curve._asdict().items()}
    csv.write_csv(pa.table(columns), file)
