"""`hlm report`: one page that says what a cascade, some runs, or a sweep found."""

from collections.abc import Callable, Sequence
from pathlib import Path

from hierarchy_lm.errors import UserError
from hierarchy_lm.reports.cascade import cascade_page
from hierarchy_lm.reports.charts import standalone
from hierarchy_lm.reports.files import write_file, write_page
from hierarchy_lm.reports.page import Page
from hierarchy_lm.reports.runs import runs_page
from hierarchy_lm.reports.runs_data import find_runs
from hierarchy_lm.reports.sweeps import sweep_page
from hierarchy_lm.sweeps.folder import SWEEP

PIXELS = 3
"""Pixels of a PNG for each unit of its SVG; a chart of 420 units is 10.7 cm wide at 300 dpi."""


def report(
    runs: list[str],
    baseline: str | None = None,
    split: str = "test",
    metric: str | None = None,
    output: str | None = None,
    plots: str | None = None,
    png: bool = False,
) -> None:
    """Write report.html and report.md about a tested cascade, about runs, or about a sweep.

    Args:
        runs: A cascade folder that `hlm test` has evaluated, one or several run folders of
            `hlm fit` (or folders with runs below them), or a sweep folder.
        baseline: Another cascade folder, tested on the same items, to compare a cascade with.
        split: Split whose evaluation of a cascade is reported.
        metric: Metric of a sweep's heat map; by default that of the sweep file.
        output: Folder for the two files; by default that of the evaluation, the run or the sweep,
            and `report` for several runs.
        plots: Folder to write every chart to as an SVG file of its own.
        png: Write the charts of `plots` as PNG too; needs the extra `plots`.

    Raises:
        UserError: If a folder is none of these or is damaged, if the folders do not go together,
            or if the files cannot be written.
    """
    if png and plots is None:
        raise UserError("--png needs --plots DIR, the folder for the charts")
    render = _png_renderer() if png else None
    page = _page([Path(run) for run in runs], baseline, split, metric)
    folder = Path(output) if output else page.folder
    write_page(folder, page.title, page.sections, page.data)
    if plots is not None:
        _write_plots(page, Path(plots), render)


def _page(runs: Sequence[Path], baseline: str | None, split: str, metric: str | None) -> Page:
    first = runs[0]
    for marker, what in (("cascade.json", "cascade"), (SWEEP, "sweep")):
        marked = [folder for folder in runs if (folder / marker).is_file()]
        if marked and len(runs) > 1:
            hint = "; another one goes to --baseline" if what == "cascade" else ""
            raise UserError(f"{marked[0]}: a {what} has a report of its own; give it alone{hint}")
    is_cascade, is_sweep = (first / "cascade.json").is_file(), (first / SWEEP).is_file()
    if baseline is not None and not is_cascade:
        raise UserError(f"{first}: no cascade (cascade.json), and only those take --baseline")
    if metric is not None and not is_sweep:
        raise UserError(f"{first}: no sweep (sweep.json), and only those take --metric")
    if is_cascade:
        return cascade_page(first, Path(baseline) if baseline else None, split)
    if is_sweep:
        return sweep_page(first, metric)
    return runs_page(find_runs(runs))


def _write_plots(page: Page, folder: Path, render: Callable[[str], bytes] | None) -> None:
    for chart in page.charts:
        svg = standalone(chart)
        write_file(folder / f"{chart.name}.svg", svg)
        if render is not None:
            write_file(folder / f"{chart.name}.png", render(svg))
    kinds = "SVG" if render is None else "SVG and PNG"
    print(f"{folder}: {len(page.charts)} charts as {kinds}")


def _png_renderer() -> Callable[[str], bytes]:
    try:
        from resvg_py import svg_to_bytes
    except ImportError as error:
        raise UserError(
            "--png needs the extra 'plots': pip install 'hierarchy-lm[plots]'; "
            "the SVG files of --plots need nothing"
        ) from error
    return lambda svg: bytes(svg_to_bytes(svg_string=svg, zoom=PIXELS))
