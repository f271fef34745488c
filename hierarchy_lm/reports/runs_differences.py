"""In which settings runs differ."""

from collections.abc import Mapping, Sequence

from hierarchy_lm.reports.configs import as_text, flat
from hierarchy_lm.reports.page import Table
from hierarchy_lm.reports.runs_data import Run
from hierarchy_lm.reports.texts import MISSING, clip

PLACES = ("trainer.default_root_dir", "trainer.logger.save_dir")
"""Where a run writes; these differ without making a difference."""
MOST_VALUE = 80


def differences(runs: Sequence[Run]) -> dict[str, list[str]]:
    """Settings that do not have the same value in all runs: each run's value, or ``MISSING``."""
    flats = [{name: as_text(v) for name, v in flat(run.config).items()} for run in runs]
    names = dict.fromkeys(name for one in flats for name in one)
    values = {name: [one.get(name, MISSING) for one in flats] for name in names}
    return {name: row for name, row in values.items() if len(set(row)) > 1 and name not in PLACES}


def difference_table(runs: Sequence[Run]) -> Table:
    """The settings that differ, each run's value of them."""
    found = {name: [clip(v, MOST_VALUE) for v in row] for name, row in differences(runs).items()}
    return runs_table("Settings that differ", "setting", runs, found)


def runs_table(
    caption: str, what: str, runs: Sequence[Run], told: Mapping[str, Sequence[str]], mark: str = ""
) -> Table:
    """Runs and what is told of each, the more numerous of the two as rows.

    Args:
        caption: Of the table.
        what: What ``told`` holds, in one word.
        runs: The runs.
        told: One text for each run.
        mark: ``#`` before the headings of numbers.
    """
    labels = [run.label for run in runs]
    if len(told) >= len(runs):
        rows = [[name, *cells] for name, cells in told.items()]
        return Table(caption, [what, *(f"{mark}{label}" for label in labels)], rows)
    rows = [[label, *cells] for label, *cells in zip(labels, *told.values(), strict=True)]
    return Table(caption, ["run", *(f"{mark}{name}" for name in told)], rows if told else [])
