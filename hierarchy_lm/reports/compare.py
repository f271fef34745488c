"""A table of downstream scores: tasks against what their encoders were pre-trained with."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import yaml
from rich.console import Console
from rich.table import Table

from hierarchy_lm.errors import UserError
from hierarchy_lm.reports.files import write_file
from hierarchy_lm.reports.table_runs import read_run
from hierarchy_lm.reports.texts import short_ends
from hierarchy_lm.run_files import CONFIG, RUN_RECORD

NO_NAME = r"version_\d+|checkpoints|encoder|.*\.ckpt"
"""Last parts of a path to an encoder that say nothing of it."""
METRICS = {
    "test/micro_f1": "micro F1",
    "test/macro_f1": "macro F1 (all labels)",
    "test/macro_f1_supported": "macro F1 (labels in the test split)",
}


@dataclass(frozen=True)
class Result:
    """Test scores of one fine-tuning run.

    Attributes:
        dataset: What it was tested on: name of the folder, and fingerprint.
        task: What it was fine-tuned on.
        encoder: Name of the encoder, or the path that its weights came from.
        seed: ``seed_everything``.
        metrics: By name.
    """

    dataset: str
    task: str
    encoder: str
    seed: int
    metrics: dict[str, float]


@dataclass(frozen=True)
class Row:
    """One metric of one task: a cell per encoder, ``None`` where no run is found."""

    task: str
    metric: str
    cells: list[list[float] | None]


def compare(runs: list[str], output: str | None = None) -> None:
    """Print the test scores of fine-tuning runs, task by task and encoder by encoder.

    Runs of the same task and encoder (seeds) become mean and standard deviation; the last columns
    give each encoder's gain over the first one, in points. With runs on several datasets a task is
    named with its dataset.

    Args:
        runs: Run folders, or folders with runs anywhere below them; the first run's encoder is
            the one that others are compared with.
        output: Markdown file to write the table to as well.

    Raises:
        UserError: If a folder holds no tested run, or the table cannot be written.
    """
    results = _tell_datasets_apart([found for run in runs for found in find_results(Path(run))])
    encoders = list(dict.fromkeys(result.encoder for result in results))
    rows = table_rows(results, encoders)
    names = short_ends(encoders, "/", NO_NAME)
    Console().print(_rich_table(rows, names))
    if output:
        write_file(Path(output), _markdown(rows, names))


def find_results(folder: Path) -> list[Result]:
    """All tested runs at or below a folder, in the order of their paths.

    Raises:
        UserError: If there is none.
    """
    files = sorted(folder.glob("**/test.json"))
    if not files:
        raise UserError(
            f"{folder}: no tested run there (test.json); run `hlm test` or test_after_fit"
        )
    return [_read(file) for file in files]


def _tell_datasets_apart(results: list[Result]) -> list[Result]:
    if len({result.dataset for result in results}) == 1:
        return results
    return [replace(result, task=f"{result.dataset}: {result.task}") for result in results]


def _read(file: Path) -> Result:
    metrics = json.loads(file.read_text(encoding="utf-8"))
    config = yaml.safe_load((file.parent / CONFIG).read_text(encoding="utf-8"))
    data, model = config["data"]["init_args"], config["model"]
    return Result(
        read_run(file.parent / RUN_RECORD).dataset,
        data.get("task") or "hierarchy",
        _encoder(model),
        config["seed_everything"],
        metrics,
    )


def _encoder(model: dict[str, Any]) -> str:
    """Name or path of the encoder, or the class of a model without one."""
    backbone = model["init_args"].get("backbone")
    if backbone is None:
        return str(model["class_path"]).rpartition(".")[2]
    if backbone.get("init_from"):
        return Path(backbone["init_from"]).as_posix()
    if backbone["pretrained"] in ("auto", "hub"):
        return str(backbone["name"])
    if backbone["pretrained"] == "none":
        return f"{backbone['name']} from scratch"
    return Path(backbone["pretrained"]).as_posix()


def table_rows(results: Sequence[Result], encoders: Sequence[str]) -> list[Row]:
    """One row per task and metric."""
    rows = []
    for task in dict.fromkeys(result.task for result in results):
        for metric, title in METRICS.items():
            cells = [
                [r.metrics[metric] for r in results if (r.task, r.encoder) == (task, encoder)]
                for encoder in encoders
            ]
            rows.append(Row(task, title, [cell or None for cell in cells]))
    return rows


def _columns(encoders: Sequence[str]) -> list[str]:
    return ["task", "metric", *encoders, *(f"gain of {name}" for name in encoders[1:])]


def _values(row: Row) -> list[str]:
    first = row.cells[0]
    gains = [
        f"{100 * (mean(cell) - mean(first)):+.1f}" if cell and first else "-"
        for cell in row.cells[1:]
    ]
    return [row.task, row.metric, *map(_score, row.cells), *gains]


def _score(cell: list[float] | None) -> str:
    if cell is None:
        return "-"
    spread = f" ± {100 * stdev(cell):.1f} ({len(cell)} seeds)" if len(cell) > 1 else ""
    return f"{100 * mean(cell):.1f}{spread}"


def _rich_table(rows: Sequence[Row], encoders: Sequence[str]) -> Table:
    table = Table(*_columns(encoders), title="Test scores in percent; gains in points")
    for row in rows:
        table.add_row(*_values(row))
    return table


def _markdown(rows: Sequence[Row], encoders: Sequence[str]) -> str:
    columns = _columns(encoders)
    lines = [columns, ["---"] * len(columns), *map(_values, rows)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)
