"""`hlm fit-cascade` that is stopped: what it leaves, and that it leaves no process behind."""

import json
import os
import re
import shutil
import signal
import subprocess
import time
from contextlib import suppress

import pytest
import torch

from ..conftest import ROOT, fit_cascade_argv
from .conftest import hlm_process

pytestmark = pytest.mark.slow


def processes(session):
    """Command lines of the living processes of a session."""
    listed = subprocess.run(
        ["ps", "-o", "stat=,args=", "-s", str(session)], capture_output=True, text=True
    )
    return [line for line in listed.stdout.splitlines() if not line.startswith("Z")]


def wait_for(condition, process, seconds=120):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "nothing to stop in time"
        assert process is None or process.poll() is None, "finished before it could be stopped"
        time.sleep(0.02)


def end(process):
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def test_kill_9_in_a_leaf_training_and_the_same_command_again(shop, cascade, trained_cascade):
    names = ["000_123", "002_Home_Garden"]
    for name in names:
        shutil.rmtree(cascade / "leaves" / name)
    argv = fit_cascade_argv(shop, cascade, "--evaluate=false", extra=[])
    process = hlm_process(*argv)
    first = cascade / "leaves" / names[1]
    wait_for(lambda: list(first.glob("*/checkpoints/last.ckpt")), process)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    assert not (cascade / "leaves" / names[0] / "classifier.ckpt").exists()
    untouched = cascade / "leaves" / "001_Größe_Co_1" / "classifier.ckpt"
    stamp = untouched.stat().st_mtime_ns
    process = hlm_process(*argv)
    out, _ = process.communicate(timeout=240)
    assert process.returncode == 0, out
    assert "department classifier: finished before" in out
    assert untouched.stat().st_mtime_ns == stamp
    for name in names:
        found, expected = (
            torch.load(folder / "leaves" / name / "classifier.ckpt", weights_only=True)
            for folder in (cascade, trained_cascade)
        )
        for key, value in expected["state_dict"].items():
            assert torch.equal(found["state_dict"][key], value), (name, key)


@pytest.mark.parametrize(
    ("number", "to_all", "status"),
    [(signal.SIGINT, True, 130), (signal.SIGTERM, False, 143), (signal.SIGINT, False, 130)],
)
@pytest.mark.parametrize("stage", ["department", "leaves"])
def test_an_interrupt_saves_ends_all_processes_and_has_its_status(
    shop, cascade, stage, number, to_all, status, tmp_path
):
    process = hlm_process(*without_end(shop, cascade, stage, tmp_path))
    try:
        found = []
        wait_for(lambda: found.extend(cascade.glob(f"{stage}/**/last.ckpt")) or found, process)
        before = torch.load(found[0], weights_only=True)["global_step"]
        time.sleep(2)  # a few steps, on a busy machine too
        (os.killpg if to_all else os.kill)(process.pid, number)
        out, _ = process.communicate(timeout=45)
        assert process.returncode == status, out
        assert "Traceback" not in out
        wait_for(lambda: not processes(process.pid), None, seconds=5)
        assert torch.load(found[0], weights_only=True)["global_step"] > before
    finally:
        end(process)


def test_workers_end_when_the_command_is_killed_alone(shop, cascade, tmp_path):
    process = hlm_process(*without_end(shop, cascade, "leaves", tmp_path))
    try:
        wait_for(lambda: list(cascade.glob("leaves/**/last.ckpt")), process)
        process.kill()
        process.wait()
        wait_for(lambda: not processes(process.pid), None, seconds=30)
    finally:
        end(process)


def without_end(shop, cascade, stage, tmp_path):
    """Command line that trains a stage of the cascade for ever."""
    shutil.rmtree(cascade / "leaves")
    name = "leaf" if stage == "leaves" else "department"
    text = (ROOT / "experiments" / f"{name}.yaml").read_text()
    text = re.sub("max_epochs: .*", "max_epochs: 5000", text)
    (tmp_path / "endless.yaml").write_text(re.sub("patience: .*}", "patience: 5000}", text))
    argv = fit_cascade_argv(shop, cascade, f"--{name}={tmp_path / 'endless.yaml'}", extra=[])
    argv.remove("--trainer.max_epochs=3")
    if stage == "department":
        shutil.rmtree(cascade / "department")
    else:  # trained with these options, as far as the command can know
        file = cascade / "department" / "done.json"
        record = json.loads(file.read_text())
        record["identity"]["extra"].remove("--trainer.max_epochs=3")
        file.write_text(json.dumps(record))
    return argv
