"""Tables of the benchmark: absolute, relative, deviation over seeds, bootstrap over items."""

import re
from collections.abc import Sequence
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from sklearn.metrics import accuracy_score, f1_score

from benchmarks.runs import over_seeds
from benchmarks.sst.grid import BASELINES, METHODS, TASKS, Run, slug
from hierarchy_lm.dataset import read_json, read_task
from hierarchy_lm.metrics.bootstrap import paired_bootstrap
from hierarchy_lm.parquet import read_table
from hierarchy_lm.reports.texts import p_text

RESAMPLES = 1000
SCORES = ("micro", "macro")
NODES = "nodes.json"
"""Beside a method's encoder: its scores of hierarchy prediction."""
NODE_BASELINE = "HPT"
LEVEL = re.compile(r"test/micro_f1_L\d+")


def write_results(runs: Sequence[Run], output: Path, data: Path) -> None:
    """One table per table of the paper, of the runs that have predictions."""
    found = {run: _predicted(run, output, data) for run in runs if _folder(run, output).is_dir()}
    gold = {task: _gold(task, data) for task in {run.task for run in found}}
    lines: list[str] = []
    for table, baseline in BASELINES.items():
        rows = [name for name, method in METHODS.items() if table in method.tables]
        lines += _table(table, baseline, rows, found, gold)
    lines += _node_table(output)
    (output / "tables.md").write_text("\n".join(lines), encoding="utf-8")


def _table(
    table: str,
    baseline: str,
    rows: Sequence[str],
    found: dict[Run, NDArray[np.int64]],
    gold: dict[str, NDArray[np.int64]],
) -> list[str]:
    head = [f"{task} {score}" for task in TASKS for score in SCORES]
    lines = [f"## Table {table}: against {baseline}", "", "| method | " + " | ".join(head) + " |"]
    lines.append("|---" * (1 + len(head)) + "|")
    for method in [baseline, *(row for row in rows if row != baseline)]:
        cells = []
        for task in TASKS:
            own, base = (_seeds(name, task, found) for name in (method, baseline))
            cells += _cells(own, base, gold.get(task), same=method == baseline)
        lines.append(f"| {method} | " + " | ".join(cells) + " |")
    return [*lines, ""]


def _node_table(output: Path) -> list[str]:
    """Micro F1 of each level's nodes on the test split of the pre-training's own data."""
    rows = [name for name, method in METHODS.items() if "VIII" in method.tables]
    files = {name: output / "pretraining" / slug(name) / NODES for name in rows}
    found = {name: read_json(file, "") for name, file in files.items() if file.is_file()}
    levels = sorted({key for one in found.values() for key in one if LEVEL.fullmatch(key)})
    names = {key: key.removeprefix("test/micro_f1_") for key in levels}
    names |= {"test/micro_f1": "all", "test/path_consistency": "path consistency"}
    lines = [f"## Table VIII: against {NODE_BASELINE}", ""]
    lines += ["| method | " + " | ".join(names.values()) + " |", "|---" * (1 + len(names)) + "|"]
    base = found.get(NODE_BASELINE, {})
    for name in rows:
        cells = [_node_cell(found.get(name, {}), base, key, name) for key in names]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return [*lines, ""]


def _node_cell(own: dict[str, float], base: dict[str, float], key: str, name: str) -> str:
    if key not in own:
        return "not run"
    text = f"{100 * own[key]:.1f}"
    if name == NODE_BASELINE or not base.get(key):
        return text
    return f"{text}, {100 * (own[key] - base[key]) / base[key]:+.1f} %"


def _seeds(method: str, task: str, found: dict[Run, Any]) -> list[NDArray[np.int64]]:
    return [found[run] for run in found if run.method == method and run.task == task]


def _cells(
    own: list[NDArray[np.int64]],
    base: list[NDArray[np.int64]],
    gold: NDArray[np.int64] | None,
    *,
    same: bool,
) -> list[str]:
    """Micro and macro F1: mean and deviation over seeds, relative improvement, p-value."""
    if gold is None or not own:
        return ["not run"] * 2
    ours = [_both(gold, predicted) for predicted in own]
    cells = [over_seeds([score[i] for score in ours]) + f" ({len(own)})" for i in range(2)]
    if same or not base:
        return cells
    theirs = [_both(gold, predicted) for predicted in base]
    labels = int(max(gold.max(), *(one.max() for one in (*own, *base)))) + 1
    tests = paired_bootstrap(gold, np.stack(base), np.stack(own), labels, RESAMPLES)
    for i, score in enumerate(SCORES):
        before, after = (mean(one[i] for one in scores) for scores in (theirs, ours))
        relative = 100 * (after - before) / before
        cells[i] += f", {relative:+.1f} %, p {p_text(tests[score].p_value, RESAMPLES)}"
    return cells


def _both(gold: NDArray[np.int64], predicted: NDArray[np.int64]) -> tuple[float, float]:
    macro = f1_score(gold, predicted, labels=np.unique(gold), average="macro", zero_division=0)
    return float(accuracy_score(gold, predicted)), float(macro)


def _folder(run: Run, output: Path) -> Path:
    return output / "finetuning" / run.folder / "predictions"


def _predicted(run: Run, output: Path, data: Path) -> NDArray[np.int64]:
    """Label ids in the order of the test split's items."""
    task = TASKS[run.task]
    names = read_task(data / task.dataset / "tasks" / task.name).labels
    table = read_table(_folder(run, output)).sort_by("item_id")
    labels = pa.compute.index_in(table["labels"].combine_chunks().flatten(), pa.array(names))
    found: NDArray[np.int64] = labels.to_numpy().astype(np.int64)
    return found


def _gold(name: str, data: Path) -> NDArray[np.int64]:
    task = TASKS[name]
    shards = sorted((data / task.dataset / "tasks" / task.name).glob("test-*.parquet"))
    table = read_table(shards).sort_by("item_id")
    gold: NDArray[np.int64] = table["label_ids"].combine_chunks().flatten().to_numpy()
    return gold.astype(np.int64)
