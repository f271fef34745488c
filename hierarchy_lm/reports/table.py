"""`hlm table`: the table of a sweep, with the paper's figures beside ours."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from hierarchy_lm.errors import UserError
from hierarchy_lm.reports.files import write_file
from hierarchy_lm.reports.table_cells import Scorer
from hierarchy_lm.reports.table_formats import latex, markdown, terminal, tidy_csv
from hierarchy_lm.reports.table_grid import fill
from hierarchy_lm.reports.table_layout import Layout, generic_layout, layout_names, read_layout
from hierarchy_lm.reports.table_runs import Trial, find_trials
from hierarchy_lm.reports.table_sheet import sheet

SUFFIXES = (".md", ".csv", ".tex")


def table(
    name: str,
    runs: list[str],
    output: str | None = None,
    resamples: int = 1000,
    against: str | None = None,
    metric: str | None = None,
) -> None:
    """Print the table of a sweep: ours over seeds, what has changed, and the paper's figures.

    Args:
        name: The sweep's name. The paper's tables have a layout of that name; any other sweep gets
            its first swept parameter as rows and the others as columns.
        runs: Sweep folders, folders with sweeps below them (those of that name count), or, without
            any sweep, folders of runs.
        output: Folder to write NAME.md, NAME.csv and NAME.tex to, or one file with such a suffix.
        resamples: Resamples of the paired bootstrap.
        against: Row or column to compare with in place of the layout's.
        metric: Score to show in place of the table's own; a column that has a score of its own
            keeps it. Without a layout it is that of the sweep's file, else test/micro_f1.

    Raises:
        UserError: If there are no such runs, runs would be mixed that are not alike, or the table
            cannot be written.
    """
    if resamples < 1:
        raise UserError(f"--resamples {resamples}: must be at least 1")
    layout = read_layout(name)
    trials = find_trials(name, runs, layout.sweeps if layout else ())
    if layout is None:
        layout = _generic(name, trials, metric)
    elif metric:
        layout = replace(layout, metric=metric)
    grid = fill(layout, trials, Scorer(resamples), against)
    text = sheet(grid, resamples)
    console = Console()
    console.print(terminal(text))
    for note in text.notes:
        console.print(note, markup=False, highlight=False)
    if output:
        texts = {
            ".md": lambda: markdown(text),
            ".csv": lambda: tidy_csv(name, grid, resamples),
            ".tex": lambda: latex(text),
        }
        for file in _files(Path(output), name):
            write_file(file, texts[file.suffix]())


def _generic(name: str, trials: Sequence[Trial], metric: str | None) -> Layout:
    sweep = trials[0].sweep
    if sweep is None:
        raise UserError(
            f"no layout '{name}', which runs that are of no sweep need; there are "
            f"{', '.join(layout_names())}"
        )
    settings = [trial.values for trial in trials if not trial.baseline]
    parameters: dict[str, dict[str, None]] = {}  # in the order of the grid, which the runs' is not
    for each in (trial.sweep for trial in trials if trial.sweep):
        for key, values in each.parameters.items():
            parameters.setdefault(key, {}).update(dict.fromkeys(values))
    return generic_layout(
        name,
        {key: list(values) for key, values in parameters.items()},
        [value for number, value in enumerate(settings) if value not in settings[:number]],
        metric or sweep.metric or "test/micro_f1",
        has_baseline=len(settings) < len(trials),
    )


def _files(output: Path, name: str) -> list[Path]:
    if output.suffix in SUFFIXES:
        return [output]
    return [output / f"{name}{suffix}" for suffix in SUFFIXES]
