"""`hlm transfer` whose processes are killed, or want the same encoder at once."""

import os
import signal
import subprocess
import time

import pytest
import torch
import yaml
from safetensors.torch import load_file

from .conftest import EXPERIMENTS, TINY, hlm_process

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

SST = EXPERIMENTS / "sst.yaml"
PC, QP = EXPERIMENTS / "finetune_pc.yaml", EXPERIMENTS / "finetune_qp.yaml"
LONG = [
    *("--pretrain", SST, "--finetune", PC, *TINY, "--finetune.trainer.limit_train_batches=2"),
    *("--finetune.trainer.limit_val_batches=2", "--pretrain.trainer.max_epochs=4"),
]


def command(catalogue, root, *options):
    place = f"--trainer.default_root_dir={root}"
    argv = ["transfer", *LONG, f"--data.dataset={catalogue}", place, "--encoders=encoders"]
    return [*argv, *options]


def wait_for(condition, seconds=250):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "nothing happened in time"
        time.sleep(0.02)


def children(pid):
    command = ["ps", "-o", "pid=", "--ppid", str(pid)]
    return [int(line) for line in subprocess.check_output(command, text=True).split()]


def start_of(run):
    config = yaml.safe_load((run / "config.yaml").read_text())
    return config["model"]["init_args"]["backbone"]["init_from"]


def weights(tmp_path):
    (file,) = tmp_path.glob("encoders/*/encoder/model.safetensors")
    return load_file(file)


def test_a_killed_pre_training_goes_on_and_nobody_trains_beside_it(catalogue, tmp_path):
    def started():
        process = hlm_process(*command(catalogue, tmp_path / "runs"))
        wait_for(lambda: list(tmp_path.glob("encoders/*/*/checkpoints/last.ckpt")))
        return process

    process = hlm_process(*command(catalogue, tmp_path / "expected"))
    out, _ = process.communicate(timeout=600)
    assert process.returncode == 0, out
    expected = weights(tmp_path)
    (tmp_path / "encoders").rename(tmp_path / "elsewhere")

    process = started()
    os.killpg(process.pid, signal.SIGKILL)  # the command and the training
    process.communicate()
    assert not list(tmp_path.glob("encoders/*/encoder"))
    process = hlm_process(*command(catalogue, tmp_path / "runs"))
    out, _ = process.communicate(timeout=600)
    assert process.returncode == 0, out
    assert "waiting" not in out
    assert len(list(tmp_path.glob("encoders/*/version_*"))) == 2
    found = weights(tmp_path)
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in expected)
    (tmp_path / "encoders").rename(tmp_path / "elsewhere_too")

    process = started()
    (training,) = children(process.pid)
    os.kill(training, signal.SIGSTOP)
    os.kill(process.pid, signal.SIGKILL)  # the command alone: its training lives on
    follower = hlm_process(*command(catalogue, tmp_path / "runs", "--finetune", QP))
    for line in follower.stdout:
        if "another process trains it; waiting" in line:
            break
    os.kill(training, signal.SIGCONT)
    out, _ = follower.communicate(timeout=600)
    process.communicate()
    assert follower.returncode == 0, out
    found = weights(tmp_path)
    assert all(torch.equal(found[name], expected[name]) for name in expected)


def test_two_at_once_train_one_encoder_and_sigterm_ends_all_processes(catalogue, tmp_path):
    processes = [
        hlm_process(*command(catalogue, tmp_path / name, "--finetune", experiment))
        for name, experiment in (("pc", PC), ("qp", QP))
    ]
    for process in processes:
        out, _ = process.communicate(timeout=600)
        assert process.returncode == 0, out
    assert len(list(tmp_path.glob("encoders/*/version_*"))) == 1
    starts = {start_of(tmp_path / name / "version_0") for name in ("pc", "qp")}
    assert len(starts) == 1

    process = hlm_process(*command(catalogue, tmp_path / "runs", "--seed_everything=1"))
    wait_for(lambda: len(list(tmp_path.glob("encoders/*/*/checkpoints/last.ckpt"))) == 1)
    os.kill(process.pid, signal.SIGTERM)
    process.communicate(timeout=120)
    assert process.returncode == 143
    with pytest.raises(ProcessLookupError):
        os.killpg(process.pid, 0)
