"""Which epoch of a fine-tuning is tested."""

import json
import shutil

import pytest
import torch
import yaml
from pyarrow import csv

from hierarchy_lm.reports.runs_items import node_items
from hierarchy_lm.reports.table_runs import read_run

from ..conftest import as_older_release, seal
from .conftest import EXPERIMENTS, TINY


def test_the_best_epoch_is_tested_not_the_last(hlm, catalogue, tmp_path):
    """Best is turned upside down: training improves, so by `min` the first epoch stays best."""
    experiment = EXPERIMENTS / "finetune_pc.yaml"
    common = ["--config", experiment, *TINY, f"--data.dataset={catalogue}"]
    common += [f"--trainer.default_root_dir={tmp_path}", "--trainer.limit_train_batches=50"]
    common += ["--trainer.limit_val_batches=8", "--trainer.limit_test_batches=8"]
    fast = ["--model.optimizer.lr=0.003", "--model.optimizer.schedule=constant"]
    status, _, err = hlm(
        "fit", *common, *fast, "--best_checkpoint.mode=min", "--trainer.max_epochs=2"
    )
    assert status == 0, err
    run = tmp_path / "version_0"
    table = csv.read_csv(run / "metrics.csv").to_pylist()
    scores = [row["val/micro_f1"] for row in table if row.get("val/micro_f1") is not None]
    assert len(scores) == 2
    assert scores[0] < scores[1]
    files = {name: run / "checkpoints" / f"{name}.ckpt" for name in ("best", "last")}
    best, last = (torch.load(files[name], weights_only=True) for name in files)
    assert (best["epoch"], last["epoch"]) == (0, 1)
    tested = {"fit": json.loads((run / "test.json").read_text())}
    for number, name in enumerate(files, start=1):
        status, _, err = hlm("test", *common, f"--ckpt_path={files[name]}")
        assert status == 0, err
        tested[name] = json.loads((tmp_path / f"version_{number}" / "test.json").read_text())
    assert tested["fit"] == pytest.approx(tested["best"])
    assert tested["fit"]["test/loss"] != pytest.approx(tested["last"]["test/loss"])


def test_best_is_the_highest_validation_micro_f1(hlm):
    status, out, err = hlm("fit", "--config", EXPERIMENTS / "finetune_pc.yaml", "--print_config")
    assert status == 0, err
    best = yaml.safe_load(out)["best_checkpoint"]
    assert (best["monitor"], best["mode"]) == ("val/micro_f1", "max")


def test_a_dataset_of_tasks_alone_needs_no_tree(hlm, catalogue, tmp_path):
    """Such as query-product pairs, whose products are in no catalogue."""
    dataset, root = tmp_path / "pairs", tmp_path / "runs"
    shutil.copytree(catalogue / "tasks", dataset / "tasks")
    shutil.copy(catalogue / "dataset.json", dataset)
    seal(as_older_release(dataset))
    common = ["--config", EXPERIMENTS / "finetune_qp.yaml", *TINY, f"--data.dataset={dataset}"]
    common += [f"--trainer.default_root_dir={root}"]
    commands = [
        ["fit", *common, "--trainer.limit_train_batches=2", "--trainer.limit_val_batches=2"],
        ["predict", *common, f"--ckpt_path={root / 'version_0'}"],
        ["report", root / "version_0", f"--output={tmp_path / 'report'}"],
    ]
    for command in commands:
        status, _, err = hlm(*command)
        assert status == 0, err
    record = json.loads((root / "version_0" / "run.json").read_text())
    assert record["dataset"].keys() == {"path", "fingerprint"}
    assert node_items(read_run(root / "version_0" / "run.json")) == f"{dataset} has no tree"
