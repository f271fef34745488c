"""A run that is killed and resumed ends with the weights of one that was not."""

import os
import signal
import time
from pathlib import Path

import pytest
import torch

from .conftest import EXPERIMENTS, TINY, hlm_process


def options(catalogue, root, workers):
    return [
        *("fit", "--config", EXPERIMENTS / "sst.yaml", *TINY),
        f"--data.dataset={catalogue}",
        f"--data.num_workers={workers}",
        "--data.batch.documents=4",
        "--trainer.max_epochs=2",
        "--trainer.accumulate_grad_batches=3",
        "--model.optimizer.warmup=0.3",
        "--last_checkpoint.minutes=0.0005",
        f"--trainer.default_root_dir={root}",
    ]


def finish(process):
    out, _ = process.communicate(timeout=240)
    assert process.returncode == 0, out


def final_state(root, version):
    path = root / f"version_{version}" / "checkpoints" / "last.ckpt"
    return torch.load(path, weights_only=True)


def kill_in_mid_epoch(process, checkpoint, epoch, batches):
    """SIGKILL once the checkpoint is ``batches`` into ``epoch``. Returns what it holds."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        if checkpoint.is_file():
            state = torch.load(checkpoint, weights_only=True)
            done = state["loops"]["fit_loop"]["epoch_loop.batch_progress"]["current"]["processed"]
            if state["epoch"] == epoch and done >= batches:
                os.killpg(process.pid, signal.SIGKILL)
                process.communicate()
                return torch.load(checkpoint, weights_only=True)
        assert process.poll() is None, "finished before it could be killed"
        time.sleep(0.05)
    raise AssertionError("no checkpoint in time")


@pytest.mark.slow
@pytest.mark.parametrize(("workers", "epoch"), [(0, 0), (2, 1)])
def test_kill_9_in_mid_epoch_changes_nothing(catalogue, tmp_path, workers, epoch):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    finish(hlm_process(*options(catalogue, whole, workers)))
    process = hlm_process(*options(catalogue, killed, workers))
    last = killed / "version_0" / "checkpoints" / "last.ckpt"
    state = kill_in_mid_epoch(process, last, epoch, batches=6)
    expected = final_state(whole, 0)
    assert state["global_step"] < expected["global_step"]
    finish(hlm_process(*options(catalogue, killed, workers), "--ckpt_path=last"))
    resumed = final_state(killed, 1)
    assert resumed["global_step"] == expected["global_step"]
    for name, value in expected["state_dict"].items():
        assert torch.equal(value, resumed["state_dict"][name]), name


@pytest.mark.slow
@pytest.mark.parametrize("batch", [5, 7])  # the end of an accumulation of three, and its middle
def test_sigterm_in_mid_epoch_changes_nothing(catalogue, tmp_path, batch):
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    finish(hlm_process(*options(catalogue, whole, 0)))
    process = hlm_process(
        *options(catalogue, stopped, 0),
        "--last_checkpoint.minutes=60",
        "--trainer.callbacks+=sigterm_probe.Stop",
        *("--trainer.callbacks.epoch=1", f"--trainer.callbacks.batch={batch}"),
        PYTHONPATH=str(Path(__file__).parent),
    )
    process.communicate(timeout=240)
    assert process.returncode == 143
    saved = final_state(stopped, 0)
    batches = saved["loops"]["fit_loop"]["epoch_loop.batch_progress"]["current"]["processed"]
    assert (saved["epoch"], batches) == (1, 6)
    finish(hlm_process(*options(catalogue, stopped, 0), "--ckpt_path=last"))
    expected, resumed = final_state(whole, 0), final_state(stopped, 1)
    assert resumed["global_step"] == expected["global_step"]
    for name, value in expected["state_dict"].items():
        assert torch.equal(value, resumed["state_dict"][name]), name


def test_last_without_a_run_is_an_error_not_a_fresh_start(hlm, catalogue, tmp_path):
    status, _, err = hlm(*options(catalogue, tmp_path / "none", 0), "--ckpt_path=last")
    assert status == 2
    assert "no checkpoints/last.ckpt below" in err.splitlines()[-1]


@pytest.mark.parametrize(("sent", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_signals_save_and_have_their_status(catalogue, tmp_path, sent, status):
    root = tmp_path / "runs"
    process = hlm_process(
        *options(catalogue, root, 0),
        "--last_checkpoint.minutes=60",
        "--trainer.max_epochs=500",
        "--trainer.limit_val_batches=1",
    )
    deadline = time.monotonic() + 120
    metrics = root / "version_0" / "checkpoints" / "last.ckpt"
    while not metrics.is_file() and time.monotonic() < deadline:
        time.sleep(0.1)
    before = torch.load(metrics, weights_only=True)["global_step"]
    process.send_signal(sent)
    process.communicate(timeout=60)
    assert process.returncode == status
    assert torch.load(metrics, weights_only=True)["global_step"] >= before
