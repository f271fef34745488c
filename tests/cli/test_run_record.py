"""run.json: what a run says of itself, however it ends."""

import json
import signal
import subprocess
from importlib.metadata import version
from pathlib import Path

import pytest
import torch

from hierarchy_lm.hierarchy import Hierarchy
from hierarchy_lm.run_record import git_state

from ..conftest import SMALL
from .conftest import EXPERIMENTS


@pytest.fixture
def fit(hlm, shop, monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parent))

    def run(*args):
        return hlm(
            *("fit", "--config", EXPERIMENTS / "department.yaml", *SMALL),
            *(f"--data.dataset={shop}", "--trainer.default_root_dir=runs", *args),
        )

    return run


def record(run=0):
    return json.loads(Path(f"runs/version_{run}/run.json").read_text())


def test_a_finished_run_says_what_it_was(fit, shop):
    from record_probe import CountTokens

    CountTokens.count = 0
    status, _, err = fit(
        *("--trainer.max_epochs=2", "--test_after_fit=true", "--seed_everything=3"),
        "--trainer.callbacks+=record_probe.CountTokens",
    )
    assert status == 0, err
    found = record()
    assert (found["state"], found["error"]) == ("finished", None)
    assert found["command"][:4] == [
        *("hlm", "fit", "--config"),
        str(EXPERIMENTS / "department.yaml"),
    ]
    assert found["command"][-1] == "--trainer.callbacks+=record_probe.CountTokens"
    assert found["config"]["model"]["init_args"]["head"]["hidden"] == 32
    assert found["config"]["model"]["init_args"]["loss"]["bootstrap"]["beta"] == 0.9
    assert found["seed"] == 3
    assert found["packages"]["torch"] == version("torch")
    assert found["dataset"] == {
        "path": str(shop),
        "fingerprint": "0",
        "hierarchy": Hierarchy.from_parquet(shop / "hierarchy.parquet").fingerprint,
    }
    assert found["hardware"]["ranks"] == 1
    assert found["tokens"] == CountTokens.count > 0
    checkpoint = torch.load("runs/version_0/checkpoints/last.ckpt", weights_only=True)
    weights = checkpoint["state_dict"]
    encoder = sum(w.numel() for name, w in weights.items() if name.startswith("backbone."))
    assert found["parameters"]["encoder"] == encoder
    assert found["parameters"]["total"] > encoder
    assert found["steps"] == checkpoint["global_step"]
    assert 0 < found["seconds"] < 300
    fitted, tested = (
        json.loads(Path(f"runs/version_0/{stage}.json").read_text()) for stage in ("fit", "test")
    )
    best = found["metrics"].pop("best/val/micro_f1")
    assert best >= fitted["val/micro_f1"]
    assert found["metrics"] == {**fitted, **tested}


def test_a_failed_run_says_why(fit):
    status, _, err = fit("--trainer.max_epochs=-1")
    assert status == 2
    assert record()["state"] == "failed"
    assert record()["error"] in err
    assert "trainer.max_epochs" in record()["error"]


def test_an_interrupted_run_says_so_and_a_resumed_one_counts_both(fit):
    two = "--trainer.max_epochs=2"
    before = signal.getsignal(signal.SIGINT)
    try:
        status, _, _ = fit(
            *(two, "--trainer.callbacks+=record_probe.Interrupt"),
            *("--trainer.callbacks.epoch=1", "--trainer.callbacks.batch=2"),
        )
    finally:
        signal.signal(signal.SIGINT, before)  # Lightning ignores it from then on
    assert status == 130
    assert (record()["state"], record()["error"]) == ("interrupted", "Ctrl-C")
    status, _, err = fit(two, "--ckpt_path=last")
    assert status == 0, err
    fit(two)
    resumed, whole = record(1), record(2)
    assert 0 < record(0)["tokens"] < whole["tokens"]
    assert resumed["tokens"] == whole["tokens"]
    assert resumed["steps"] == whole["steps"]
    assert resumed["seconds"] > record(0)["seconds"]


def test_a_test_of_its_own_counts_nothing_as_trained(fit, hlm, shop):
    assert fit("--trainer.max_epochs=1")[0] == 0
    argv = [*SMALL, f"--data.dataset={shop}", "--trainer.default_root_dir=runs"]
    config = EXPERIMENTS / "department.yaml"
    status, _, err = hlm("test", "--config", config, *argv, "--ckpt_path=best")
    assert status == 0, err
    assert record(1)["state"] == "finished"
    assert record(1)["tokens"] == 0
    assert record(1)["metrics"] == json.loads(Path("runs/version_1/test.json").read_text())


def test_the_commit_is_that_of_the_working_directory(tmp_path, monkeypatch):
    def git(*args):
        who = ["-c", "user.name=x", "-c", "user.email=x@example.org"]
        done = subprocess.run(["git", *who, *args], cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    assert git_state(tmp_path) is None
    git("init")
    assert git_state(tmp_path) is None  # nothing is committed
    (tmp_path / "file").write_text("one")
    git("add", "file")
    git("commit", "-m", "first")
    (tmp_path / "untracked").write_text("")
    assert git_state(tmp_path) == {"commit": git("rev-parse", "HEAD"), "dirty": False}
    (tmp_path / "file").write_text("two")
    assert git_state(tmp_path)["dirty"] is True
    monkeypatch.setenv("PATH", "")
    assert git_state(tmp_path) is None
