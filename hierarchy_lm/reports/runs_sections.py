"""Sections about runs: overview, scores, settings, training curves, F1 by level."""

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence

from hierarchy_lm.reports.chart_bars import Bars, bar_chart
from hierarchy_lm.reports.chart_lines import line_chart, points_per_curve
from hierarchy_lm.reports.charts import Chart, ids, legend_of, line_entry
from hierarchy_lm.reports.page import Section, Table
from hierarchy_lm.reports.runs_data import LAST_LOGGED, Run
from hierarchy_lm.reports.runs_differences import PLACES, difference_table, runs_table
from hierarchy_lm.reports.texts import MISSING, clip, count, duration, figure, listed
from hierarchy_lm.run_files import RUN_RECORD

LEVEL = re.compile(r"(?P<split>val|test)/micro_f1_L(?P<level>\d+)")
ORDER = ("micro_f1", "macro_f1_supported", "macro_f1", "weighted_f1", "accuracy", "loss")
"""Metrics that come first."""
LAST = ("train/lr", "train/tokens_per_second")
OF_LEVEL = re.compile(r"_L\d+$")
MOST_SCORES = 12
NAMED, MOST_ROWS = 4, 12


def overview(runs: Sequence[Run]) -> Section:
    """What was run, and how it ended."""
    columns: dict[str, Callable[[Run], str]] = {
        "model": lambda run: run.kind,
        "state": lambda run: run.state,
        "#seed": lambda run: _number(run.record.get("seed", run.config.get("seed_everything"))),
        "#steps": lambda run: _number(run.record.get("steps")),
        "#time": lambda run: duration(run.record.get("seconds")),
        "#tokens": lambda run: _number(run.record.get("tokens")),
        "#parameters": lambda run: _number((run.record.get("parameters") or {}).get("total")),
        "#of the encoder": lambda run: _number((run.record.get("parameters") or {}).get("encoder")),
        "commit": _commit,
        "error": lambda run: clip(run.error) or MISSING,
    }
    told = {name: [read(run) for run in runs] for name, read in columns.items()}
    told = {name: cells for name, cells in told.items() if set(cells) != {MISSING}}
    rows = [[run.label, *cells] for run, *cells in zip(runs, *told.values(), strict=True)]
    states = Counter(run.state for run in runs)
    text = f"{count(len(runs))} runs: {', '.join(f'{n} {state}' for state, n in states.items())}."
    table = Table("From run.json", ["run", *told], rows)
    return Section("Runs", [text] if len(runs) > 1 else [], table=table, folded=is_long(runs))


def is_long(runs: Sequence[Run]) -> bool:
    """Whether tables of the runs show on demand only."""
    return len(runs) > MOST_ROWS


def _number(value: object) -> str:
    return count(value) if isinstance(value, int) else MISSING


def _commit(run: Run) -> str:
    git = run.record.get("git")
    if not git:
        return MISSING
    return f"{str(git.get('commit'))[:10]}{' and changes' if git.get('dirty') else ''}"


def gaps(runs: Sequence[Run]) -> list[str]:
    """What cannot be shown, and why."""
    left_out = sum(curve.left_out for run in runs for curve in run.curves.values())
    found = [
        ("Without run.json, so older than it", [r for r in runs if not r.record]),
        ("Failed", [r for r in runs if r.state == "failed"]),
        ("Interrupted", [r for r in runs if r.state == "interrupted"]),
        ("Still running, or killed", [r for r in runs if r.state == "running"]),
        ("No final metrics; the last logged ones stand in", _with_source(runs, LAST_LOGGED)),
        ("No metrics.csv, so no curves (another logger?)", [r for r in runs if not r.curves]),
    ]
    notes = [f"{what}: {listed([r.label for r in some], NAMED)}." for what, some in found if some]
    if left_out:
        notes.append(f"Values of the curves that are infinite or no number: {count(left_out)}.")
    return notes


def _with_source(runs: Sequence[Run], source: str) -> list[Run]:
    return [run for run in runs if run.source == source and run.metrics]


def scores(runs: Sequence[Run]) -> Section:
    """Final metrics without those of single levels."""
    ordered = main_metrics(runs)
    shown = ordered[:MOST_SCORES]
    told = {name: [figure(run.metrics.get(name)) for run in runs] for name in shown}
    sources = dict.fromkeys(run.source for run in runs if run.metrics)
    text = [f"Metrics from {', '.join(sources)}."] if set(sources) - {RUN_RECORD} else []
    if len(ordered) > MOST_SCORES:
        text.append(f"The first {MOST_SCORES} of {len(ordered)} metrics.")
    if not ordered:
        return Section("Scores", ["No run has logged any metric of validation or test."])
    table = runs_table("Final metrics", "metric", runs, told, "#")
    return Section("Scores", text, table=table, folded=is_long(runs))


def main_metrics(runs: Sequence[Run]) -> list[str]:
    """Final metrics that any run has, the most telling first, without those of single levels."""
    names = {name for run in runs for name in run.metrics if not OF_LEVEL.search(name)}
    return sorted((name for name in names if not name.startswith("train/")), key=_rank)


def _rank(name: str) -> tuple[int, int, str]:
    split, _, metric = name.rpartition("/")
    place = ORDER.index(metric) if metric in ORDER else len(ORDER)
    return {"test": 0, "val": 1}.get(split, 2), place, name


def comparison(runs: Sequence[Run]) -> list[Section]:
    """The settings in which runs differ."""
    if len(runs) < 2:
        return []
    text = f"All other settings are the same; left out are {' and '.join(PLACES)}."
    unknown = [run.label for run in runs if not run.config]
    notes = [f"No configuration was kept: {listed(unknown, NAMED)}."] if unknown else []
    table = difference_table([run for run in runs if run.config])
    if not table.rows:
        text = f"No setting differs, but for {' and '.join(PLACES)}."
    title = "Differences of configuration"
    return [Section(title, [text], notes, table, folded=is_long(runs))]


def curves(runs: Sequence[Run], looks: Mapping[str, int]) -> list[Section]:
    """One section for each kind of model; a chart for each metric."""
    kinds = list(dict.fromkeys(run.kind for run in runs if run.curves))
    sections = []
    for kind in kinds:
        some = [run for run in runs if run.kind == kind and run.curves]
        title = f"Training curves: {kind}" if len(kinds) > 1 else "Training curves"
        own = {group: looks[group] for group in dict.fromkeys(run.group for run in some)}
        charts = _curves(title, some, own)
        sections.append(Section(title, [_curve_text(some)], charts=charts))
    return sections


def _curves(title: str, runs: Sequence[Run], looks: Mapping[str, int]) -> list[Chart]:
    curves = {name: c for run in runs for name, c in run.curves.items() if len(c.values) > 1}
    shown = sorted((name for name in curves if not OF_LEVEL.search(name)), key=_curve_rank)
    legend = legend_of(looks, line_entry)
    return [
        line_chart(
            chart_id,
            name,
            [(r.label, looks[r.group], r.curves[name]) for r in runs if name in r.curves],
            legend,
        )
        for name, chart_id in zip(shown, ids(f"{title} {name}" for name in shown), strict=True)
    ]


def _curve_text(runs: Sequence[Run]) -> str:
    most = points_per_curve(len(runs))
    longest = max((len(c.values) for run in runs for c in run.curves.values()), default=0)
    text = (
        "Values as logged, nothing smoothed; linear axes; that of the values need not begin at 0."
    )
    text += " What was logged once has no curve."
    if longest <= most:
        return text
    return (
        f"{text} A curve of more than {most} points is cut into {(most - 2) // 2} pieces, of each "
        "of which the smallest and the largest value are drawn, and its first and its last point."
    )


def _curve_rank(name: str) -> tuple[bool, int, int, str]:
    split, _, metric = name.rpartition("/")
    place = -1 if metric == "loss" else _rank(name)[1]
    return name in LAST, place, {"train": 0, "val": 1}.get(split, 2), name


def levels(runs: Sequence[Run], looks: Mapping[str, int]) -> list[Section]:
    """Micro F1 of every level: of the test split if all these runs have it, else of validation."""
    found = {run: splits for run in runs if (splits := _levels(run))}
    for split, name in (("test", "test"), ("val", "validation")):
        told = {run: splits[split] for run, splits in found.items() if split in splits}
        if told and (len(told) == len(found) or split == "val"):
            without = [run.label for run in found if run not in told]
            return [_level_section(told, looks, name, without)]
    return []


def _levels(run: Run) -> dict[str, dict[int, float]]:
    found: dict[str, dict[int, float]] = {}
    for name, value in run.metrics.items():
        if match := LEVEL.fullmatch(name):
            found.setdefault(match["split"], {})[int(match["level"])] = value
    return found


def _level_section(
    told: Mapping[Run, Mapping[int, float]],
    looks: Mapping[str, int],
    split: str,
    without: Sequence[str],
) -> Section:
    numbers = sorted({level for f1 in told.values() for level in f1})
    rows = [f"level {level}" for level in numbers]
    series = [
        Bars(run.label, [f1.get(n) for n in numbers], run.group, looks[run.group])
        for run, f1 in told.items()
    ]
    text = f"Micro F1 of the nodes of each level of the tree, on the {split} split."
    if without:
        text += f" Left out, for scores of the test split only: {listed(without, NAMED)}."
    chart = bar_chart("levels-chart", f"Micro F1 by level, {split} split", rows, series)
    cells = [[run.label, *(figure(f1.get(n)) for n in numbers)] for run, f1 in told.items()]
    table = Table("Micro F1", ["run", *(f"#{row}" for row in rows)], cells)
    return Section("F1 by level", [text], table=table, charts=[chart], folded=True)
