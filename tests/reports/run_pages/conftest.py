"""Run and sweep folders as `hlm fit` and `hlm sweep` leave them."""

import csv
import json
import re

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from hierarchy_lm.cli import main
from hierarchy_lm.hierarchy import Hierarchy

TREE = Hierarchy.from_paths(
    [("Garden", "Hoses"), ("Garden", "Pots"), ("Toys", "Balls"), ("Toys", "Dolls")]
)
SST = "hierarchy_lm.pretraining.SSTPretrainer"
ITEMS = pa.schema(
    [
        ("item_id", pa.string()),
        ("gold", pa.list_(pa.int32())),
        ("predicted", pa.list_(pa.int32())),
        ("weight", pa.float32()),
    ]
)


def curves(points, start, seed=0):
    """Columns of a metrics.csv: a noisy falling loss each step, F1 at the end of epochs."""
    rng = np.random.default_rng(seed)
    rows = []
    for step in range(points):
        loss = start * 0.5 + start * 0.5 * np.exp(-step / points * 4) + 0.05 * rng.normal()
        rows.append({"epoch": 0, "step": step * 20 + 19, "train/loss": loss, "train/lr": 1e-4})
        if step % 25 == 24:
            score = {"val/loss": loss + 0.1, "val/micro_f1": 0.5 + 0.3 * step / points}
            rows.append({"epoch": 0, "step": step * 20 + 19, **score})
    return rows


def write_run(
    folder,
    *,
    model=SST,
    options=None,
    seed=0,
    state="finished",
    error=None,
    metrics=None,
    rows=(),
    record=True,
    dataset="nowhere",
    items=None,
    levels=None,
    data=None,
):
    """One run folder; ``items`` are rows of item id, gold, predicted."""
    folder.mkdir(parents=True)
    config = {
        "seed_everything": seed,
        "trainer": {"max_epochs": 3, "default_root_dir": str(folder.parent)},
        "model": {"class_path": model, "init_args": options or {}},
        "data": {"class_path": "products", "init_args": {"dataset": str(dataset), **(data or {})}},
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    if rows:
        names = list(dict.fromkeys(name for row in rows for name in row))
        with (folder / "metrics.csv").open("w", newline="") as file:
            table = csv.DictWriter(file, names)
            table.writeheader()
            table.writerows(rows)
    if record:
        content = {
            "state": state,
            "error": error,
            "command": ["hlm", "fit"],
            "config": config,
            "git": {"commit": "0123456789abcdef", "dirty": True},
            "dataset": {"path": str(dataset), "fingerprint": "x", "hierarchy": TREE.fingerprint},
            "seed": seed,
            "seconds": 75.0,
            "tokens": 123456,
            "steps": 100,
            "parameters": {"total": 2000, "encoder": 1500},
            "metrics": metrics or {},
        }
        (folder / "run.json").write_text(json.dumps(content))
    if items is not None:
        (folder / "test_items").mkdir()
        ids, gold, predicted = map(list, zip(*items, strict=True))
        table = pa.table([ids, gold, predicted, [1.0] * len(ids)], ITEMS)
        labels = {
            "num_labels": "6" if levels else "2",
            **({"level_offsets": levels} if levels else {}),
        }
        table = table.replace_schema_metadata(labels)
        for part, rows in enumerate((table.slice(1), table.slice(0, 1))):  # of two ranks
            pq.write_table(rows, folder / "test_items" / f"part-0000{part}.parquet")
    return folder


def write_sweep(folder, parameters, cells, *, baseline=(), metric=None, rows=()):
    """A sweep folder.

    Args:
        folder: It.
        parameters: Values by name.
        cells: Values in the order of the parameters, seed, and metrics or a state.
        baseline: Seed, and metrics or a state, of the runs without swept values.
        metric: Of the sweep file.
        rows: Of every finished run's metrics.csv.
    """
    folder.mkdir(parents=True)
    listed = []
    plan = [
        (dict(zip(parameters, values, strict=True)), seed, told) for values, seed, told in cells
    ]
    for number, (values, seed, told) in enumerate([*plan, *(({}, s, t) for s, t in baseline)]):
        place = folder / "runs" / f"{number:03}"
        entry = {"id": number, "values": values, "seed": seed, "baseline": not values}
        listed.append({**entry, "folder": f"runs/{number:03}"})
        state = "finished" if isinstance(told, dict) else told
        options = {name.removeprefix("model."): value for name, value in values.items()}
        if state != "waiting":
            error = "loss is <nan> & void" if state == "failed" else None
            write_run(
                place / "version_0",
                options=options,
                seed=seed,
                state=state,
                error=error,
                metrics=told if state == "finished" else {},
                rows=rows,
            )
            (place / "cell.json").write_text(json.dumps({"state": state, "error": error}))
    content = {"name": "demo", "command": [], "extra": [], "parameters": parameters}
    (folder / "sweep.json").write_text(json.dumps({**content, "cells": listed}))
    if metric:
        (folder / "sweep.yaml").write_text(yaml.safe_dump({"metric": metric}))
    return folder


@pytest.fixture
def run(tmp_path):
    """Write a run folder below the test's own folder."""

    def write(name, **options):
        return write_run(tmp_path / name, **options)

    return write


@pytest.fixture
def sweep(tmp_path):
    """Write a sweep folder below the test's own folder."""

    def write(parameters, cells, **options):
        return write_sweep(tmp_path / "sweep", parameters, cells, **options)

    return write


@pytest.fixture(name="curves")
def curves_of_a_run():
    """Rows of a metrics.csv: number of points, first loss, seed."""
    return curves


@pytest.fixture
def dataset(tmp_path):
    """A dataset folder that has its tree."""
    folder = tmp_path / "data"
    folder.mkdir()
    TREE.to_parquet(folder / "hierarchy.parquet")
    return folder


@pytest.fixture
def department():
    """The department classifier's class."""
    return "hierarchy_lm.classification.DepartmentClassifier"


@pytest.fixture
def leaf():
    """The leaf classifier's class."""
    return "hierarchy_lm.classification.LeafClassifier"


@pytest.fixture
def reported():
    """Write a report; returns the sections of the Markdown, and the page."""

    def write(output, *command):
        assert main(["report", *map(str, command), "--output", str(output)]) == 0
        text = (output / "report.md").read_text(encoding="utf-8")
        parts = re.findall(r"^## (.+?)\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
        return dict(parts), (output / "report.html").read_text(encoding="utf-8")

    return write


@pytest.fixture
def cells():
    """Rows of a section's table by their first cell."""

    def read(section):
        lines = [line for line in section.splitlines() if line.startswith("| ")]
        rows = [line.strip("| ").split(" | ") for line in lines]
        return {row[0]: row[1:] for row in rows}

    return read


@pytest.fixture
def chart():
    """A chart of the page by its id."""

    def find(html, name):
        (found,) = re.findall(rf'<svg id="{name}".*?</svg>', html, re.DOTALL)
        return found

    return find


@pytest.fixture
def refused(capsys):
    """A command that ends in one line of error."""

    def run_command(*command):
        assert main(["report", *map(str, command)]) == 2
        message = capsys.readouterr().err
        assert message.count("\n") == 1
        return message

    return run_command


@pytest.fixture
def tree():
    """Two departments with two leaves each: nodes 0 to 1 and 2 to 5."""
    return TREE
