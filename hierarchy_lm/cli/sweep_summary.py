"""The short table at the end of a sweep; `hlm table` has the long ones."""

from collections.abc import Mapping, Sequence
from statistics import mean, stdev
from typing import Any

from rich.table import Table
from rich.text import Text


def summary_table(rows: Sequence[Mapping[str, Any]], metric: str) -> Table:
    """One row per setting: mean and standard deviation of a metric over its seeds.

    Args:
        rows: The results of the cells.
        metric: The metric; its validation score stands in where no run was tested.
    """
    metric = _known(rows, metric)
    names = list(dict.fromkeys(name for row in rows for name in row["values"]))
    groups: dict[tuple[str, ...], list[Mapping[str, Any]]] = {}
    for row in rows:
        setting = tuple(row["values"].get(name, "") for name in names)
        groups.setdefault((*setting, "baseline" if row["baseline"] else ""), []).append(row)
    baseline = any(row["baseline"] for row in rows)
    columns = [*(name.rpartition(".")[2] for name in names), *([""] if baseline else [])]
    table = Table(*columns, metric, "seeds")
    for setting, group in groups.items():
        scores = [row["metrics"][metric] for row in group if metric in row["metrics"]]
        cells = map(Text, setting if baseline else setting[:-1])  # [mean] would be markup
        table.add_row(*cells, _score(scores), f"{len(scores)} of {len(group)}")
    return table


def _known(rows: Sequence[Mapping[str, Any]], metric: str) -> str:
    found = dict.fromkeys(name for row in rows for name in row["metrics"])
    stand_ins = [metric, metric.replace("test/", "best/val/"), metric.replace("test/", "val/")]
    return next((name for name in stand_ins if name in found), metric)


def _score(scores: Sequence[float]) -> str:
    if not scores:
        return "-"
    spread = f" ± {stdev(scores):.4f}" if len(scores) > 1 else ""
    return f"{mean(scores):.4f}{spread}"
