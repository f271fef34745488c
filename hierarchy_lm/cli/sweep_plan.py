"""The plan of `hlm sweep`: settings, seeds and baselines, all checked before any of them runs."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console

from data_modules.datasets import find_dataset
from hierarchy_lm.cli.sweep_cells import CellRun, cell_argv, parse_cell
from hierarchy_lm.errors import UserError
from hierarchy_lm.sweeps import SEED, Cell, Sweep, render, settings
from hierarchy_lm.sweeps.expansion import Setting


class Checker:
    """Parses the command lines of a sweep, once for all seeds of a setting.

    Args:
        sweep: The sweep.
        path: Its file, for messages.
        extra: Arguments of every run.

    Attributes:
        baseline: Whether there is a baseline, once :meth:`check` was called.
    """

    def __init__(self, sweep: Sweep, path: Path, extra: list[str]) -> None:
        self.sweep, self.path, self.extra = sweep, path, extra
        self.baseline = False
        self._fingerprints: dict[tuple[str, ...], str] = {}

    def parse(self, values: Mapping[str, Any]) -> Any:  # noqa: ANN401
        """The resolved configuration of a setting.

        Raises:
            UserError: If its command line is wrong.
        """
        try:
            return parse_cell(self.sweep.argv(values, self.extra))
        except UserError as error:
            setting = " ".join(render(values)) or "the command"
            raise UserError(f"{self.path}: {setting}: {error}") from error

    def check(self, choices: Sequence[Setting], baseline: bool, console: Console) -> None:
        """Parse all settings, and the baseline if it is wanted and complete.

        Raises:
            UserError: If a command line is wrong, or a dataset is not there.
        """
        parsed = {tuple(render(values)): self.parse(values) for values in choices}
        if baseline and () not in parsed:
            try:
                parsed[()] = self.parse({})
                self.baseline = True
            except UserError:
                console.print("no baseline: the command says too little without the swept values")
        for key, options in parsed.items():
            dataset = find_dataset(options.data.init_args.dataset)
            self._fingerprints[key] = dataset.info.fingerprint

    def run(self, cell: Cell, folder: Path) -> CellRun:
        """The run of a cell whose setting was checked."""
        argv = cell_argv(self.sweep, cell.values, cell.seed, self.extra)
        fingerprint = self._fingerprints[tuple(render(cell.values))]
        return CellRun(cell, folder / cell.folder, argv, fingerprint)


def expand(
    plan: Checker, seeds: Sequence[str], runs: int | None, random_seed: int
) -> tuple[list[Setting], list[int]]:
    """Settings without seeds, and the seeds: those given, the file's, or the experiment's own.

    Args:
        plan: The sweep.
        seeds: What was given on the command line.
        runs: Largest number of runs, instead of the file's.
        random_seed: Decides the draws of a random search.

    Raises:
        UserError: If a seed is no integer, or a random search has no number of runs.
    """
    parameters = dict(plan.sweep.parameters)
    swept = parameters.pop(SEED, None)
    numbers = _integers(plan.path, seeds or (swept.values() if swept else None) or [])
    if swept and not numbers:
        raise UserError(f"{plan.path}: parameters: {SEED}: seeds are a list of values")
    limit = runs or plan.sweep.run_cap
    count = max(1, limit // max(1, len(numbers))) if limit else None
    choices = settings(replace(plan.sweep, parameters=parameters), count, random_seed)
    return choices, numbers or [plan.parse(choices[0]).seed_everything]


def _integers(path: Path, seeds: Sequence[Any]) -> list[int]:
    try:
        numbers = [int(str(seed)) for seed in seeds]
    except ValueError as error:
        raise UserError(f"{path}: seeds are integers ({error})") from error
    if len(set(numbers)) < len(numbers) or any(number < 0 for number in numbers):
        raise UserError(f"{path}: seeds {numbers}: each must be 0 or more and stand there once")
    return numbers


def check_none_lost(folder: Path, before: Sequence[Cell], cells: Sequence[Cell]) -> None:
    """A folder may be extended, but what was run in it stays part of it.

    Raises:
        UserError: If it does not.
    """
    kept = {cell.key for cell in cells}
    lost = [cell for cell in before if cell.key not in kept]
    if lost:
        raise UserError(
            f"{folder}: holds {len(lost)} runs that this command leaves out, such as "
            f"'{lost[0].name}'; give their values and seeds as well, or another --output"
        )
