"""HBGL through the command: two stages in one run, resumed, predicted, exported, on ranks too."""

import csv
import json
import re
from functools import partial

import pytest
import torch

from hierarchy_lm.hierarchy import Hierarchy
from hierarchy_lm.pretraining import HBGLPretrainer

from .conftest import EXPERIMENTS, TINY
from .pretrained import assert_plain_encoder, assert_same_when_resumed, predict_test_items
from .test_ddp import RANKS, fit_on_ranks, same_gradients

EXPERIMENT = EXPERIMENTS / "baselines" / "hbgl.yaml"
SMALL = [*TINY, "--trainer.limit_train_batches=3", "--model.labels.passes=8"]


def fit(hlm, catalogue, root, *args):
    status, _, err = hlm(
        *("fit", "--config", EXPERIMENT, *SMALL, f"--data.dataset={catalogue}"),
        *(f"--trainer.default_root_dir={root}", *args),
    )
    assert status == 0, err
    return err


def state_of(run):
    checkpoint = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)
    return checkpoint["state_dict"]


def logged(run, name):
    with (run / "metrics.csv").open() as file:
        return [float(row[name]) for row in csv.DictReader(file) if row.get(name)]


def test_it_trains_in_half_precision_predicts_and_exports_the_plain_encoder(
    hlm, catalogue, tmp_path
):
    err = fit(hlm, catalogue, tmp_path, "--trainer.precision=bf16-mixed")
    assert "label vectors: 2 steps; a node was visited 8 times at least, 8 in the median" in err
    run = tmp_path / "version_0"
    scores = json.loads((run / "fit.json").read_text())
    assert {"val/loss", "val/micro_f1_L1", "val/micro_f1_L4", "val/path_consistency"} <= set(scores)
    assert logged(run, "labels/least_visits") == [8.0]
    assert logged(run, "labels/nodes_seen") == [1.0]
    assert len(logged(run, "labels/loss")) == 1  # behind the last step
    low = "--model.decode.threshold=0.01"
    table = predict_test_items(hlm, run, catalogue, tmp_path, low)
    scores = [score for row in table["scores"].to_pylist() for score in row]
    assert scores
    assert 0.01 <= min(scores) <= max(scores) <= 1
    status, _, err = hlm("export", run, tmp_path / "encoder")
    assert status == 0, err
    checkpoint = assert_plain_encoder(HBGLPretrainer, tmp_path / "encoder", run, catalogue)
    depth = Hierarchy.from_parquet(catalogue / "hierarchy.parquet").depth
    assert checkpoint["level_tokens"]["embeddings"].shape == (depth, 32)


def test_a_resumed_run_has_no_first_stage_and_ends_where_one_does_that_never_stopped(
    hlm, catalogue, tmp_path
):
    first, second = assert_same_when_resumed(partial(fit, hlm, catalogue), tmp_path)
    assert "label vectors:" in first
    assert "label vectors:" not in second


def test_the_first_stage_can_be_left_out_or_see_too_little(hlm, catalogue, tmp_path):
    still = ["--model.optimizer.lr=1e-30", "--model.optimizer.weight_decay=0"]
    assert "label vectors:" not in fit(
        hlm, catalogue, tmp_path / "none", *still, "--model.labels.passes=0"
    )
    few = ["--model.labels.passes=0.2", "--model.labels.subtrees=1"]
    few += ["--model.labels.min_nodes=10", "--model.labels.max_nodes=12"]
    err = fit(hlm, catalogue, tmp_path / "few", *still, *few)
    found = re.search(r"([\d.]+)% of the nodes had less than a sixth of model.labels.passes", err)
    (share,) = logged(tmp_path / "few" / "version_0", "labels/nodes_seldom_seen")
    assert found is not None
    assert 100 * share == pytest.approx(float(found[1]), abs=0.01)
    assert f"{found[1]}% none at all" in err  # less than 0.2 / 6 visits
    assert "model.labels.sampler=least_visited" in err
    kept, learnt = (state_of(tmp_path / n / "version_0")["labels.weight"] for n in ("none", "few"))
    moved = (kept != learnt).any(dim=1)
    assert 10 <= int(moved.sum()) < len(moved)


def test_texts_without_room_for_the_levels_are_one_line(hlm, catalogue, tmp_path):
    status, _, err = hlm(
        *("fit", "--config", EXPERIMENT, *SMALL, f"--data.dataset={catalogue}"),
        *("--data.text.max_length=508", f"--trainer.default_root_dir={tmp_path}"),
    )
    assert status == 2
    assert "data.text.max_length is 508" in err
    assert "at most 507 tokens; lower it" in err
    assert "Traceback" not in err


@pytest.mark.ddp
@pytest.mark.slow
def test_two_ranks_learn_what_one_does(catalogue, tmp_path_factory):
    """The first stage too, whose subtrees they share."""
    folders = fit_on_ranks("baselines/hbgl", catalogue, tmp_path_factory)
    trained = same_gradients(folders).keys()
    assert {"labels.weight", "labels.bias", "mlm_head.dense.weight"} <= trained
    losses = [logged(folders[ranks] / "version_0", "labels/loss") for ranks in RANKS]
    assert losses[0] == pytest.approx(losses[1], rel=1e-9)
