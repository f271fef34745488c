"""Sweep files of Weights & Biases: read, expanded and rendered without Weights & Biases."""

from hierarchy_lm.sweeps.cells import Cell, plan_cells
from hierarchy_lm.sweeps.expansion import render, settings
from hierarchy_lm.sweeps.file import SEED, Sweep, read_sweep
from hierarchy_lm.sweeps.folder import newest_finished, read_cells, write_results, write_sweep

__all__ = [
    "SEED",
    "Cell",
    "Sweep",
    "newest_finished",
    "plan_cells",
    "read_cells",
    "read_sweep",
    "render",
    "settings",
    "write_results",
    "write_sweep",
]
