"""What a sweep folder says: its cells, how each ended, and the run that counts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from statistics import mean, stdev

import yaml

from hierarchy_lm.dataset import read_json
from hierarchy_lm.errors import UserError
from hierarchy_lm.reports.configs import as_text
from hierarchy_lm.reports.runs_data import Run, read_run
from hierarchy_lm.reports.texts import short_ends
from hierarchy_lm.sweeps.cells import Cell as Planned
from hierarchy_lm.sweeps.folder import (
    CELL,
    FILE,
    SWEEP,
    newest_finished,
    read_cells,
    read_record,
    swept_values,
)

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
    planned = read_cells(folder)
    try:
        swept = {name: list(map(as_text, values)) for name, values in swept_values(planned).items()}
        title = read_json(folder / SWEEP, "run the sweep again")["name"]
    except (KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{folder / SWEEP}: damaged ({error!r}); run the sweep again") from error
    names = dict(zip(swept, short_ends(list(swept), "."), strict=True))
    shown = {name: short_values(values) for name, values in swept.items()}
    cells = [_cell(folder, cell, names, shown) for cell in planned]
    parameters = {names[name]: list(dict.fromkeys(shown[name].values())) for name in swept}
    return Sweep(str(title), parameters, cells, _metric(folder / FILE))


def _cell(
    folder: Path, cell: Planned, names: Mapping[str, str], shown: Mapping[str, Mapping[str, str]]
) -> Cell:
    values = {name: shown[name][as_text(value)] for name, value in cell.values.items()}
    words = ", ".join(f"{names[name]}={value}" for name, value in values.items())
    group = BASELINE if cell.baseline else words or "all"
    place = folder / cell.folder
    try:
        run, own = newest_finished(place), read_record(place / CELL)
    except UserError as error:
        raise UserError(f"{place}: {CELL} or a run.json is damaged ({error})") from error
    return Cell(
        tuple(values.values()),
        group,
        cell.seed,
        str(own.get("state", MISSING_RUN)) if run is None else FINISHED,
        str(own.get("error") or "") if run is None else "",
        None if run is None else read_run(run, f"{group}, seed {cell.seed}", group),
    )


def short_values(values: Sequence[str]) -> dict[str, str]:
    """Paths of YAML files as their stems, where these are distinct."""
    distinct = list(dict.fromkeys(values))
    short = [PurePath(v).stem if v.endswith((".yaml", ".yml")) else v for v in distinct]
    return dict(zip(distinct, short if len(set(short)) == len(distinct) else distinct, strict=True))


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
