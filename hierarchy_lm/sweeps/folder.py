"""The folder of a sweep: what was planned, what is finished, results as data (docs/sweeps.md)."""

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import csv

from hierarchy_lm.dataset import read_json, write_json
from hierarchy_lm.errors import UserError
from hierarchy_lm.run_files import CHECKPOINTS, RUN_RECORD
from hierarchy_lm.sweeps.cells import Cell
from hierarchy_lm.sweeps.file import Sweep

SWEEP, FILE, CELL = "sweep.json", "sweep.yaml", "cell.json"
FITTED = "fit.json"


def write_sweep(
    folder: Path, sweep: Sweep, text: str, extra: Sequence[str], cells: Sequence[Cell]
) -> None:
    """Write ``sweep.json`` and a copy of the sweep file.

    Args:
        folder: The sweep's folder.
        sweep: The sweep.
        text: Its file, letter by letter.
        extra: Arguments of every run.
        cells: Its runs.
    """
    (folder / FILE).write_text(text, encoding="utf-8")
    content = {
        "name": sweep.name,
        "command": ["hlm", *sweep.command],
        "extra": list(extra),
        "parameters": swept_values(cells),
        "cells": [asdict(cell) for cell in cells],
    }
    write_json(folder / SWEEP, content)


def swept_values(cells: Iterable[Cell]) -> dict[str, list[Any]]:
    """The values of each swept parameter, in the order of the cells, each once."""
    found: dict[str, dict[str, Any]] = {}
    for cell in cells:
        for name, value in cell.values.items():
            found.setdefault(name, {})[str(value)] = value
    return {name: list(values.values()) for name, values in found.items()}


def read_cells(folder: Path) -> list[Cell]:
    """The cells of a sweep's folder; none if there is no sweep yet.

    Raises:
        UserError: If ``sweep.json`` is damaged.
    """
    file = folder / SWEEP
    if not file.is_file():
        return []
    try:
        return [Cell(**cell) for cell in read_json(file, "name another --output")["cells"]]
    except (KeyError, TypeError) as error:
        raise UserError(f"{file}: damaged ({error}); name another --output") from error


def runs_of(cell: Path) -> list[Path]:
    """The run folders of a cell, the newest first."""
    found = [path for path in cell.glob("version_*") if path.name[len("version_") :].isdigit()]
    return sorted(found, key=lambda path: -int(path.name[len("version_") :]))


def read_record(file: Path) -> dict[str, Any]:
    """``run.json`` or ``cell.json``; empty if it is not there.

    Raises:
        UserError: If it is damaged.
    """
    return read_json(file, "remove its folder to run it again") if file.is_file() else {}


def newest_finished(cell: Path) -> Path | None:
    """The newest finished run folder of a cell."""
    return next(
        (r for r in runs_of(cell) if read_record(r / RUN_RECORD).get("state") == "finished"), None
    )


def checkpoint_to_resume(cell: Path) -> Path | None:
    """Where the unfinished training of a cell goes on.

    None if it has to start anew: it left no checkpoint, failed, was stopped after the training
    (early stopping would not end it at the same place again), or its folder was moved (the best
    checkpoint from before would not be found).
    """
    for run in runs_of(cell):
        last = run / CHECKPOINTS / "last.ckpt"
        record = read_record(run / RUN_RECORD)
        if not record:
            continue  # killed before it wrote anything
        stopped = record["state"] in ("running", "interrupted")
        if (run / FITTED).is_file() or not stopped:
            return None
        if last.is_file():
            root = Path(record["config"]["trainer"]["default_root_dir"])
            return last if root.resolve() == cell.resolve() else None
    return None


def drop_resume_files(cell: Path) -> None:
    """Delete the checkpoints of a finished cell that only a resume would need."""
    finished = newest_finished(cell)
    for run in runs_of(cell):
        (run / CHECKPOINTS / "last.ckpt").unlink(missing_ok=True)
        if run != finished:
            (run / CHECKPOINTS / "best.ckpt").unlink(missing_ok=True)


def write_results(folder: Path, cells: Sequence[Cell]) -> list[dict[str, Any]]:
    """Write ``results.parquet`` and ``results.csv``, a row per cell. Returns the rows."""
    rows = [result(folder, cell) for cell in cells]
    metrics = list(dict.fromkeys(name for row in rows for name in row["metrics"]))
    columns = {
        "folder": pa.array([row["folder"] for row in rows], pa.string()),
        "state": pa.array([row["state"] for row in rows], pa.string()),
        "error": pa.array([row["error"] for row in rows], pa.string()),
        "seed": pa.array([row["seed"] for row in rows], pa.int64()),
        "baseline": pa.array([row["baseline"] for row in rows], pa.bool_()),
    }
    for name in swept_values(cells):
        columns[name] = pa.array([row["values"].get(name) for row in rows], pa.string())
    for name in metrics:
        columns[name] = pa.array([row["metrics"].get(name) for row in rows], pa.float64())
    columns["seconds"] = pa.array([row["seconds"] for row in rows], pa.float64())
    for name in ("tokens", "parameters"):
        columns[name] = pa.array([row[name] for row in rows], pa.int64())
    _write(folder, pa.table(columns))
    return rows


def _write(folder: Path, table: pa.Table) -> None:
    writers = {"results.parquet": pq.write_table, "results.csv": csv.write_csv}
    for name, write in writers.items():
        temporary = folder / f"{name}.tmp"
        write(table, temporary)
        os.replace(temporary, folder / name)


def result(folder: Path, cell: Cell) -> dict[str, Any]:
    """What is known of one cell; its numbers are those of its newest finished run."""
    place = folder / cell.folder
    run = newest_finished(place)
    record: Mapping[str, Any] = read_record(run / RUN_RECORD) if run else {}
    own = read_record(place / CELL)
    return {
        "folder": cell.folder,
        "state": "finished" if run else own.get("state", "waiting"),
        "error": None if run else own.get("error"),
        "seed": cell.seed,
        "baseline": cell.baseline,
        "values": {name: str(value) for name, value in cell.values.items()},
        "metrics": record.get("metrics", {}),
        "seconds": record.get("seconds"),
        "tokens": record.get("tokens"),
        "parameters": record.get("parameters", {}).get("total"),
    }
