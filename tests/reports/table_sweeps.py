"""Sweep folders in the format of `hlm sweep`, without any training."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

BETA, GATE = "model.loss.bootstrap.beta", "model.loss.bootstrap.t_gate"


def write_run(
    folder: Path,
    metrics: dict[str, float],
    *,
    seed: int = 0,
    state: str = "finished",
    fingerprint: str = "f" * 64,
    parameters: int = 40_000_000,
    config: dict | None = None,
    command: list[str] | None = None,
) -> Path:
    run = folder / "version_0"
    run.mkdir(parents=True)
    record = {
        "state": state,
        "error": None if state == "finished" else "it broke",
        "command": command or ["hlm", "fit"],
        "config": config or {},
        "dataset": {"path": "data/shop", "fingerprint": fingerprint, "hierarchy": "h" * 64},
        "seed": seed,
        "started": "2026-01-01T00:00:00+00:00",
        "parameters": {"total": parameters + 1_000_000, "encoder": parameters},
        "metrics": metrics,
    }
    (run / "run.json").write_text(json.dumps(record))
    return run


def write_items(run: Path, gold: list[list[int]], predicted: list[list[int]], **more) -> None:
    """Two parts, out of order."""
    count = len(gold)
    columns = {
        "item_id": pa.array([f"item-{number:04d}" for number in range(count)]),
        "gold": pa.array(gold, pa.list_(pa.int32())),
        "predicted": pa.array(predicted, pa.list_(pa.int32())),
        "weight": pa.array(more.get("weights", [1.0] * count), pa.float32()),
    }
    table = pa.table(columns).take(np.random.default_rng(0).permutation(count))
    metadata = {"num_labels": str(more.get("num_labels", 10))}
    table = table.replace_schema_metadata(metadata)
    (run / "test_items").mkdir()
    for rank, part in enumerate((table.slice(0, 3), table.slice(3))):
        pq.write_table(part, run / "test_items" / f"part-{rank:05d}.parquet")


class SweepWriter:
    """Adds cells to a sweep folder; the record is whole after each."""

    def __init__(self, folder: Path, name: str, parameters: dict[str, list], **terms) -> None:
        self.folder, self.cells = folder, []
        self.record = {
            "name": name,
            "command": terms.get("command", ["hlm", "fit", "${args}"]),
            "extra": terms.get("extra", []),
            "parameters": parameters,
            "cells": self.cells,
        }
        folder.mkdir(parents=True)

    def cell(self, values: dict, seed: int, *, baseline: bool = False) -> Path:
        """The folder of a new cell, which is not made: the cell has not been run."""
        number = len(self.cells)
        cell = {"id": number, "values": values, "seed": seed, "baseline": baseline}
        self.cells.append(cell | {"folder": f"runs/{number:03d}"})
        (self.folder / "sweep.json").write_text(json.dumps(self.record))
        return self.folder / "runs" / f"{number:03d}"
