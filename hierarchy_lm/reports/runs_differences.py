"""In which settings runs differ."""

from collections.abc import Sequence

from hierarchy_lm.reports.page import Table
from hierarchy_lm.reports.runs_data import Run, flat
from hierarchy_lm.reports.texts import MISSING, clip

PLACES = ("trainer.default_root_dir", "trainer.logger.save_dir")
"""Where a run writes; these differ without making a difference."""
MOST_VALUE = 80


def differences(runs: Sequence[Run]) -> dict[str, list[str]]:
    """Settings that do not have the same value in all runs: each run's value, or ``MISSING``."""
    flats = [flat(run.config) for run in runs]
    names = dict.fromkeys(name for one in flats for name in one)
    values = {name: [one.get(name, MISSING) for one in flats] for name in names}
    return {name: row for name, row in values.items() if len(set(row)) > 1 and name not in PLACES}


def difference_table(runs: Sequence[Run]) -> Table:
    """Runs and settings, the more numerous of them as rows."""
    found = differences(runs)
    labels = [run.label for run in runs]
    if len(found) >= len(runs):
        rows = [[name, *(clip(v, MOST_VALUE) for v in row)] for name, row in found.items()]
        return Table("Settings that differ", ["setting", *labels], rows)
    rows = [
        [label, *(clip(row[place], MOST_VALUE) for row in found.values())]
        for place, label in enumerate(labels)
    ]
    return Table("Settings that differ", ["run", *found], rows if found else [])
