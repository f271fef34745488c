"""Conditional softmax and sigmoid through the command, from training to the plain encoder."""

import json

import pyarrow.parquet as pq
import pytest
import yaml

from hierarchy_lm.hierarchy import Hierarchy
from hierarchy_lm.pretraining import ConditionalPretrainer

from .conftest import EXPERIMENTS, TINY
from .pretrained import assert_plain_encoder, assert_same_when_resumed
from .test_ddp import fit_on_ranks, same_gradients

NAMES = ("softmax", "softmax_adjusted", "sigmoid")


@pytest.mark.parametrize("name", NAMES)
def test_experiment_is_multi_task_with_another_model(name):
    own, plain = (
        yaml.safe_load((EXPERIMENTS / "baselines" / f"{stem}.yaml").read_text())
        for stem in (f"conditional_{name}", "multi_task")
    )
    options = own["model"]["init_args"]
    assert options.pop("activation") == name.removesuffix("_adjusted")
    assert options.pop("logit_adjustment", 0.0) == (1.0 if name.endswith("adjusted") else 0.0)
    assert plain["model"]["init_args"].pop("node_reduction")
    assert own["model"].pop("class_path") == "ConditionalPretrainer"
    assert own["trainer"].pop("default_root_dir") == f"runs/conditional_{name}"
    del plain["model"]["class_path"], plain["trainer"]["default_root_dir"]
    assert own == plain


@pytest.mark.parametrize("name", NAMES)
def test_trains_tests_predicts_and_exports(name, hlm, catalogue, tmp_path):
    options = [
        *("--config", EXPERIMENTS / "baselines" / f"conditional_{name}.yaml", *TINY),
        *(f"--data.dataset={catalogue}", f"--trainer.default_root_dir={tmp_path}"),
    ]
    few = ["--trainer.limit_train_batches=4", "--trainer.precision=bf16-mixed"]
    status, _, err = hlm("fit", *options, *few)
    assert status == 0, err
    run = tmp_path / "version_0"
    for command in ("test", "predict"):
        status, _, err = hlm(command, *options, f"--ckpt_path={run}", "--model.decode.threshold=0")
        assert status == 0, err
    scores = json.loads((tmp_path / "version_1" / "test.json").read_text())
    assert scores["test/path_consistency"] == 1.0
    assert 0 < scores["test/loss"] < float("inf")
    assert {"test/micro_f1_L1", "test/micro_f1_L4"} <= scores.keys()
    tree = Hierarchy.from_parquet(catalogue / "hierarchy.parquet")
    (part,) = (tmp_path / "version_2" / "predictions").iterdir()
    roots = tree.level_sizes[0]
    for row in pq.read_table(part).to_pylist()[:20]:
        assert row["labels"] == tree.paths  # a threshold of 0 leaves none out
        if name != "sigmoid":
            assert sum(row["scores"][:roots]) == pytest.approx(1, abs=1e-4)
    status, _, err = hlm("export", run, tmp_path / "encoder")
    assert status == 0, err
    assert_plain_encoder(ConditionalPretrainer, tmp_path / "encoder", run, catalogue)


@pytest.mark.parametrize("name", NAMES)
def test_a_resumed_run_ends_where_one_ends_that_never_stopped(name, hlm, catalogue, tmp_path):
    def fit(root, *args):
        status, _, err = hlm(
            *("fit", "--config", EXPERIMENTS / "baselines" / f"conditional_{name}.yaml", *TINY),
            *(f"--data.dataset={catalogue}", f"--trainer.default_root_dir={root}"),
            *("--trainer.limit_train_batches=3", *args),
        )
        assert status == 0, err

    assert_same_when_resumed(fit, tmp_path)


@pytest.mark.ddp
@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_two_ranks_learn_what_one_does(name, catalogue, tmp_path_factory):
    folders = fit_on_ranks(f"baselines/conditional_{name}", catalogue, tmp_path_factory)
    assert "head.weight" in same_gradients(folders)
    scores = [json.loads((folders[n] / "version_0" / "fit.json").read_text()) for n in folders]
    assert scores[0]["val/loss"] == pytest.approx(scores[1]["val/loss"], rel=1e-4)
