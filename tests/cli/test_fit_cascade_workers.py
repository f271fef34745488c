"""Jobs side by side: each is reported once, whatever happens to the one before."""

import multiprocessing
import os
import signal
import threading
import time

import pytest

from hierarchy_lm.cli.stages import worker_devices
from hierarchy_lm.cli.workers import Job, run_jobs


@pytest.fixture
def children():
    """Lists the processes that this test has started; a library may keep those of earlier ones."""
    earlier = {child.pid for child in multiprocessing.active_children()}

    def started():
        return [child for child in multiprocessing.active_children() if child.pid not in earlier]

    return started


def job(tmp_path, name, *argv):
    return Job(name, list(argv), tmp_path / f"{name}.txt")


def run(jobs, slots=1):
    reported = {}

    def report(done, outcome):
        assert done.name not in reported
        reported[done.name] = outcome

    run_jobs(jobs, [""] * slots, report)
    return reported


def test_failures_are_reported_and_the_others_go_on(tmp_path, children):
    (tmp_path / "file").write_text("")
    found = run(
        [
            job(tmp_path, "first", "--version"),
            job(tmp_path, "unknown", "nope"),
            Job("unwritable", ["--version"], tmp_path / "file" / "log.txt"),
            job(tmp_path, "last", "--version"),
        ]
    )
    assert {name: outcome.status for name, outcome in found.items()} == {
        "first": 0,
        "unknown": 2,
        "unwritable": 1,
        "last": 0,
    }
    assert "'nope'" in found["unknown"].reason
    assert "FileExistsError" in found["unwritable"].reason
    assert (tmp_path / "last.txt").read_text().startswith("hlm ")
    assert not children()


def test_a_failed_job_has_its_process_to_itself(tmp_path, children):
    pids = {}

    def report(done, outcome):
        pids[done.name] = [child.pid for child in children()]

    jobs = [job(tmp_path, name, "--version") for name in ("first", "second", "last")]
    run_jobs([*jobs[:2], job(tmp_path, "unknown", "nope"), jobs[2]], [""], report)
    assert len(pids["first"]) == 1
    assert pids["first"] == pids["second"]
    assert pids["unknown"] == []
    assert len(pids["last"]) == 1
    assert pids["last"] != pids["first"]


def test_more_places_than_jobs(tmp_path):
    found = run([job(tmp_path, str(n), "--version") for n in range(2)], slots=3)
    assert [outcome.status for outcome in found.values()] == [0, 0]
    assert run([]) == {}


def test_a_killed_process_is_reported_by_its_signal_and_replaced(tmp_path, children):
    endless = ("sample", str(tmp_path / "sample"), "--items=20000000", "--task_items=0")

    def kill():
        deadline = time.monotonic() + 60
        while not (tmp_path / "endless.txt").exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        (child,) = children()
        os.kill(child.pid, signal.SIGKILL)

    threading.Thread(target=kill, daemon=True).start()
    found = run([job(tmp_path, "endless", *endless), job(tmp_path, "after", "--version")])
    assert "SIGKILL" in found["endless"].reason
    assert found["endless"].status != 0
    assert found["after"].status == 0


def test_a_fault_of_the_report_is_not_lost(tmp_path, children):
    def report(done, outcome):
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        run_jobs([job(tmp_path, str(n), "--version") for n in range(3)], ["", ""], report)
    assert not children()


def test_gpus_are_dealt_out_in_turn(monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert worker_devices(None) == ["0", "1"]
    assert worker_devices(3) == ["0", "1", "0"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,7")
    assert worker_devices(None) == ["4", "7"]
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert worker_devices(None) == [""]
    assert worker_devices(2) == ["", ""]
