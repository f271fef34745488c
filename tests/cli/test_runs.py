"""What a run leaves behind, and whose value wins."""

import json
import socket

import pytest
import torch
import wandb
import yaml

from .conftest import EXPERIMENTS, TINY

FEW = ["--trainer.limit_train_batches=2", "--trainer.limit_val_batches=1"]


@pytest.fixture
def fit(hlm, catalogue):
    def run(*args):
        return hlm(
            *("fit", "--config", EXPERIMENTS / "sst.yaml", *TINY, *FEW),
            *(f"--data.dataset={catalogue}", *args),
        )

    return run


def read_yaml(path):
    return yaml.safe_load(path.read_text())


def test_two_runs_in_one_folder_do_not_clash(fit, tmp_path):
    for run in range(2):
        status, _, err = fit("--trainer.default_root_dir=runs")
        assert status == 0, err
        folder = tmp_path / "runs" / f"version_{run}"
        assert {"config.yaml", "metrics.csv", "fit.json", "tokenizer", "checkpoints"} <= {
            path.name for path in folder.iterdir()
        }
    assert [path.name for path in tmp_path.iterdir()] == ["runs"]


def test_config_beside_the_checkpoints_is_resolved_and_in_the_logger(fit, tmp_path):
    fit("--trainer.default_root_dir=runs", "--model.optimizer.lr=0.123")
    run = tmp_path / "runs" / "version_0"
    for file in ("config.yaml", "hparams.yaml"):
        config = read_yaml(run / file)
        assert config["model"]["init_args"]["optimizer"]["lr"] == 0.123
        assert config["trainer"]["gradient_clip_val"] == 1.0  # from the packaged defaults


def test_the_order_of_the_batches_follows_the_seed_unless_it_has_its_own(fit, tmp_path):
    for number, own in enumerate([[], ["--data.batch.seed=1"]]):
        fit("--trainer.default_root_dir=runs", "--seed_everything=3", *own)
        config = read_yaml(tmp_path / "runs" / f"version_{number}" / "config.yaml")
        assert config["data"]["init_args"]["batch"]["seed"] == (1 if own else 3)


def test_flags_win_over_a_checkpoint(fit, tmp_path):
    fit("--trainer.default_root_dir=runs", "--model.optimizer.lr=0.001")
    status, _, err = fit(
        "--trainer.default_root_dir=runs",
        "--ckpt_path=last",
        "--model.optimizer.lr=0.5",
        "--model.optimizer.schedule=constant",
        "--model.optimizer.warmup=0",
        "--trainer.max_epochs=2",
    )
    assert status == 0, err
    checkpoint = torch.load(
        tmp_path / "runs" / "version_1" / "checkpoints" / "last.ckpt", weights_only=True
    )
    assert checkpoint["global_step"] == 4
    assert {group["lr"] for group in checkpoint["optimizer_states"][0]["param_groups"]} == {0.5}
    assert checkpoint["hyper_parameters"]["optimizer"]["lr"] == 0.5


def checkpoint(folder, version, name):
    path = folder / "runs" / f"version_{version}" / "checkpoints" / f"{name}.ckpt"
    return torch.load(path, weights_only=True)


def test_resumed_run_keeps_the_best_from_before(fit, tmp_path):
    root = "--trainer.default_root_dir=runs"
    fit(root)
    still = "--model.optimizer.lr=1e-12"  # as good as before, so no better
    status, _, err = fit(root, "--ckpt_path=last", "--trainer.max_epochs=2", still)
    assert status == 0, err
    assert checkpoint(tmp_path, 1, "last")["global_step"] == 4
    assert checkpoint(tmp_path, 1, "best")["global_step"] == 2


def test_resumed_limited_epochs_read_the_same_batches(fit, tmp_path):
    same = ["--trainer.default_root_dir=runs", "--model.optimizer.schedule=constant"]
    same += ["--model.optimizer.warmup=0"]
    fit(*same, "--trainer.max_epochs=2")
    fit(*same)
    status, _, err = fit(*same, "--trainer.max_epochs=2", "--ckpt_path=last")
    assert status == 0, err
    whole, resumed = (checkpoint(tmp_path, run, "last")["state_dict"] for run in (0, 2))
    for name, value in whole.items():
        assert torch.equal(value, resumed[name]), name


def test_steps_instead_of_epochs(fit, tmp_path):
    status, _, err = fit(
        "--trainer.default_root_dir=runs",
        *("--trainer.max_epochs=-1", "--trainer.max_steps=4", "--model.optimizer.warmup=0"),
    )
    assert status == 0, err
    state = checkpoint(tmp_path, 0, "last")
    assert state["global_step"] == 4
    assert [group["last_epoch"] for group in state["lr_schedulers"]] == [4]
    # the linear schedule of sst.yaml after 2 of its 4 steps, at the end of the first epoch
    best = checkpoint(tmp_path, 0, "best")
    assert best["lr_schedulers"][0]["_last_lr"][0] == pytest.approx(0.5e-3)


def test_metrics_file_is_what_validation_says(fit, hlm, catalogue, tmp_path):
    fit("--trainer.default_root_dir=runs", "--trainer.limit_val_batches=1.0")
    status, _, err = hlm(
        *("validate", "--config", tmp_path / "runs/version_0/config.yaml"),
        "--ckpt_path=last",
    )
    assert status == 0, err
    fitted = json.loads((tmp_path / "runs/version_0/fit.json").read_text())
    validated = json.loads((tmp_path / "runs/version_1/validate.json").read_text())
    assert validated
    for name, value in validated.items():
        assert fitted[name] == pytest.approx(value, abs=1e-6)


def wandb_runs(folder):
    return sorted((folder / "wandb").glob("offline-run-*"))


def test_wandb_offline(fit, tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_SILENT", "true")
    for _ in range(2):
        status, _, err = fit(
            "--trainer.default_root_dir=runs",
            "--trainer.logger=WandbLogger",
            "--trainer.logger.offline=true",
            "--trainer.logger.project=shop",
        )
        assert status == 0, err
        wandb.finish()  # as the end of a process does
    assert len(wandb_runs(tmp_path / "runs")) == 2
    configs = list((tmp_path / "runs" / "shop").glob("*/config.yaml"))
    assert len(configs) == 2
    assert len(list((tmp_path / "runs" / "shop").glob("*/checkpoints/last.ckpt"))) == 2


def test_unreachable_wandb_delays_by_seconds(fit, tmp_path, monkeypatch):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
    monkeypatch.setenv("WANDB_BASE_URL", f"http://127.0.0.1:{port}")
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    monkeypatch.delenv("WANDB_MODE", raising=False)  # an offline logger of this process sets it
    monkeypatch.setenv("WANDB_SILENT", "true")
    with pytest.warns(UserWarning, match="does not answer.*logging offline"):
        status, _, err = fit("--trainer.default_root_dir=runs", "--trainer.logger=WandbLogger")
    assert status == 0, err
    wandb.finish()
    assert len(wandb_runs(tmp_path / "runs")) == 1
