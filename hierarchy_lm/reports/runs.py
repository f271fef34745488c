"""The report of one or several training runs."""

from collections.abc import Sequence
from pathlib import Path

from hierarchy_lm.reports.page import Page, Section
from hierarchy_lm.reports.runs_data import Run
from hierarchy_lm.reports.runs_mistakes import mistakes
from hierarchy_lm.reports.runs_sections import comparison, curves, gaps, levels, overview, scores
from hierarchy_lm.reports.texts import listed

NAMED = 3


def runs_page(runs: Sequence[Run]) -> Page:
    """The page about some runs.

    Raises:
        UserError: If a run's test items are damaged.
    """
    title = f"{listed([run.label for run in runs], NAMED)}: {_what(runs)}"
    folder = runs[0].folder if len(runs) == 1 else Path("report")
    return Page(title, run_sections(runs), folder)


def _what(runs: Sequence[Run]) -> str:
    kinds = ", ".join(dict.fromkeys(run.kind for run in runs))
    return f"a run of {kinds}" if len(runs) == 1 else f"{len(runs)} runs of {kinds}"


def run_sections(runs: Sequence[Run]) -> list[Section]:
    """All sections that the runs have data for."""
    groups = dict.fromkeys(run.group for run in runs)
    looks = {group: number for number, group in enumerate(groups)}
    mistaken, silent = mistakes(runs, looks)
    missing = [*gaps(runs), *silent]
    return [
        overview(runs),
        *([Section("What this report cannot say", notes=missing)] if missing else []),
        scores(runs),
        *levels(runs, looks),
        *comparison(runs),
        *curves(runs, looks),
        *mistaken,
    ]
