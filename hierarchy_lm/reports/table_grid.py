"""A table filled with the cells of its runs."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from hierarchy_lm.errors import UserError
from hierarchy_lm.reports.table_cells import Cell, Scorer, chosen
from hierarchy_lm.reports.table_layout import LARGEST, Compared, Layout, Part, value_part
from hierarchy_lm.reports.table_runs import Trial, matches


@dataclass(frozen=True)
class Grid:
    """A filled table.

    Attributes:
        layout: What it shows.
        rows, columns: Its parts, those that things are compared with among them.
        compared: What the changes are measured from.
        cells: By names of row and column; a cell that has no place in the table is left out.
        sizes: By column the parameters of its models; empty where the layout asks for none.
    """

    layout: Layout
    rows: list[Part]
    columns: list[Part]
    compared: Compared | None
    cells: dict[tuple[str, str], Cell]
    sizes: dict[str, list[int]]

    def metric(self, column: Part) -> str:
        """The score of a column."""
        return column.metric or self.layout.metric

    def for_all(self, row: Part) -> bool:
        """Whether a row holds the single cell that all others are compared with."""
        compared = self.compared
        return compared is not None and compared.within == "table" and _same(row, compared.part)


def fill(layout: Layout, trials: Sequence[Trial], scorer: Scorer, against: str | None) -> Grid:
    """The table of some trials.

    Args:
        layout: What it shows.
        trials: The runs.
        scorer: Makes the cells.
        against: Row or column to compare with in place of the layout's.

    Raises:
        UserError: If there is no such row or column, or runs would be mixed that are not alike.
    """
    trials = [_marked(trial, layout) for trial in trials]
    compared = _resolved(layout.compared, trials)
    rows, columns = (_expanded(axis, trials, compared) for axis in (layout.rows, layout.columns))
    compared = _compared(compared, rows, columns, trials, against)
    _place(compared, rows, columns)
    grid = Grid(layout, rows, columns, compared, {}, {})
    for row in rows:
        for column in columns:
            # A single cell stands in the first column.
            if not column.paper_only and (not grid.for_all(row) or column == columns[0]):
                grid.cells[row.name, column.name] = _cell(grid, row, column, trials, scorer)
    if layout.parameter_figures is not None:
        for column in columns:
            grid.sizes[column.name] = _sizes(layout, chosen(trials, column))
    return grid


def _marked(trial: Trial, layout: Layout) -> Trial:
    """A run of no sweep is the baseline if it sets nothing that the table is about."""
    if trial.sweep or not (layout.compared and layout.compared.part.baseline):
        return trial
    return replace(trial, baseline=not any(map(trial.look_up, layout.parameters)))


def _cell(grid: Grid, row: Part, column: Part, trials: Sequence[Trial], scorer: Scorer) -> Cell:
    metric, compared = grid.metric(column), grid.compared
    if compared is None:
        return scorer.cell(chosen(trials, row, column), metric)
    if _is_compared(compared, row, column):
        return scorer.cell(_base(compared, row, column, trials), metric)
    base = _base(compared, row, column, trials)
    return scorer.cell(chosen(trials, row, column), metric, base)


def _is_compared(compared: Compared, row: Part, column: Part) -> bool:
    part = column if compared.within == "row" else row
    return _same(part, compared.part)


def _same(one: Part, other: Part) -> bool:
    return (one.where, one.baseline, one.sweep) == (other.where, other.baseline, other.sweep)


def _base(compared: Compared, row: Part, column: Part, trials: Sequence[Trial]) -> list[Trial]:
    """Trials that a cell is compared with."""
    match compared.within:
        case "row":
            return chosen(trials, compared.part, row)
        case "column":
            return chosen(trials, compared.part, column)
        case "table":
            return chosen(trials, compared.part)


def _resolved(compared: Compared | None, trials: Sequence[Trial]) -> Compared | None:
    """Put the value in the place of ``largest``."""
    if compared is None:
        return None
    where = tuple(
        (name, (str(max(_values(name, trials), key=float, default=LARGEST)),))
        if values == (LARGEST,)
        else (name, values)
        for name, values in compared.part.where
    )
    return replace(compared, part=replace(compared.part, where=where))


def _expanded(
    axis: Sequence[Part | str], trials: Sequence[Trial], compared: Compared | None
) -> list[Part]:
    """One part for each value of a parameter, but for the value that is compared with."""
    parts: list[Part] = []
    for entry in axis:
        if isinstance(entry, Part):
            parts.append(entry)
            continue
        left_out = dict(compared.part.where).get(entry, ()) if compared else ()
        parts += [
            value_part({entry: value})
            for value in _values(entry, trials)
            if not any(matches(value, pattern) for pattern in left_out)
        ]
    return parts


def _values(name: str, trials: Sequence[Trial]) -> list[str]:
    """Values of a parameter, in the order of the grid."""
    found: dict[str, None] = {}
    for trial in trials:
        if trial.sweep:
            found |= dict.fromkeys(trial.sweep.values(name))
        else:
            found |= dict.fromkeys(trial.look_up(name))
    return list(found)


def _compared(
    compared: Compared | None,
    rows: Sequence[Part],
    columns: Sequence[Part],
    trials: Sequence[Trial],
    against: str | None,
) -> Compared | None:
    if against is not None:
        return _against(against, rows, columns)
    if compared is None or compared.stand_in is None:
        return compared
    runs = chosen(trials, compared.part)
    if any(trial.state == "finished" for trial in runs):
        return compared
    return _against(compared.stand_in, rows, columns)


def _against(name: str, rows: Sequence[Part], columns: Sequence[Part]) -> Compared:
    for part in rows:
        if part.name == name:
            return Compared(part, "column")
    for part in columns:
        if part.name == name:
            return Compared(part, "row")
    names = ", ".join(f"'{part.name}'" for part in (*rows, *columns))
    raise UserError(f"--against {name}: no row or column of that name; there are {names}")


def _place(compared: Compared | None, rows: list[Part], columns: list[Part]) -> None:
    """Show what is compared with, first, unless it is a row or a column anyway."""
    if compared is None:
        return
    parts = columns if compared.within == "row" else rows
    if not any(_same(part, compared.part) for part in parts):
        parts.insert(0, compared.part)


def _sizes(layout: Layout, trials: Sequence[Trial]) -> list[int]:
    runs = [trial.run for trial in trials if trial.run and trial.state == "finished"]
    return sorted({run.sizes[layout.sizes_of] for run in runs if layout.sizes_of in run.sizes})
