"""From a sweep to the settings of its runs, and from a setting to arguments."""

import itertools
from collections.abc import Mapping
from random import Random
from typing import TYPE_CHECKING, Any

from hierarchy_lm.errors import UserError

if TYPE_CHECKING:
    from hierarchy_lm.sweeps.file import Sweep

Setting = dict[str, Any]
TRIES = 100
"""Draws per setting, before a small space of settings counts as used up."""


def render(values: Mapping[str, Any]) -> list[str]:
    """Swept values as arguments, letter by letter as W&B's agent renders ``${args}``."""
    return [f"--{name}={value}" for name, value in values.items()]


def settings(sweep: "Sweep", runs: int | None = None, random_seed: int = 0) -> list[Setting]:
    """The settings of a sweep, each once.

    A grid is the full product, the first parameter slowest. A random sweep draws; a larger number
    of runs continues a smaller one.

    Args:
        sweep: The sweep.
        runs: Number of settings, instead of the file's ``run_cap``.
        random_seed: Decides the draws.

    Raises:
        UserError: If a random sweep has no number of runs.
    """
    limit = runs if runs is not None else sweep.run_cap
    if sweep.method == "grid":
        columns = [parameter.values() or [] for parameter in sweep.parameters.values()]
        rows = itertools.islice(itertools.product(*columns), limit)
        return [dict(zip(sweep.parameters, row, strict=True)) for row in rows]
    if limit is None:
        raise UserError(f"sweep '{sweep.name}': a random sweep needs run_cap or --runs")
    return _drawn(sweep, limit, Random(random_seed))


def _drawn(sweep: "Sweep", count: int, generator: Random) -> list[Setting]:
    found: dict[str, Setting] = {}
    for _ in range(TRIES * count):
        setting = {name: p.draw(generator) for name, p in sweep.parameters.items()}
        found.setdefault(" ".join(render(setting)), setting)
        if len(found) == count:
            break
    return list(found.values())
