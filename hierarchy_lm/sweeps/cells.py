"""The runs of a sweep: a cell for each setting, seed and baseline, each with a folder."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

from hierarchy_lm.sweeps.expansion import Setting, render

RUNS = "runs"
LONGEST_NAME = 80
PLACE = ("config", "pretrain", "finetune", "mlm")
"""Parameters whose values are files: the name of the file says enough."""


@dataclass(frozen=True)
class Cell:
    """One run of a sweep.

    Attributes:
        id: Its number, which it keeps when the sweep is extended.
        values: The swept values, without the seed; none in a baseline.
        seed: ``seed_everything``.
        baseline: Whether it is the command as it stands, beside the sweep.
        folder: Its folder, relative to the sweep's.
    """

    id: int
    values: Mapping[str, Any]
    seed: int
    baseline: bool
    folder: str

    @property
    def key(self) -> tuple[str, ...]:
        """What makes it this cell and no other of the sweep."""
        return _key(self.values, self.seed, self.baseline)

    @property
    def name(self) -> str:
        """Name of its folder."""
        return PurePath(self.folder).name


def plan_cells(
    choices: Sequence[Setting],
    seeds: Sequence[int],
    baseline: bool,
    before: Iterable[Cell] = (),
) -> list[Cell]:
    """All cells of the product of settings and seeds, seed by seed, each baseline first.

    Args:
        choices: The settings, without seeds.
        seeds: ``seed_everything`` of the runs.
        baseline: Whether there is a baseline for each seed.
        before: Cells that are in the folder already; those that come again keep their number.
    """
    known = {cell.key: cell for cell in before}
    number = max((cell.id for cell in known.values()), default=-1) + 1
    cells = []
    for values, seed, is_baseline in _runs(choices, seeds, baseline):
        cell = known.get(_key(values, seed, is_baseline))
        if cell is None:
            cell = Cell(number, values, seed, is_baseline, _folder(number, values, seed))
            number += 1
        cells.append(cell)
    return cells


def _runs(
    choices: Sequence[Setting], seeds: Sequence[int], baseline: bool
) -> Iterable[tuple[Setting, int, bool]]:
    for seed in seeds:
        if baseline:
            yield {}, seed, True
        for setting in choices:
            yield setting, seed, False


def _key(values: Mapping[str, Any], seed: int, baseline: bool) -> tuple[str, ...]:
    return (*render(values), str(seed), str(baseline))


def _folder(number: int, values: Mapping[str, Any], seed: int) -> str:
    parts = [f"{name.rpartition('.')[2]}-{_short(name, value)}" for name, value in values.items()]
    text = "-".join(parts) or "baseline"
    readable = re.sub(r"[^\w.+-]+", "_", text)[:LONGEST_NAME].strip("_.")
    return f"{RUNS}/{number:03d}-{readable}-seed-{seed}"


def _short(name: str, value: Any) -> str:  # noqa: ANN401  (a value of the YAML file)
    if isinstance(value, float):
        return f"{value:.6g}"
    return PurePath(value).stem if name in PLACE else str(value)
