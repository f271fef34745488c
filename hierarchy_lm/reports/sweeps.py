"""The report of a sweep: what its grid found, and everything about its runs."""

from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path

from hierarchy_lm.errors import UserError
from hierarchy_lm.reports.chart_grid import dot_rows, heat_map
from hierarchy_lm.reports.charts import Chart, ids
from hierarchy_lm.reports.page import Page, Section, Table
from hierarchy_lm.reports.runs import run_sections
from hierarchy_lm.reports.runs_sections import main_metrics
from hierarchy_lm.reports.sweeps_data import FINISHED, Cell, Sweep, read_sweep, summarize
from hierarchy_lm.reports.texts import MISSING, clip, count, deviation, figure, shortened

MOST_CHARTS = 12
MOST_UNFINISHED = 30
FULL = 0.5
"""Share of a table of two parameters that must be planned for a heat map of them."""


def sweep_page(folder: Path, metric: str | None) -> Page:
    """The page about a sweep folder, finished or not.

    Args:
        folder: It.
        metric: Of the heat map; by default that of the sweep file, else the first of the scores.

    Raises:
        UserError: If a file is damaged, or no run has the metric.
    """
    sweep = read_sweep(folder)
    runs = [cell.run for cell in sweep.cells if cell.run is not None]
    chosen, less = _chosen(sweep, metric)
    parts = [_overview(sweep)]
    if chosen is not None:
        parts.append(_grid(sweep, chosen, less))
    details = run_sections(runs) if runs else []
    done = f"{len(runs)} of {len(sweep.cells)} runs"
    return Page(f"Sweep {sweep.name}: {done}", [*parts, *details], folder)


def _chosen(sweep: Sweep, metric: str | None) -> tuple[str | None, bool]:
    """The metric to show and whether less is better; no metric if no run has finished."""
    runs = [cell.run for cell in sweep.cells if cell.run is not None]
    there = {name for run in runs for name in run.metrics}
    declared, less = sweep.metric or ("", False)
    if metric is not None and there and metric not in there:
        names = ", ".join(main_metrics(runs))
        raise UserError(f"--metric {metric}: no run of the sweep has it; they have {names}")
    first = declared if declared in there else next(iter(main_metrics(runs)), None)
    chosen = (metric or first) if there else None
    return chosen, less if chosen == declared else (chosen or "").endswith("loss")


def _overview(sweep: Sweep) -> Section:
    swept = [f"{name}: {', '.join(values)}" for name, values in sweep.parameters.items()]
    bad = [cell for cell in sweep.cells if cell.state != FINISHED]
    seeds = sorted({cell.seed for cell in sweep.cells})
    text = [
        f"{count(len(sweep.cells))} runs, {count(len(sweep.cells) - len(bad))} of them finished; "
        f"seeds {', '.join(map(str, seeds))}.",
        *shortened(len(bad), MOST_UNFINISHED, "runs that are not finished"),
    ]
    rows = [[one.label, one.state, clip(one.error) or MISSING] for one in bad[:MOST_UNFINISHED]]
    table = Table("Not finished", ["run", "state", "error"], rows)
    return Section("The sweep", text, swept, table)


def _grid(sweep: Sweep, metric: str, less: bool) -> Section:
    combinations: dict[tuple[str, ...], list[Cell]] = {}
    for cell in sweep.cells:
        combinations.setdefault(() if cell.is_baseline else cell.values, []).append(cell)
    baseline = combinations.pop((), None) if any(c.is_baseline for c in sweep.cells) else None
    better = "less" if less else "more"
    text = (
        f"{metric}: mean over the seeds, ± their sample standard deviation, n their number; "
        f"{better} is better. Only finished runs count."
    )
    if baseline is not None:
        text += " The baseline is the command without the swept values."
    rows = {", ".join(values): cells for values, cells in combinations.items()}
    charts = _charts(sweep, combinations, baseline, metric, less)
    groups = {cells[0].group: cells for cells in rows.values()}
    table = _table({**({"baseline": baseline} if baseline else {}), **groups}, metric)
    return Section("The grid", [text], table=table, charts=charts, folded=True)


def _table(groups: Mapping[str, Sequence[Cell]], metric: str) -> Table:
    rows = []
    for name, cells in groups.items():
        one = summarize(cells, metric)
        ends = [min(one.scores), max(one.scores)] if one.scores else [None, None]
        numbers = [figure(one.mean), deviation(one.deviation, one.mean), *map(figure, ends)]
        rows.append([name, *numbers, f"{len(one.scores)} of {one.planned}"])
    columns = ["values", "#mean", "#deviation", "#lowest", "#highest", "#runs"]
    return Table(metric, columns, rows)


def _charts(
    sweep: Sweep,
    combinations: Mapping[tuple[str, ...], Sequence[Cell]],
    baseline: Sequence[Cell] | None,
    metric: str,
    less: bool,
) -> list[Chart]:
    below = None if baseline is None else summarize(baseline, metric)
    names = list(sweep.parameters)
    varied = [n for n in names if len(sweep.parameters[n]) > 1] or names[:1]
    varied.sort(key=lambda name: -len(sweep.parameters[name]))
    if len(varied) > 1 and _is_table(sweep, combinations, varied):
        return _heat_maps(sweep, combinations, varied, (metric, less), baseline)
    charts = []
    for name, chart_id in zip(varied, ids(f"dots {name}" for name in varied), strict=True):
        place = names.index(name)
        rows: dict[str, list[Cell]] = {value: [] for value in _ordered(sweep.parameters[name])}
        for values, cells in combinations.items():
            rows[values[place]] += cells
        told = {value: summarize(cells, metric) for value, cells in rows.items() if cells}
        others = ", over all values of the others" if len(varied) > 1 else ""
        charts.append(dot_rows(chart_id, f"{metric} by {name}{others}", told, below))
    return charts


def _is_table(
    sweep: Sweep, combinations: Mapping[tuple[str, ...], Sequence[Cell]], varied: Sequence[str]
) -> bool:
    room = 1
    for name in varied:
        room *= len(sweep.parameters[name])
    return len(combinations) >= FULL * room


def _ordered(values: Sequence[str]) -> list[str]:
    """Numbers by size; anything else as it stands."""
    try:
        return sorted(values, key=float)
    except ValueError:
        return list(values)


def _heat_maps(
    sweep: Sweep,
    combinations: Mapping[tuple[str, ...], Sequence[Cell]],
    varied: Sequence[str],
    metric: tuple[str, bool],
    baseline: Sequence[Cell] | None,
) -> list[Chart]:
    """One for each combination of the parameters beyond the two of most values."""
    names = list(sweep.parameters)
    row, column = sorted(varied[:2], key=lambda n: -max(map(len, sweep.parameters[n])))
    rest = [name for name in varied[2:]]
    charts = []
    for fixed in product(*(sweep.parameters[name] for name in rest)):
        told = dict(zip(rest, fixed, strict=True))
        cells = {
            (values[names.index(row)], values[names.index(column)]): summarize(some, metric[0])
            for values, some in combinations.items()
            if all(values[names.index(name)] == value for name, value in told.items())
        }
        where = "".join(f", {name} {value}" for name, value in told.items())
        charts.append((f"{metric[0]}{where}", cells))
    named = zip(charts[:MOST_CHARTS], ids(f"grid {title}" for title, _ in charts), strict=False)
    values = (_ordered(sweep.parameters[row]), _ordered(sweep.parameters[column]))
    below = None if baseline is None else summarize(baseline, metric[0])
    return [
        heat_map(chart_id, title, (row, column), values, cells, metric[1], below)
        for (title, cells), chart_id in named
    ]
