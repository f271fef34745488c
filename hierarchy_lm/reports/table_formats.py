"""A table as Markdown, LaTeX, CSV and on the terminal."""

import csv
import io
import re
from collections.abc import Sequence

from rich import box
from rich.table import Table

from hierarchy_lm.reports.table_cells import Cell
from hierarchy_lm.reports.table_grid import Grid
from hierarchy_lm.reports.table_layout import Part
from hierarchy_lm.reports.table_sheet import Block, Sheet

CSV_COLUMNS = (
    *("table", "row", "column", "metric", "state", "seeds", "expected_seeds", "mean", "deviation"),
    *("compared_with", "difference", "relative_percent", "low", "high", "p", "resamples", "items"),
    *("paper", "paper_convention", "dataset", "runs"),
)
LATEX = {
    **{sign: f"\\{sign}" for sign in "&%$#_{}"},
    **{"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"},
    "[": "{[}",  # behind a line's end it would be an option of it
    **{"<": "$<$", ">": "$>$", "±": r"$\pm$", "×": r"$\times$"},
    **{"β": r"$\beta$", "σ": r"$\sigma$", "ε": r"$\varepsilon$"},
}
MINUS = re.compile(r"-(?=\d)")


def terminal(sheet: Sheet) -> Table:
    """For :mod:`rich`; long cells are folded."""
    table = Table("", "", *sheet.columns, title=sheet.title, box=box.SIMPLE_HEAD)
    for block in sheet.blocks:
        for line in _lines(block):
            table.add_row(*line)
        table.add_section()
    return table


def markdown(sheet: Sheet) -> str:
    """A heading, a table and the notes."""
    head = ["", "", *sheet.columns]
    lines = [head, ["---"] * len(head), *(line for block in sheet.blocks for line in _lines(block))]
    rows = (" | ".join(cell.replace("|", "\\|") for cell in line) for line in lines)
    table = "".join(f"| {row} |\n" for row in rows)
    notes = "".join(f"- {note}\n" for note in sheet.notes)
    return f"## {sheet.title}\n\n{table}\n{notes}"


def latex(sheet: Sheet) -> str:
    """A ``table`` environment; needs the package booktabs."""
    body = "\\addlinespace\n".join(
        "".join(_latex_row(line) for line in _lines(block)) for block in sheet.blocks
    )
    return (
        "% \\usepackage{booktabs}\n"
        "\\begin{table}\n\\centering\n"
        f"\\caption{{{_escape(sheet.title)}}}\n"
        f"\\begin{{tabular}}{{ll{'r' * len(sheet.columns)}}}\n\\toprule\n"
        f"{_latex_row(['', '', *sheet.columns])}\\midrule\n{body}\\bottomrule\n"
        "\\end{tabular}\n\n"
        "\\begin{flushleft}\\footnotesize\n"
        + "".join(f"{_escape(note)}\n" for note in sheet.notes)
        + "\\end{flushleft}\n\\end{table}\n"
    )


def tidy_csv(name: str, grid: Grid, resamples: int) -> str:
    """One line per cell, numbers unrounded, the columns of :data:`CSV_COLUMNS`."""
    text = io.StringIO()
    writer = csv.DictWriter(text, CSV_COLUMNS, lineterminator="\n")
    writer.writeheader()
    for row in grid.rows:
        for column in grid.columns:
            cell = grid.cells.get((row.name, column.name))
            if cell or grid.layout.figure(row, column):
                place = {"table": name, "row": row.name, "column": column.name}
                if grid.for_all(row):
                    place["column"] = ""
                writer.writerow(place | _record(grid, row, column, cell, resamples))
    return text.getvalue()


def _record(
    grid: Grid, row: Part, column: Part, cell: Cell | None, resamples: int
) -> dict[str, object]:
    figure = grid.layout.figure(row, column)
    paper: dict[str, object] = {
        "paper": figure,
        "paper_convention": grid.layout.convention if figure else None,
    }
    if cell is None:
        return paper
    record = paper | {
        "metric": grid.metric(column),
        "state": cell.gap or "finished",
        "seeds": cell.seeds,
        "expected_seeds": cell.expected,
        "mean": cell.mean,
        "deviation": cell.deviation,
        "items": cell.items,
        "dataset": cell.runs[0].dataset if cell.runs else None,
        "runs": ";".join(str(run.folder) for run in cell.runs),
    }
    return record | _change(grid, cell, resamples)


def _change(grid: Grid, cell: Cell, resamples: int) -> dict[str, object]:
    change = cell.change
    if change is None or grid.compared is None:
        return {}
    record: dict[str, object] = {
        "compared_with": grid.compared.part.name,
        "difference": change.difference,
        "relative_percent": change.relative,
    }
    if change.test:
        test = change.test
        record |= {"low": test.low, "high": test.high, "p": test.p_value, "resamples": resamples}
    return record


def _lines(block: Block) -> list[list[str]]:
    """The block's name stands in its first line only."""
    return [
        [block.name if number == 0 else "", heading, *cells]
        for number, (heading, cells) in enumerate(block.lines)
    ]


def _latex_row(cells: Sequence[str]) -> str:
    return " & ".join(map(_escape, cells)) + " \\\\\n"


def _escape(text: str) -> str:
    escaped = "".join(LATEX.get(sign, sign) for sign in text)
    return MINUS.sub("$-$", escaped)
