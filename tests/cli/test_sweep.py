"""`hlm sweep`: a grid with a run that fails, logged to W&B offline; what it leaves behind."""

import csv
import json
import os
import struct
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch
import yaml
from wandb.proto import wandb_internal_pb2

from hierarchy_lm.cli import main

from .conftest import EXPERIMENTS
from .sweeping import DEPARTMENT, sweep_argv, write_sweep

BETA = "model.loss.bootstrap.beta"
PARAMETERS = {
    BETA: {"values": [0.7]},
    "trainer.max_epochs": {"values": [1, -1]},  # -1: no end of the schedule, known when it starts
}


@pytest.fixture(scope="module")
def swept(shop, tmp_path_factory):
    """The folder of a finished sweep, its exit status and what it printed to stderr."""
    folder = tmp_path_factory.mktemp("sweeps")
    file = write_sweep(folder / "small.yaml", PARAMETERS, name="Small", project="shop")
    argv = sweep_argv(file, folder / "out", shop, "--seeds", "4", "--wandb")
    patch = pytest.MonkeyPatch()
    patch.chdir(folder)
    patch.setenv("WANDB_MODE", "offline")
    patch.setenv("WANDB_SILENT", "true")
    with (folder / "err.txt").open("w") as errors:
        kept = os.dup(2)
        os.dup2(errors.fileno(), 2)
        patch.setattr("sys.stderr", errors)
        try:
            status = main(argv)
        finally:
            os.dup2(kept, 2)
            patch.undo()
    return folder / "out", status, (folder / "err.txt").read_text()


CELLS = [
    "runs/000-baseline-seed-4",
    "runs/001-beta-0.7-max_epochs-1-seed-4",
    "runs/002-beta-0.7-max_epochs--1-seed-4",
]


def test_a_failing_run_is_recorded_and_the_others_go_on(swept):
    folder, status, err = swept
    assert status == 1
    last = err.strip().splitlines()[-1]
    assert last.startswith(f"hlm: 1 of 3 runs failed, the first is '{CELLS[2]}': ")
    assert "trainer.max_epochs" in last
    assert "Traceback" not in err
    lines = [line for line in err.splitlines() if "/3 " in line]
    assert [line.split()[0] for line in lines] == ["1/3", "2/3", "3/3"]
    assert all(" left" in line for line in lines)
    states = [
        json.loads((folder / cell / "version_0" / "run.json").read_text())["state"]
        for cell in CELLS
    ]
    assert states == ["finished", "finished", "failed"]
    assert json.loads((folder / CELLS[2] / "cell.json").read_text())["state"] == "failed"


def test_results_are_those_of_the_runs(swept):
    folder, _, _ = swept
    rows = pq.read_table(folder / "results.parquet").to_pylist()
    assert [row["folder"] for row in rows] == CELLS
    assert [row["state"] for row in rows] == ["finished", "finished", "failed"]
    assert [row["seed"] for row in rows] == [4, 4, 4]
    assert [row["baseline"] for row in rows] == [True, False, False]
    assert [row[BETA] for row in rows] == [None, "0.7", "0.7"]
    assert [row["trainer.max_epochs"] for row in rows] == [None, "1", "-1"]
    assert "max_epochs" in rows[2]["error"]
    assert rows[2]["test/micro_f1"] is None
    for row in rows[:2]:
        run = folder / row["folder"] / "version_0"
        tested = json.loads((run / "test.json").read_text())
        assert {name: row[name] for name in tested} == tested
        weights = torch.load(run / "checkpoints/best.ckpt", weights_only=True)["state_dict"]
        assert row["parameters"] <= sum(weight.numel() for weight in weights.values())
        assert row["tokens"] > 0
        assert not (run / "checkpoints/last.ckpt").exists()
    with (folder / "results.csv").open() as file:
        table = list(csv.DictReader(file))
    assert [row["folder"] for row in table] == CELLS
    assert float(table[1]["test/micro_f1"]) == rows[1]["test/micro_f1"]


def test_swept_values_and_the_seed_reach_the_runs(swept, shop):
    folder, _, _ = swept
    assert yaml.safe_load((folder / "sweep.yaml").read_text())["name"] == "Small"
    written = json.loads((folder / "sweep.json").read_text())
    assert [cell["folder"] for cell in written["cells"]] == CELLS
    assert written["parameters"] == {BETA: [0.7], "trainer.max_epochs": [1, -1]}
    assert written["command"] == ["hlm", "fit", "--config", str(DEPARTMENT)]
    assert written["extra"][0] == f"--data.dataset={shop}"
    for cell, beta, epochs in ((CELLS[0], 0.9, 4), (CELLS[1], 0.7, 1)):
        config = yaml.safe_load((folder / cell / "version_0/config.yaml").read_text())
        assert config["model"]["init_args"]["loss"]["bootstrap"]["beta"] == beta
        assert config["trainer"]["max_epochs"] == epochs
        assert config["seed_everything"] == 4
        assert config["model"]["init_args"]["backbone"]["name"] == "tiny"


def wandb_records(path):
    """The records of a W&B file: LevelDB's log format behind seven bytes of W&B's own."""
    content, at, parts = path.read_bytes(), 7, b""
    while at + 7 <= len(content):
        if 32768 - at % 32768 < 7:  # no record begins in the last bytes of a block
            at += 32768 - at % 32768
            continue
        _, length, kind = struct.unpack("<IHB", content[at : at + 7])
        parts += content[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):  # whole, or the last part
            record = wandb_internal_pb2.Record()
            record.ParseFromString(parts)
            parts = b""
            yield record


def test_each_run_is_in_wandb_with_group_tags_configuration_and_metrics(swept):
    folder, _, _ = swept
    for cell, tag in zip(CELLS, ("baseline", "beta=0.7", "beta=0.7"), strict=True):
        (file,) = (folder / cell / "wandb").glob("offline-run-*/*.wandb")
        records = list(wandb_records(file))
        run = next(record.run for record in records if record.HasField("run"))
        assert (run.project, run.run_group) == ("shop", "Small")
        assert run.display_name == Path(cell).name
        assert {"Small", tag, "seed=4"} <= set(run.tags)
        config = {
            item.key: json.loads(item.value_json)
            for record in records
            for item in record.config.update
        }
        expected = yaml.safe_load((folder / cell / "version_0/config.yaml").read_text())
        assert config["model"] == expected["model"]
        assert config["seed_everything"] == 4
        summary = {
            item.key: json.loads(item.value_json)
            for record in records
            for item in record.summary.update
        }
        record = json.loads((folder / cell / "version_0/run.json").read_text())
        if record["state"] == "finished":
            assert {name: summary[name] for name in record["metrics"]} == record["metrics"]


@pytest.fixture
def again(swept, shop, hlm, tmp_path):
    """The same command with other options; nothing may be run."""

    def run(*options, parameters=PARAMETERS, extra=(), seeds=("--seeds", "4"), **keys):
        folder, _, _ = swept
        file = write_sweep(tmp_path / "small.yaml", parameters, **keys)
        before = sorted(folder.rglob("*"))
        argv = [*sweep_argv(file, folder, shop, *seeds, *options), *extra]
        status, _, err = hlm(*argv)
        assert sorted(folder.rglob("*")) == before
        return status, err.strip().splitlines()[-1]

    return run


def test_a_folder_with_runs_of_other_options_is_refused(again, tmp_path):
    status, line = again(extra=["--model.optimizer.lr=0.1"])
    assert status == 2
    assert "was run with other options; name another --output" in line
    changed = tmp_path / "changed.yaml"
    changed.write_text(DEPARTMENT.read_text().replace("dropout: 0.1", "dropout: 0.2"))
    status, line = again(config=changed)
    assert status == 2
    assert "was run with other options" in line


def test_a_folder_whose_runs_would_be_left_out_is_refused(again):
    status, line = again("--baseline=false")
    assert status == 2
    assert "holds 1 runs that this command leaves out, such as '000-baseline-seed-4'" in line
    status, line = again(seeds=("--seeds", "5"))
    assert status == 2
    assert "holds 3 runs" in line


BROKEN = {
    "unrecognized arguments: --loss.no_such=1": {"model.loss.no_such": {"values": [1]}},
    "lr: values is no list with something in it": {"model.optimizer.lr": {"values": []}},
    "trainer.max_epochs=many": {"trainer.max_epochs": {"values": [1, "many"]}},
    "trainer.devices 2: a run of a sweep is one process": {"trainer.devices": {"value": 2}},
    "seeds are integers": {"seed_everything": {"values": ["one"]}},
}


@pytest.mark.parametrize("message", BROKEN)
def test_a_broken_sweep_is_refused_before_anything_runs(message, hlm, shop, tmp_path):
    parameters = {"model.loss.bootstrap.beta": {"values": [0.7]}, **BROKEN[message]}
    file = write_sweep(tmp_path / "broken.yaml", parameters)
    status, out, err = hlm(*sweep_argv(file, tmp_path / "out", shop))
    assert status == 2
    assert message in err
    assert str(file) in err
    assert len([line for line in err.splitlines() if line.startswith("hlm: ")]) == 1
    assert "Traceback" not in err
    assert out == ""
    assert not (tmp_path / "out").exists()


def test_a_class_argument_before_its_class_is_refused(hlm, shop, tmp_path):
    file = tmp_path / "order.yaml"
    content = {
        "method": "grid",
        "command": ["hlm", "fit", "${args}"],
        "parameters": {
            "model.loss.bootstrap.beta": {"values": [0.7]},
            "model": {"values": ["DepartmentClassifier"]},
            "data": {"values": ["DepartmentDataModule"]},
        },
    }
    file.write_text(yaml.safe_dump(content, sort_keys=False))
    status, _, err = hlm(*sweep_argv(file, tmp_path / "out", shop))
    assert status == 2
    assert "hlm: " in err
    assert "--loss.bootstrap.beta" in err or "--model" in err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--jobs=0"], "at least one run has to go on at a time"),
        (["--runs=0"], "a sweep has at least one run"),
        (["--seeds", "1", "1"], "must be 0 or more and stand there once"),
        (["--seeds", "x"], "seeds are integers"),
    ],
)
def test_wrong_options_are_refused(options, message, hlm, shop, tmp_path):
    file = write_sweep(tmp_path / "small.yaml", PARAMETERS)
    status, _, err = hlm(*sweep_argv(file, tmp_path / "out", shop, *options))
    assert status == 2
    assert message in err


def test_a_file_that_is_not_there(hlm):
    status, _, err = hlm("sweep", "nowhere.yaml")
    assert status == 2
    assert "nowhere.yaml" in err
    assert len(err.strip().splitlines()) == 1


def test_under_an_agent_a_fit_logs_to_wandb_and_keeps_its_folder(hlm, shop, tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_SWEEP_ID", "abc123")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    monkeypatch.setenv("WANDB_PROJECT", "agents")
    status, _, err = hlm(
        *("fit", "--config", EXPERIMENTS / "department.yaml", "--trainer.max_epochs=1"),
        *(f"--data.dataset={shop}", "--model.backbone.name=tiny", "--model.head.hidden=32"),
        *("--trainer.default_root_dir=runs", "--trainer.limit_train_batches=2"),
    )
    assert status == 0, err
    assert (tmp_path / "runs/version_0/run.json").is_file()
    assert (tmp_path / "runs/version_0/metrics.csv").is_file()
    (file,) = (tmp_path / "runs/wandb").glob("offline-run-*/*.wandb")
    records = list(wandb_records(file))
    assert any(record.HasField("exit") for record in records)
    run = next(record.run for record in records if record.HasField("run"))
    assert (run.project, run.sweep_id) == ("agents", "abc123")
