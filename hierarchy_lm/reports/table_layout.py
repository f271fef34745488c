"""What a table of a sweep has for rows and columns, and what the paper's own says."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from glob import escape
from importlib.resources import files
from itertools import product
from pathlib import PurePath
from typing import Any, Literal

import yaml

Conditions = tuple[tuple[str, tuple[str, ...]], ...]
Within = Literal["table", "row", "column"]
Convention = Literal["difference", "relative"]
LARGEST = "largest"  # stands for the largest value that a sweep has of a parameter


@dataclass(frozen=True)
class Part:
    """A row or a column: which runs belong to it, and which of their scores it shows.

    Attributes:
        name: Its heading.
        where: For each of some parameters the values that count, see
            :meth:`.table_runs.Trial.has`.
        metric: The score; None takes the table's.
        baseline: It holds the runs of the sweep's baseline, which no other part does.
        paper_only: It only has a place for the paper's figures; no run belongs to it.
        sweep: Name of the sweep whose runs belong to it; None takes those of any.
    """

    name: str
    where: Conditions = ()
    metric: str | None = None
    baseline: bool = False
    paper_only: bool = False
    sweep: str | None = None


@dataclass(frozen=True)
class Compared:
    """What the others are compared with.

    Attributes:
        part: Its runs.
        within: A cell is compared with those of its own ``row`` or ``column``, or with the same
            ones in the whole ``table``.
        stand_in: Row that takes its place where it has not been run.
    """

    part: Part
    within: Within
    stand_in: str | None = None


@dataclass(frozen=True)
class Layout:
    """A table.

    Attributes:
        title: Its subject.
        rows, columns: Parts, or names of swept parameters that give one part for each value.
        metric: Score of the columns that name none.
        compared: What the changes are measured from; None shows no change.
        paper: The table in the paper.
        convention: How the paper's figures state a change: as a difference of scores or as a
            relative improvement.
        figures: By row the paper's figures, as printed, in the order of the columns that are
            no parameter; None where the paper has a blank.
        parameter_figures: The paper's sizes of the models, in the order of those columns; None
            leaves the block of sizes out.
        sizes_of: Whose parameters the block counts.
        note: What a reader must know.
    """

    title: str
    rows: Sequence[Part | str]
    columns: Sequence[Part | str]
    metric: str = "test/micro_f1"
    compared: Compared | None = None
    paper: str | None = None
    convention: Convention = "difference"
    figures: Mapping[str, Sequence[str | None]] = field(default_factory=dict)
    parameter_figures: Sequence[str | None] | None = None
    sizes_of: Literal["encoder", "total"] = "encoder"
    note: str | None = None

    @property
    def parameters(self) -> set[str]:
        """What its rows and columns are about."""
        parts = [*self.rows, *self.columns]
        named = {name for part in parts if isinstance(part, Part) for name, _ in part.where}
        return named | {part for part in parts if isinstance(part, str)}

    @property
    def sweeps(self) -> set[str]:
        """Names of the sweeps whose runs its rows hold."""
        return {row.sweep for row in self.rows if isinstance(row, Part) and row.sweep}

    def figure(self, row: Part, column: Part) -> str | None:
        """What the paper's table says there."""
        return self._of_column(self.figures.get(row.name, ()), column)

    def size_figure(self, column: Part) -> str | None:
        """What the paper says of the size of a column's models."""
        return self._of_column(self.parameter_figures or (), column)

    def _of_column(self, figures: Sequence[str | None], column: Part) -> str | None:
        fixed = [part for part in self.columns if isinstance(part, Part)]
        return figures[fixed.index(column)] if figures and column in fixed else None


def layout_names() -> list[str]:
    """Names of the tables that have a layout."""
    return sorted(file.name.removesuffix(".yaml") for file in _folder().iterdir())


def read_layout(name: str) -> Layout | None:
    """The layout of a sweep's table; None if there is none of that name."""
    if name not in layout_names():
        return None
    content = yaml.safe_load((_folder() / f"{name}.yaml").read_text(encoding="utf-8"))
    content["rows"] = [_part(entry, name) for entry in content["rows"]]
    content["columns"] = [_part(entry) for entry in content["columns"]]
    if compared := content.pop("compared", None):
        within, stand_in = compared.pop("within"), compared.pop("stand_in", None)
        content["compared"] = Compared(_fixed(compared, name), within, stand_in)
    if sizes := content.pop("parameters", None):
        content["sizes_of"], content["parameter_figures"] = sizes["of"], sizes["figures"]
    return Layout(**content)


def generic_layout(
    name: str,
    parameters: Mapping[str, Sequence[str]],
    settings: Sequence[Mapping[str, str]],
    metric: str,
    *,
    has_baseline: bool,
) -> Layout:
    """Rows are the values of the first parameter that varies, columns those of all others.

    Settings that fill no grid, as those of a random search, are a row each.
    """
    title = metric.removeprefix("test/")
    compared = Compared(Part("baseline", baseline=True), "table") if has_baseline else None
    varied = [key for key in parameters if len(parameters[key]) > 1] or list(parameters)[:1]
    rows = [{varied[0]: value} for value in parameters[varied[0]]]
    columns = [
        dict(zip(varied[1:], values, strict=True))
        for values in product(*(parameters[key] for key in varied[1:]))
    ]
    if len(rows) * len(columns) > len(settings):
        rows = [{key: setting[key] for key in varied if key in setting} for setting in settings]
        columns = [{}]
    return Layout(
        f"{name}: {title}",
        [value_part(values) for values in rows],
        [value_part(values) if values else Part(title) for values in columns],
        metric,
        compared,
    )


def value_part(values: Mapping[str, str]) -> Part:
    """The row or column of some parameters' values."""
    name = ", ".join(_heading(key, value) for key, value in values.items())
    return Part(name, tuple((key, (escape(value),)) for key, value in values.items()))


def short(value: str) -> str:
    """A swept value without what only a program needs: a YAML file by its name."""
    path = PurePath(value)
    return path.stem if path.suffix in (".yaml", ".yml") else value


def _heading(parameter: str, value: str) -> str:
    """The value alone where it speaks for itself."""
    try:
        float(value)
    except ValueError:
        return short(value)
    return f"{parameter.rpartition('.')[2]} = {value}"


def _folder() -> Any:  # noqa: ANN401  (a Traversable)
    return files("hierarchy_lm") / "reports" / "tables"


def _part(entry: str | dict[str, Any], sweep: str | None = None) -> Part | str:
    return entry if isinstance(entry, str) else _fixed(entry, sweep)


def _fixed(entry: dict[str, Any], sweep: str | None) -> Part:
    return Part(**{"sweep": sweep, **entry, "where": conditions(entry.get("where", {}))})


def conditions(where: Mapping[str, Any]) -> Conditions:
    """Parameters with the texts of the values that count."""
    return tuple(
        (name, tuple(map(str, values if isinstance(values, list) else [values])))
        for name, values in where.items()
    )
