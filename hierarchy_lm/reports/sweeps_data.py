"""What a sweep folder says: its cells, how each ended, and the run that counts."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from statistics import mean, stdev
from typing import Any

import yaml

from hierarchy_lm.errors import UserError
from hierarchy_lm.reports.runs_data import RECORD, Run, read_run

SWEEP, SWEEP_FILE, CELL = "sweep.json", "sweep.yaml", "cell.json"
BASELINE = "baseline"
FINISHED, MISSING_RUN = "finished", "missing"


@dataclass(frozen=True)
class Cell:
    """One run of a sweep, planned or done.

    Attributes:
        values: Text of each parameter's value, in the order of the sweep's parameters; empty for
            the baseline.
        group: The values in words: what seeds share.
        seed: Its seed.
        state: ``finished``, ``failed``, ``running``, ``interrupted``, ``waiting`` or ``missing``.
        error: Why it failed.
        run: Its newest finished run.
    """

    values: tuple[str, ...]
    group: str
    seed: int
    state: str
    error: str
    run: Run | None

    @property
    def is_baseline(self) -> bool:
        """Whether it is the command without the swept values."""
        return self.group == BASELINE

    @property
    def label(self) -> str:
        """The values and the seed."""
        return f"{self.group}, seed {self.seed}"


@dataclass(frozen=True)
class Sweep:
    """A sweep folder.

    Attributes:
        name: Of the sweep.
        parameters: Short name of each swept parameter, and its values' texts in their order.
        cells: All that are planned.
        metric: What the sweep file optimises, and whether less of it is better.
    """

    name: str
    parameters: dict[str, list[str]]
    cells: list[Cell]
    metric: tuple[str, bool] | None


@dataclass(frozen=True)
class Summary:
    """A metric over the seeds of the same values.

    Attributes:
        scores: Of the finished runs that have the metric.
        planned: Number of runs.
        states: Those of the runs without a score.
    """

    scores: list[float]
    planned: int
    states: list[str]

    @property
    def mean(self) -> float | None:
        """Mean over the finished runs."""
        return mean(self.scores) if self.scores else None

    @property
    def deviation(self) -> float | None:
        """Sample standard deviation; ``None`` of fewer than two."""
        return stdev(self.scores) if len(self.scores) > 1 else None


def summarize(cells: Sequence[Cell], metric: str) -> Summary:
    """The metric over some cells."""
    found = [cell.run.metrics.get(metric) if cell.run else None for cell in cells]
    scores = [score for score in found if score is not None]
    states = [
        cell.state if cell.state != FINISHED else f"without {metric}"
        for cell, score in zip(cells, found, strict=True)
        if score is None
    ]
    return Summary(scores, len(cells), states)


def read_sweep(folder: Path) -> Sweep:
    """Read a sweep folder, finished or not.

    Raises:
        UserError: If a file is damaged.
    """
    content = _json(folder / SWEEP)
    try:
        names = short_names(list(content["parameters"]))
        listed = {p: [_text(v) for v in values] for p, values in content["parameters"].items()}
        drawn = [entry["values"] for entry in content["cells"] if not entry["baseline"]]
        shown = {p: short_values([*listed[p], *(_text(v.get(p)) for v in drawn)]) for p in listed}
        cells = [_cell(folder, entry, names, shown) for entry in content["cells"]]
        parameters = {names[p]: list(dict.fromkeys(shown[p].values())) for p in listed}
        return Sweep(str(content["name"]), parameters, cells, _metric(folder / SWEEP_FILE))
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise UserError(f"{folder / SWEEP}: not as `hlm sweep` writes it ({error!r})") from error


def _cell(
    folder: Path,
    entry: Mapping[str, Any],
    names: Mapping[str, str],
    shown: Mapping[str, Mapping[str, str]],
) -> Cell:
    values, group = dict[str, str](), BASELINE
    if not entry["baseline"]:
        values = {name: shown[name][_text(entry["values"].get(name))] for name in names}
        group = ", ".join(f"{names[name]}={value}" for name, value in values.items()) or "all"
    place, seed = folder / entry["folder"], int(entry["seed"])
    label = f"{group}, seed {seed}"
    runs = sorted(place.glob(f"**/{RECORD}"), key=lambda file: file.stat().st_mtime_ns)
    records = [(file.parent, _json(file)) for file in runs]
    done = [path for path, record in records if record.get("state") == FINISHED]
    last = records[-1][1] if records else {}
    told = _json(place / CELL) if (place / CELL).is_file() else last
    return Cell(
        tuple(values.values()),
        group,
        seed,
        FINISHED if done else str(told.get("state", MISSING_RUN)),
        "" if done else str(told.get("error") or last.get("error") or ""),
        read_run(done[-1], label, group) if done else None,
    )


def short_names(parameters: Sequence[str]) -> dict[str, str]:
    """The last parts of dotted names, as many as tell them apart."""
    found = {}
    for name in parameters:
        parts = name.split(".")
        ends = (".".join(parts[-size:]) for size in range(1, len(parts) + 1))
        others = [other for other in parameters if other != name]
        found[name] = next(
            (end for end in ends if not any(f".{o}".endswith(f".{end}") for o in others)), name
        )
    return found


def short_values(values: Sequence[str]) -> dict[str, str]:
    """Paths of YAML files as their stems, where these are distinct."""
    distinct = list(dict.fromkeys(values))
    short = [PurePath(v).stem if v.endswith((".yaml", ".yml")) else v for v in distinct]
    return dict(zip(distinct, short if len(set(short)) == len(distinct) else distinct, strict=True))


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _metric(file: Path) -> tuple[str, bool] | None:
    if not file.is_file():
        return None
    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise UserError(f"{file}: no valid YAML ({str(error).splitlines()[0]})") from error
    metric = content.get("metric") if isinstance(content, Mapping) else None
    if not isinstance(metric, Mapping) or "name" not in metric:
        return None
    return str(metric["name"]), metric.get("goal", "minimize") == "minimize"  # W&B's default


def _json(file: Path) -> dict[str, Any]:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{file}: no valid JSON ({error}); run the sweep again") from error
    if not isinstance(content, dict):
        raise UserError(f"{file}: holds no JSON object; run the sweep again")
    return content
