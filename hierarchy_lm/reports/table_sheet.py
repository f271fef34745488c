"""A filled table as text, before it becomes Markdown, LaTeX or lines on a terminal."""

from collections.abc import Callable
from dataclasses import dataclass

from hierarchy_lm.reports.table_cells import Cell
from hierarchy_lm.reports.table_grid import Grid
from hierarchy_lm.reports.table_layout import Part
from hierarchy_lm.reports.texts import p_text

NONE = "-"
MILLION = 1e6


@dataclass(frozen=True)
class Block:
    """A row of the paper's table: one line for each thing that is said of its cells."""

    name: str
    lines: list[tuple[str, list[str]]]


@dataclass(frozen=True)
class Sheet:
    """A table as text.

    Attributes:
        title: Caption.
        columns: Headings of the columns of values.
        blocks: Rows.
        notes: What stands below, a sentence or more each.
    """

    title: str
    columns: list[str]
    blocks: list[Block]
    notes: list[str]


def sheet(grid: Grid, resamples: int) -> Sheet:
    """The table in words and numbers."""
    layout = grid.layout
    blocks = [_block(grid, row, resamples) for row in grid.rows]
    if layout.parameter_figures is not None:
        blocks.append(_sizes(grid))
    title = f"{layout.title} ({layout.paper})" if layout.paper else layout.title
    columns = [column.name for column in grid.columns]
    return Sheet(title, columns, blocks, notes(grid, resamples))


def _block(grid: Grid, row: Part, resamples: int) -> Block:
    lines: list[tuple[str, Callable[[Cell], str]]] = [("score", score), ("seeds", seeds)]
    if any(cell.change for cell in _cells(grid, row)):
        lines += [
            ("difference", lambda cell: signed(cell.change.difference) if cell.change else NONE),
            ("95 % interval", interval),
            ("p", lambda cell: p_value(cell, resamples)),
            ("relative", relative),
        ]
    texts = [
        (name, [_text(grid, row, column, say) for column in grid.columns]) for name, say in lines
    ]
    figures = [grid.layout.figure(row, column) for column in grid.columns]
    if any(figures):
        texts.append((paper_line(grid), [figure or NONE for figure in figures]))
    return Block(f"{row.name} (for all)" if grid.for_all(row) else row.name, texts)


def _cells(grid: Grid, row: Part) -> list[Cell]:
    cells = (grid.cells.get((row.name, column.name)) for column in grid.columns)
    return [cell for cell in cells if cell]


def _text(grid: Grid, row: Part, column: Part, say: Callable[[Cell], str]) -> str:
    cell = grid.cells.get((row.name, column.name))
    return NONE if cell is None else say(cell)


def _sizes(grid: Grid) -> Block:
    own = [
        " / ".join(f"{size / MILLION:.1f}MM" for size in grid.sizes[column.name]) or NONE
        for column in grid.columns
    ]
    paper = [grid.layout.size_figure(column) or NONE for column in grid.columns]
    return Block(f"Parameters ({grid.layout.sizes_of})", [("ours", own), ("paper", paper)])


def score(cell: Cell) -> str:
    """Mean and deviation, or why there is none."""
    if cell.mean is None:
        return cell.gap
    spread = "" if cell.deviation is None else f" ± {cell.deviation:.4f}"
    return f"{cell.mean:.4f}{spread}"


def seeds(cell: Cell) -> str:
    """Number of seeds, and of how many where some are missing."""
    if cell.seeds == cell.expected:
        return str(cell.seeds) if cell.seeds else NONE
    return f"{cell.seeds} of {cell.expected}"


def signed(value: float) -> str:
    """A difference of scores."""
    return f"{value:+.4f}"


def interval(cell: Cell) -> str:
    """Bounds of the difference."""
    test = cell.change and cell.change.test
    return f"[{signed(test.low)}, {signed(test.high)}]" if test else NONE


def p_value(cell: Cell, resamples: int) -> str:
    """P of the difference."""
    test = cell.change and cell.change.test
    return p_text(test.p_value, resamples) if test else NONE


def relative(cell: Cell) -> str:
    """Improvement in percent."""
    change = cell.change
    return NONE if change is None or change.relative is None else f"{change.relative:+.1f} %"


def paper_line(grid: Grid) -> str:
    """Heading of the paper's figures."""
    own = grid.layout.compared
    moved = own and grid.compared and own.part.name != grid.compared.part.name
    word = "to" if grid.layout.convention == "relative" else "from"
    origin = f" {word} {own.part.name}" if own and moved else ""
    return f"paper ({grid.layout.convention}{origin})"


def notes(grid: Grid, resamples: int) -> list[str]:
    """How the numbers are meant, and what they were made from."""
    layout, compared = grid.layout, grid.compared
    shown = [column for column in grid.columns if not column.paper_only]
    metrics = ", ".join(dict.fromkeys(map(grid.metric, shown)))
    found = [f"Score: {metrics}; mean ± sample standard deviation over training seeds."]
    if compared:
        found.append(
            f"Difference: score minus that of '{compared.part.name}' (DHPC's convention). Relative:"
            " the difference in percent of that score (SST's convention)."
        )
        found.append(_test_note(grid, resamples))
    if layout.figures:
        found.append(f"Paper: {layout.paper}, on data of its own; figures as printed.")
    if layout.note:
        found.append(layout.note)
    return [*found, _data_note(grid), _run_note(grid)]


def _test_note(grid: Grid, resamples: int) -> str:
    tested = [cell for cell in grid.cells.values() if cell.change and cell.change.test]
    if not tested:
        return "No interval and no p: the runs have no test items in common."
    sizes = sorted({cell.items for cell in tested if cell.items})
    items = f"{sizes[0]:,}" if len(sizes) == 1 else f"{sizes[0]:,} to {sizes[-1]:,}"
    return (
        f"95 % interval and p of the difference: paired bootstrap over {items} test items, "
        f"{resamples:,} resamples."
    )


def _data_note(grid: Grid) -> str:
    columns: dict[str, list[str]] = {}
    for column in grid.columns:
        for row in grid.rows:
            cell = grid.cells.get((row.name, column.name))
            for name in {run.dataset for run in cell.runs} if cell else ():
                names = columns.setdefault(name, [])
                names += [] if column.name in names else [column.name]
    if len(columns) == 1:
        return f"Dataset: {next(iter(columns))}."
    texts = (f"{name} in {', '.join(parts)}" for name, parts in columns.items())
    return f"Several datasets: {'; '.join(texts)}." if columns else "No finished run."


def _run_note(grid: Grid) -> str:
    cells = [cell for cell in grid.cells.values() if cell.expected or cell.gap]
    runs = {run.folder for cell in cells for run in cell.runs}
    gaps = [cell.gap for cell in cells if cell.gap]
    counted = [f"{gaps.count(gap)} {gap}" for gap in dict.fromkeys(gaps)]
    short_of = sum(0 < cell.seeds < cell.expected for cell in cells)
    counted += [f"{short_of} without some of their seeds"] if short_of else []
    return f"From {len(runs)} runs. " + (f"Cells: {', '.join(counted)}." if counted else "No gaps.")
