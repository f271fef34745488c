"""What a sweep's folder says is finished, and where an unfinished run goes on."""

import json

import pytest

from hierarchy_lm.errors import UserError
from hierarchy_lm.sweeps import newest_finished, plan_cells, read_cells, write_results
from hierarchy_lm.sweeps.folder import checkpoint_to_resume, drop_resume_files


@pytest.fixture
def run(tmp_path):
    """Makes a run folder of the cell `tmp_path / "cell"`."""

    def make(number, state, *files, root=None):
        folder = tmp_path / "cell" / f"version_{number}"
        (folder / "checkpoints").mkdir(parents=True)
        config = {"trainer": {"default_root_dir": str(root or tmp_path / "cell")}}
        record = {"state": state, "config": config, "metrics": {"val/loss": float(number)}}
        (folder / "run.json").write_text(json.dumps(record))
        for name in files:
            (folder / name).touch()
        return folder

    return make


LAST, BEST = "checkpoints/last.ckpt", "checkpoints/best.ckpt"


def test_the_newest_finished_run_counts(run, tmp_path):
    cell = tmp_path / "cell"
    assert newest_finished(cell) is None
    run(2, "finished")
    tenth = run(10, "finished")
    run(11, "failed")
    assert newest_finished(cell) == tenth  # by number, not by name


@pytest.mark.parametrize("state", ["running", "interrupted"])
def test_an_unfinished_run_goes_on_from_its_last_checkpoint(run, tmp_path, state):
    folder = run(0, state, LAST)
    assert checkpoint_to_resume(tmp_path / "cell") == folder / LAST


def test_the_checkpoint_before_counts_if_the_resumed_run_wrote_none(run, tmp_path):
    folder = run(0, "interrupted", LAST)
    run(1, "running")
    assert checkpoint_to_resume(tmp_path / "cell") == folder / LAST


def test_a_run_starts_anew(run, tmp_path):
    cell = tmp_path / "cell"
    assert checkpoint_to_resume(cell) is None
    run(0, "running")  # without a checkpoint
    assert checkpoint_to_resume(cell) is None
    run(1, "running", LAST)
    run(2, "failed", LAST)
    assert checkpoint_to_resume(cell) is None
    run(3, "running", LAST, "fit.json")  # stopped in its test
    assert checkpoint_to_resume(cell) is None
    run(4, "running", LAST, root="elsewhere")  # moved
    assert checkpoint_to_resume(cell) is None


def test_a_run_without_a_record_yet_does_not_hide_the_one_before(run, tmp_path):
    folder = run(0, "interrupted", LAST)
    (tmp_path / "cell" / "version_1").mkdir()  # killed before it wrote anything
    assert checkpoint_to_resume(tmp_path / "cell") == folder / LAST


def test_a_finished_cell_keeps_its_best_checkpoint_only(run, tmp_path):
    before = run(0, "interrupted", LAST, BEST)
    finished = run(1, "finished", LAST, BEST)
    drop_resume_files(tmp_path / "cell")
    assert (finished / BEST).exists()
    assert not any((folder / LAST).exists() for folder in (before, finished))
    assert not (before / BEST).exists()


def test_a_damaged_sweep_is_named(tmp_path):
    assert read_cells(tmp_path) == []
    (tmp_path / "sweep.json").write_text("{}")
    with pytest.raises(UserError, match=r"sweep\.json: damaged"):
        read_cells(tmp_path)


def test_results_of_nothing_but_waiting_cells(tmp_path):
    cells = plan_cells([{"a.b": 1}, {"a.b": 2.5}], [0], baseline=True)
    rows = write_results(tmp_path, cells)
    assert [row["state"] for row in rows] == ["waiting"] * 3
    lines = (tmp_path / "results.csv").read_text().splitlines()
    assert lines[0].split(",")[-4:] == ['"a.b"', '"seconds"', '"tokens"', '"parameters"']
    assert '"2.5"' in lines[3]
