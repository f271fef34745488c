"""A sweep that is stopped, started again, moved: what is done stays done, the table is the same."""

import json
import os
import shutil
import signal
import time

import pyarrow.parquet as pq
import pytest
import torch

from .conftest import hlm_process
from .sweeping import sweep_argv, write_sweep
from .test_fit_cascade_signals import end, processes, wait_for

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

CELLS = ["000-lr-0.01-seed-0", "001-lr-0.003-seed-0", "002-lr-0.001-seed-0"]
TIMES = ("seconds", "train/tokens_per_second")


@pytest.fixture
def argv(shop, tmp_path):
    def build(output, epochs=12, *options):
        file = write_sweep(
            tmp_path / "rates.yaml",
            {
                "model.optimizer.lr": {"values": [0.01, 0.003, 0.001]},
                "trainer.max_epochs": {"value": epochs},
            },
        )
        return sweep_argv(file, output, shop, "--baseline=false", *options)

    return build


def table(folder):
    rows = pq.read_table(folder / "results.parquet").to_pylist()
    return [{name: value for name, value in row.items() if name not in TIMES} for row in rows]


def runs(folder, cell):
    return sorted(path.name for path in cell_folder(folder, cell).glob("version_*"))


def cell_folder(folder, cell):
    (found,) = (folder / "runs").glob(f"{cell:03d}-*")
    return found


def wait_for_epoch(folder, cell, process, epoch):
    def there():
        try:
            (last,) = (folder / "runs").glob(f"{cell:03d}-*/version_0/checkpoints/last.ckpt")
            return torch.load(last, weights_only=True)["epoch"] >= epoch
        except (ValueError, OSError, RuntimeError, EOFError):
            return False

    wait_for(there, process)


@pytest.fixture
def again(hlm, argv):
    """Run the sweep in this process: what it printed to stderr."""

    def run(*args):
        status, _, err = hlm(*argv(*args))
        assert status == 0, err
        return err

    return run


def test_kill_9_half_way_then_the_rest_only_with_the_same_table_then_moved(argv, again, tmp_path):
    whole, killed, moved = (tmp_path / name for name in ("whole", "killed", "moved"))
    again(whole)
    process = hlm_process(*argv(killed))
    wait_for_epoch(killed, 1, process, epoch=2)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    done = cell_folder(killed, 0) / "version_0" / "run.json"
    stamp = done.stat().st_mtime_ns
    assert json.loads(done.read_text())["state"] == "finished"
    states = [row["state"] for row in table(killed)]
    assert states == ["finished", "waiting", "waiting"]  # as of the first run's end
    out = again(killed)
    assert "1 of 3 runs were finished before" in out
    assert done.stat().st_mtime_ns == stamp
    assert [runs(killed, cell) for cell in range(3)] == [
        ["version_0"],
        ["version_0", "version_1"],  # resumed: in a folder of its own
        ["version_0"],
    ]
    assert "--ckpt_path" in " ".join(
        json.loads((cell_folder(killed, 1) / "version_1/run.json").read_text())["command"]
    )
    assert table(killed) == table(whole)

    shutil.move(killed, moved)
    out = again(moved)
    assert "3 of 3 runs were finished before" in out
    assert table(moved) == table(whole)
    more = again(moved, 12, "--seeds", "0", "1", "--jobs=2")
    assert "3 of 6 runs were finished before" in more
    rows = table(moved)
    assert [row["state"] for row in rows] == ["finished"] * 6
    assert rows[:3] == table(whole)
    assert [row["seed"] for row in rows] == [0, 0, 0, 1, 1, 1]
    assert rows[3]["test/loss"] != rows[0]["test/loss"]


@pytest.mark.parametrize(
    ("number", "to_all", "status"), [(signal.SIGINT, True, 130), (signal.SIGTERM, False, 143)]
)
def test_an_interrupt_saves_and_ends_all_processes(argv, tmp_path, number, to_all, status):
    folder = tmp_path / "out"
    process = hlm_process(*argv(folder, 5000, "--jobs=2"))
    try:
        wait_for_epoch(folder, 0, process, epoch=1)
        wait_for_epoch(folder, 1, process, epoch=1)
        (os.killpg if to_all else os.kill)(process.pid, number)
        out, _ = process.communicate(timeout=100)
        assert process.returncode == status, out
        assert "Traceback" not in out
        wait_for(lambda: not processes(process.pid), None, seconds=10)
        assert [row["state"] for row in table(folder)] == ["interrupted", "interrupted", "waiting"]
        for cell in (0, 1):
            record = json.loads((cell_folder(folder, cell) / "version_0/run.json").read_text())
            assert (record["state"], record["error"]) == ("interrupted", "SIGTERM")
    finally:
        end(process)


def test_a_second_sweep_in_the_same_folder_is_refused_while_the_first_runs(argv, hlm, tmp_path):
    folder = tmp_path / "out"
    first = hlm_process(*argv(folder, 5000))
    try:
        wait_for(lambda: (folder / "sweep.json").is_file(), first)
        time.sleep(0.5)
        status, _, err = hlm(*argv(folder, 5000))
        assert status == 2
        assert "another `hlm sweep` is at work there" in err
    finally:
        end(first)
        first.communicate()
