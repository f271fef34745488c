"""What run folders of `hlm fit` say: configuration, final metrics, and curves of `metrics.csv`."""

import csv
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import takewhile
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

from hierarchy_lm.dataset import read_json
from hierarchy_lm.errors import UserError
from hierarchy_lm.run_files import CONFIG, RUN_RECORD

CURVES = "metrics.csv"
LAST_LOGGED = "metrics.csv (the last logged)"
REMEDY = "run it again"


@dataclass(frozen=True)
class Curve:
    """A metric's logged values by optimizer step, raw.

    Attributes:
        steps: ``(n,)`` ascending.
        values: ``(n,)`` finite.
        left_out: Values that were infinite or no number.
    """

    steps: NDArray[np.int64]
    values: NDArray[np.float64]
    left_out: int = 0


@dataclass(frozen=True, eq=False)
class Run:
    """One run folder.

    Attributes:
        label: How the report calls it.
        group: What it shares its colour with: itself, or the other seeds of a sweep's cell.
        folder: The run folder.
        kind: Class of its model.
        state: As run.json has it; ``unknown`` for a run without one.
        record: run.json; empty for a run without one.
        config: Resolved configuration, as nested mappings.
        metrics: Final metrics.
        source: Where these were read: a file's name, or ``LAST_LOGGED``.
        curves: By metric.
    """

    label: str
    group: str
    folder: Path
    kind: str
    state: str
    record: Mapping[str, Any]
    config: Mapping[str, Any]
    metrics: Mapping[str, float]
    source: str
    curves: Mapping[str, Curve] = field(default_factory=dict)

    @property
    def error(self) -> str:
        """Why it failed, or nothing."""
        return str(self.record.get("error") or "")


def is_run(folder: Path) -> bool:
    """Whether a folder is a run's; W&B keeps a ``config.yaml`` elsewhere, but no curves beside."""
    if (folder / RUN_RECORD).is_file():
        return True
    return (folder / CONFIG).is_file() and (folder / CURVES).is_file()


def find_runs(folders: Sequence[Path]) -> list[Run]:
    """The runs at or below some folders, named by what tells their paths apart.

    Raises:
        UserError: If a folder holds none, or a file of a run is damaged.
    """
    found: dict[Path, None] = {}
    for folder in folders:
        found |= dict.fromkeys(path.resolve() for path in _below(folder))
    names = tell_apart(list(found))
    return [read_run(path, name) for path, name in zip(found, names, strict=True)]


def _below(folder: Path) -> list[Path]:
    if is_run(folder):
        return [folder]
    files = [file for name in (RUN_RECORD, CONFIG) for file in folder.glob(f"**/{name}")]
    runs = sorted({file.parent for file in files if is_run(file.parent)}, key=_natural)
    if not runs:
        raise UserError(
            f"{folder}: no cascade, run or sweep there (cascade.json, run.json, sweep.json); give "
            "a folder that `hlm fit-cascade`, `hlm fit` or `hlm sweep` has written"
        )
    return runs


def _natural(path: Path) -> list[tuple[str, int, str]]:
    """Sorts version_10 behind version_9."""
    parts = [(part.rstrip("0123456789"), part) for part in path.parts]
    return [(stem, int(part[len(stem) :] or -1), part) for stem, part in parts]


def tell_apart(paths: Sequence[Path]) -> list[str]:
    """Short distinct names: the paths without the parents and the ends that all share."""
    if len(paths) == 1:
        return ["/".join(paths[0].parts[-2:])]
    first = paths[0].parts
    shortest = min(len(path.parts) for path in paths)

    def shared(end: int) -> bool:
        return all(path.parts[end] == first[end] for path in paths)

    start = len(list(takewhile(shared, range(shortest - 1))))
    room = shortest - start - 1
    ends = len(list(takewhile(lambda n: shared(-n), range(1, room + 1))))
    return ["/".join(path.parts[start : len(path.parts) - ends]) for path in paths]


def read_run(folder: Path, label: str, group: str | None = None) -> Run:
    """Read a run folder, with or without run.json.

    Raises:
        UserError: If a file is damaged.
    """
    record = _read_record(folder / RUN_RECORD) if (folder / RUN_RECORD).is_file() else {}
    curves = read_curves(folder / CURVES)
    config = record.get("config") or _read_config(folder / CONFIG)
    metrics, source = _metrics(folder, record, curves)
    kind = str(_at(config, "model", "class_path") or "run").rpartition(".")[2]
    state = str(record.get("state", "unknown"))
    names = (label, group or label)
    return Run(*names, folder, kind, state, record, config, metrics, source, curves)


def _metrics(
    folder: Path, record: Mapping[str, Any], curves: Mapping[str, Curve]
) -> tuple[dict[str, float], str]:
    if record.get("metrics"):
        return _numbers(record["metrics"]), RUN_RECORD
    files = [folder / f"{stage}.json" for stage in ("fit", "validate", "test")]
    there = [file for file in files if file.is_file()]
    if there:
        contents = [read_json(file, REMEDY) for file in there]
        merged = {name: value for content in contents for name, value in content.items()}
        return _numbers(merged), " and ".join(file.name for file in there)
    last = {name: float(one.values[-1]) for name, one in curves.items() if len(one.values)}
    return last, LAST_LOGGED


def _numbers(values: Mapping[str, Any]) -> dict[str, float]:
    """The finite ones; JSON may hold NaN."""
    plain = {k: v for k, v in values.items() if isinstance(v, int | float)}
    return {name: float(value) for name, value in plain.items() if math.isfinite(value)}


def read_curves(file: Path) -> dict[str, Curve]:
    """Every metric's curve in a ``metrics.csv``; none without the file, as with W&B's logger.

    Raises:
        UserError: If the file is damaged.
    """
    if not file.is_file():
        return {}
    points: dict[str, list[tuple[int, float]]] = {}
    try:
        content = file.read_text(encoding="utf-8")
        whole = content[: content.rfind("\n") + 1]  # a running or killed run's last line may not be
        for row in csv.DictReader(whole.splitlines()):
            step = int(row.pop("step"))
            row.pop("epoch", None)
            for name, text in row.items():
                if text:
                    points.setdefault(name, []).append((step, float(text)))
    except (OSError, ValueError, KeyError, TypeError, csv.Error) as error:
        raise UserError(f"{file}: cannot read it ({error}); is it CSVLogger's?") from error
    return {name: _curve(found) for name, found in points.items()}


def _curve(points: list[tuple[int, float]]) -> Curve:
    finite = sorted((point for point in points if math.isfinite(point[1])), key=lambda p: p[0])
    steps, values = [step for step, _ in finite], [value for _, value in finite]
    return Curve(np.array(steps, np.int64), np.array(values, float), len(points) - len(finite))


def _read_record(file: Path) -> dict[str, Any]:
    record = read_json(file, REMEDY)
    for key in ("config", "metrics", "dataset", "parameters", "git"):
        if not isinstance(record.get(key) or {}, Mapping):
            raise UserError(f"{file}: '{key}' is no JSON object; run it again")
    return record


def _read_config(file: Path) -> dict[str, Any]:
    if not file.is_file():
        return {}
    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"{file}: no valid YAML ({reason}); run it again") from error
    return content if isinstance(content, dict) else {}


def _at(config: Any, *keys: str) -> Any:  # noqa: ANN401
    for key in keys:
        config = config.get(key) if isinstance(config, Mapping) else None
    return config
