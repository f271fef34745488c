"""Cells: seeds, baselines, folders, and what stays when a sweep is extended."""

from hierarchy_lm.sweeps import plan_cells

GRID = [{"model.loss.beta": beta, "gate": gate} for beta in (0.9, 0.7) for gate in (0, 1000)]


def numbered(cells):
    return {cell.folder: cell.id for cell in cells}


def test_each_seed_has_its_baseline_and_all_settings():
    cells = plan_cells(GRID, [0, 7], baseline=True)
    assert [(dict(cell.values), cell.seed, cell.baseline) for cell in cells] == [
        *(({}, 0, True), *((setting, 0, False) for setting in GRID)),
        *(({}, 7, True), *((setting, 7, False) for setting in GRID)),
    ]
    assert [cell.id for cell in cells] == list(range(10))
    assert len(plan_cells(GRID, [0, 7], baseline=False)) == 8


def test_folders_are_distinct_and_say_what_is_in_them():
    cells = plan_cells(GRID, [0], baseline=True)
    assert [cell.folder for cell in cells[:3]] == [
        "runs/000-baseline-seed-0",
        "runs/001-beta-0.9-gate-0-seed-0",
        "runs/002-beta-0.9-gate-1000-seed-0",
    ]
    odd = [
        {"config": "experiments/sst/without_mask.yaml", "data.department": "Home & Garden/../x"},
        {"config": "a" * 300, "data.department": ""},
        {"config": "a" * 300, "data.department": "Ünïcode"},
    ]
    cells = plan_cells(odd, [0], baseline=False)
    assert cells[0].folder == "runs/000-config-without_mask-department-Home_Garden_.._x-seed-0"
    assert all(len(cell.folder) < 110 and cell.folder.count("/") == 1 for cell in cells)
    assert len({cell.folder for cell in cells}) == 3


def test_an_extended_sweep_keeps_its_numbers():
    before = plan_cells(GRID[:2], [0], baseline=False)
    more = [{"model.loss.beta": 0.95, "gate": 0}, *GRID]
    cells = plan_cells(more, [0, 1], baseline=True, before=before)
    assert numbered(before).items() <= numbered(cells).items()
    assert len(cells) == 12
    assert sorted(cell.id for cell in cells) == list(range(12))
    assert plan_cells(more, [0, 1], baseline=True, before=cells) == cells
