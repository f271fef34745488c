"""The runs that a table is made of: those of its sweeps, or whatever runs lie in a folder."""

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path, PurePath
from typing import Any, Literal

import yaml

from hierarchy_lm.dataset import read_json
from hierarchy_lm.errors import UserError
from hierarchy_lm.reports.configs import flat
from hierarchy_lm.reports.table_layout import Conditions, short
from hierarchy_lm.run_files import RUN_RECORD

REMEDY = "leave its folder out"
State = Literal["finished", "failed", "not finished", "not run"]
STATES: dict[str, State] = {
    "finished": "finished",
    "failed": "failed",
    "running": "not finished",
    "interrupted": "not finished",
}


@dataclass(frozen=True)
class Run:
    """A run folder with its ``run.json``.

    Attributes:
        folder: The run folder.
        record: ``run.json``.
        options: The resolved configuration by dotted names, ``init_args`` left out.
    """

    folder: Path
    record: dict[str, Any]
    options: dict[str, str]

    @property
    def metrics(self) -> dict[str, float]:
        """Final metrics by name."""
        return self.record.get("metrics") or {}

    @property
    def sizes(self) -> dict[str, int]:
        """Number of parameters, ``total`` and of the ``encoder``."""
        return self.record.get("parameters") or {}

    @property
    def state(self) -> State:
        """What became of it."""
        return STATES[self.record["state"]]

    @property
    def dataset(self) -> str:
        """The dataset in words that tell it from any other: its folder's name and fingerprint."""
        dataset = self.record.get("dataset") or {}
        name = PurePath(str(dataset.get("path", "unknown"))).name
        return f"{name} ({str(dataset.get('fingerprint', 'no fingerprint'))[:12]})"


@dataclass(frozen=True)
class Sweep:
    """A sweep folder: what its cells have in common.

    Attributes:
        folder: The folder.
        name: Name of the sweep, which is that of its table.
        terms: Command and extra arguments.
        parameters: Swept parameters and their values as texts, in the order of the grid.
        metric: What its file calls the metric, where it does.
    """

    folder: Path
    name: str
    terms: tuple[str, ...]
    parameters: dict[str, list[str]]
    metric: str | None

    def values(self, name: str) -> list[str]:
        """Values of the parameters with that name, or end of a name."""
        return [v for key, values in self.parameters.items() if _ends(key, name) for v in values]


@dataclass(frozen=True)
class Trial:
    """One setting with one seed, run or not.

    Attributes:
        values: The swept values; of a run that is of no sweep, the flags of its command.
        seed: ``seed_everything``.
        baseline: It is a run of the sweep's baseline.
        state: What became of it.
        run: Its run, where there is one.
        sweep: The sweep it is a cell of.
    """

    values: dict[str, str]
    seed: int
    baseline: bool = False
    state: State = "not run"
    run: Run | None = None
    sweep: Sweep | None = field(default=None, compare=False)

    def has(self, conditions: Conditions) -> bool:
        """Whether each parameter has one of the values that count.

        A parameter is named by the end of its dotted name. A value is a pattern of the text or, of
        a YAML file, of its name without the suffix; numbers are compared as numbers. What was not
        swept is looked up in the run's resolved configuration.
        """
        return all(self._has(name, patterns) for name, patterns in conditions)

    def _has(self, name: str, patterns: Sequence[str]) -> bool:
        return any(matches(value, pattern) for value in self.look_up(name) for pattern in patterns)

    def look_up(self, name: str) -> list[str]:
        """Values of the parameters with that name, or end of a name."""
        found = _ending(self.values, name)
        return found if found or not self.run else _ending(self.run.options, name)


def find_trials(name: str, folders: Iterable[str], others: Collection[str] = ()) -> list[Trial]:
    """All trials of the sweeps of that name at or below the folders; without sweeps, all runs.

    Args:
        name: The sweep's name.
        folders: Where to look.
        others: Names of sweeps whose trials count where they lie there too.

    Raises:
        UserError: If a folder is missing or unreadable, or holds nothing of that kind.
    """
    found: list[Trial] = []
    for folder in map(Path, folders):
        if not folder.is_dir():
            raise UserError(f"{folder}: no such folder; give sweep folders or run folders")
        sweeps = {file: _name(file) for file in sorted(folder.rglob("sweep.json"))}
        counted = {name, *others}
        own = [trial for file in sweeps if sweeps[file] in counted for trial in _sweep(file)]
        if sweeps and not own:
            names = ", ".join(sorted(set(sweeps.values())))
            raise UserError(f"{folder}: no sweep '{name}' there, but {names}")
        runs = [] if sweeps else [read_run(file) for file in sorted(folder.rglob(RUN_RECORD))]
        if not sweeps and not runs:
            raise UserError(f"{folder}: no sweep.json and no run.json there; run `hlm sweep` first")
        found += own or [_loose(run) for run in runs]
    return found


def read_run(file: Path) -> Run:
    """A run by its ``run.json``.

    Raises:
        UserError: If it cannot be read.
    """
    record = read_json(file, REMEDY)
    if record.get("state") not in STATES or "started" not in record:
        raise UserError(f"{file}: no run of this program; leave its folder out")
    return Run(
        file.parent,
        record,
        {name: str(value) for name, value in flat(record.get("config") or {}).items()},
    )


def _name(file: Path) -> str:
    return str(read_json(file, REMEDY).get("name"))


def _sweep(file: Path) -> list[Trial]:
    """Its trials."""
    content = read_json(file, REMEDY)
    try:
        sweep = Sweep(
            file.parent,
            content["name"],
            (*map(str, content["command"]), *map(str, content["extra"])),
            {name: list(map(str, values)) for name, values in content["parameters"].items()},
            _metric(file.with_name("sweep.yaml")),
        )
        return [_cell(sweep, cell) for cell in content["cells"]]
    except (KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{file}: no sweep of `hlm sweep` ({error!r}); run it again") from error


def _metric(file: Path) -> str | None:
    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
        return str(content["metric"]["name"])
    except (OSError, yaml.YAMLError, KeyError, TypeError):
        return None  # a sweep file need not name one


def _cell(sweep: Sweep, cell: dict[str, Any]) -> Trial:
    values = {name: str(value) for name, value in cell["values"].items()}
    run, state = _run_of(sweep.folder / cell["folder"])
    return Trial(values, int(cell["seed"]), bool(cell["baseline"]), state, run, sweep)


def _run_of(cell: Path) -> tuple[Run | None, State]:
    """The newest finished run of a cell, else its newest, and what became of it."""
    runs = [read_run(file) for file in cell.rglob(RUN_RECORD)]
    if runs:
        newest = max(runs, key=lambda run: (run.state == "finished", run.record["started"]))
        return newest, newest.state
    own = cell / "cell.json"  # a run that failed before it had a folder
    if not own.is_file():
        return None, "not run"
    return None, STATES.get(read_json(own, REMEDY).get("state", ""), "not run")


def _loose(run: Run) -> Trial:
    values = dict(_flags(run.record.get("command") or []))
    return Trial(values, int(run.record.get("seed") or 0), False, run.state, run)


def _flags(command: Sequence[str]) -> Iterator[tuple[str, str]]:
    """``--name=value`` and ``--name value`` alike; of a repeated one the last counts."""
    for word, after in zip(command, [*command[1:], ""], strict=True):
        if word.startswith("--"):
            name, equals, value = word.removeprefix("--").partition("=")
            yield name, value if equals else after


def _plain(name: str) -> str:
    return name.replace(".init_args", "")


def _ending(values: dict[str, str], name: str) -> list[str]:
    return [value for full, value in values.items() if _ends(full, name)]


def _ends(full: str, name: str) -> bool:
    return f".{_plain(full)}".endswith(f".{_plain(name)}")


def matches(value: str, pattern: str) -> bool:
    """Whether a value is one that a pattern means; numbers are compared as numbers."""
    if fnmatchcase(value, pattern) or fnmatchcase(short(value), pattern):
        return True
    try:
        return float(value) == float(pattern)
    except ValueError:
        return False
