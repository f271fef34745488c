"""Every shipped grid has a table that shows all of its runs, beside the paper's own figures."""

from itertools import product
from pathlib import Path

import pytest
import yaml

from hierarchy_lm.reports.table_cells import Scorer
from hierarchy_lm.reports.table_grid import fill
from hierarchy_lm.reports.table_layout import Part, layout_names, read_layout
from hierarchy_lm.reports.table_runs import Sweep, Trial

ABLATIONS = Path(__file__).parents[2] / "experiments" / "ablations"
GRIDS = sorted(file.stem for file in ABLATIONS.glob("*.yaml"))
OF_ANOTHER_GRID = {"htc-finetuning": ("pretraining", {"SST: Text, CLS Head"})}
WITH_BASELINE = ("bootstrap", "pooling", "tfidf")


def trials_of(name):
    """The grid with one seed, nothing run yet."""
    parameters = yaml.safe_load((ABLATIONS / f"{name}.yaml").read_text())["parameters"]
    del parameters["seed_everything"]
    values = {key: list(map(str, value["values"])) for key, value in parameters.items()}
    sweep = Sweep(Path(), name, (), values, None)
    cells = [dict(zip(values, cell, strict=True)) for cell in product(*values.values())]
    trials = [Trial(cell, 0, sweep=sweep) for cell in cells]
    return trials + [Trial({}, 0, True, sweep=sweep)] * (name in WITH_BASELINE)


@pytest.mark.parametrize("name", GRIDS)
def test_every_cell_is_filled_by_the_grid_and_every_run_has_a_cell(name):
    trials = trials_of(name)
    layout = read_layout(name)
    assert layout is not None
    grid = fill(layout, trials, Scorer(1), None)
    empty = {row for (row, _), cell in grid.cells.items() if cell.expected != 1}
    another, others = OF_ANOTHER_GRID.get(name, (None, set()))
    assert empty == others
    metrics = len({grid.metric(column) for column in grid.columns})
    filled = sum(cell.expected for cell in grid.cells.values())
    if name == "hierarchy":  # a column for each level, from the same runs
        assert filled == len(trials) * len(grid.columns)
    else:
        assert filled == len(trials) * metrics
    if another:
        both = fill(layout, trials + trials_of(another), Scorer(1), None)
        assert {cell.expected for cell in both.cells.values()} == {1}


@pytest.mark.parametrize("name", layout_names())
def test_figures_stand_in_rows_and_columns_that_exist(name):
    layout = read_layout(name)
    rows = [row.name for row in layout.rows if isinstance(row, Part)]
    columns = [column for column in layout.columns if isinstance(column, Part)]
    assert set(layout.figures) <= set(rows)
    for figures in layout.figures.values():
        assert len(figures) == len(columns)
    assert (layout.paper is None) == (layout.figures == {})
    if layout.parameter_figures:
        assert len(layout.parameter_figures) == len(columns)


@pytest.mark.parametrize(
    ("name", "row", "column", "figure"),
    [
        ("bootstrap", "T_gate = 1000", "β = 0.7", "-0.0023"),
        ("negatives", "Leaf classifier", "σ = 0.7", "+0.010"),
        ("temperature", "Department classifier", "ε = 0.9", "+0.015"),
        ("temperature", "Department classifier", "ε = 0.7", None),
        ("temperature", "Leaf classifier", "ε = 1.5", "-0.010"),
        ("pretraining", "SST", "PC Macro F1", "+13.4%"),
        ("pretraining", "HiMatch", "GF Micro F1", "-28.3%"),
        ("pretraining", "Multi-Task", "PC Micro F1", None),
        ("sst-mask", "w.o. Proj", "QP Macro", "+0.3%"),
        ("sst-heads", "Multi-Task", "PC Macro", "+15%"),
        ("htc-finetuning", "HBGL: Text, CLS Head", "PC Macro", "-6.2%"),
        ("sequential", "+ Dep Mask", "PC Macro", "+4.3%"),
        ("node-inputs", "HBGL: Node, Text", "PC Micro F1", "+3.3%"),
        ("hierarchy", "+ Dep Mask", "L6", "-2.3%"),
    ],
)
def test_figures_are_those_printed_in_the_papers(name, row, column, figure):
    layout = read_layout(name)
    row_part, column_part = (
        next(part for part in axis if isinstance(part, Part) and part.name == heading)
        for axis, heading in ((layout.rows, row), (layout.columns, column))
    )
    assert layout.figure(row_part, column_part) == figure


def test_parts_of_a_number_or_of_a_name_are_not_taken_for_it():
    trial = Trial({"model.loss.bootstrap.t_gate": "0.2", "config": "e/department_1.5.yaml"}, 0)

    def has(**where):
        return trial.has(tuple((name, (str(value),)) for name, value in where.items()))

    assert not has(t_gate=0)
    assert not has(gate=0.2)
    assert has(t_gate="0.20")
    assert has(config="department*")
    assert not has(config="department")
    assert not has(config="*_1")
