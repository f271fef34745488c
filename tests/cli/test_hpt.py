"""HPT through the command: trains, resumes, predicts, exports a plain encoder, on ranks too."""

import json

import pytest
import torch
import yaml

from hierarchy_lm.hierarchy import Hierarchy
from hierarchy_lm.pretraining import HPTPretrainer

from .conftest import EXPERIMENTS, TINY
from .pretrained import assert_plain_encoder, assert_same_when_resumed, predict_test_items
from .test_ddp import fit_on_ranks, same_gradients

EXPERIMENT = EXPERIMENTS / "baselines" / "hpt.yaml"
SMALL = [*TINY, "--trainer.limit_train_batches=3"]
OFFICIAL = EXPERIMENTS / "ablations" / "small-tree" / "hpt_official.yaml"


def fit(hlm, catalogue, root, *args, experiment=EXPERIMENT):
    status, _, err = hlm(
        *("fit", "--config", experiment, *SMALL, f"--data.dataset={catalogue}"),
        *(f"--trainer.default_root_dir={root}", *args),
    )
    assert status == 0, err
    return err


def weights(run):
    return torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)


def test_it_trains_in_half_precision_predicts_and_exports_the_plain_encoder(
    hlm, catalogue, tmp_path
):
    fit(hlm, catalogue, tmp_path, "--trainer.precision=bf16-mixed")
    run = tmp_path / "version_0"
    scores = json.loads((run / "fit.json").read_text())
    assert {"val/loss", "val/micro_f1_L1", "val/micro_f1_L4", "val/path_consistency"} <= set(scores)
    predict_test_items(hlm, run, catalogue, tmp_path)
    status, _, err = hlm("export", run, tmp_path / "encoder")
    assert status == 0, err
    checkpoint = assert_plain_encoder(HPTPretrainer, tmp_path / "encoder", run, catalogue)
    depth = Hierarchy.from_parquet(catalogue / "hierarchy.parquet").depth
    kept = checkpoint["level_tokens"]
    assert kept["embeddings"].shape == (2 * depth + 1, 32)
    assert kept["read"].tolist() == list(range(1, 2 * depth, 2))


def test_a_resumed_run_ends_where_one_ends_that_never_stopped(hlm, catalogue, tmp_path):
    drawn = ["--model.sample_per_level=3", "--model.joint_mlm=words"]

    def fit_drawn(root, *args):
        return fit(hlm, catalogue, root, *drawn, *args)

    assert_same_when_resumed(fit_drawn, tmp_path)


def test_the_official_behaviour_trains_from_the_head_of_an_exported_mlm_run(
    hlm, catalogue, tmp_path
):
    status, _, err = hlm(
        *("fit", "--config", EXPERIMENTS / "mlm.yaml", *SMALL, f"--data.dataset={catalogue}"),
        *("--data.text.max_length=24", f"--trainer.default_root_dir={tmp_path / 'mlm'}"),
    )
    assert status == 0, err
    status, _, err = hlm("export", tmp_path / "mlm" / "version_0", tmp_path / "encoder")
    assert status == 0, err
    start = f"--model.backbone.init_from={tmp_path / 'encoder'}"
    still = ["--model.optimizer.lr=1e-30", "--model.optimizer.weight_decay=0"]
    err = fit(hlm, catalogue, tmp_path / "hpt", start, *still, experiment=OFFICIAL)
    assert f"{tmp_path / 'encoder'}: its MLM head is taken over" in err
    trained = weights(tmp_path / "mlm" / "version_0")["state_dict"]
    found = weights(tmp_path / "hpt" / "version_0")["state_dict"]
    for name in ("dense.weight", "dense.bias", "norm.weight", "norm.bias", "bias"):
        assert torch.equal(found[f"mlm_head.{name}"], trained[f"head.{name}"]), name


def test_texts_without_room_for_the_prompts_are_one_line(hlm, catalogue, tmp_path):
    status, _, err = hlm(
        *("fit", "--config", EXPERIMENT, *SMALL, f"--data.dataset={catalogue}"),
        *("--data.text.max_length=505", f"--trainer.default_root_dir={tmp_path}"),
    )
    assert status == 2
    assert "data.text.max_length is 505 and the prompts of 4 levels take 8 tokens more" in err
    assert "Traceback" not in err


@pytest.mark.ddp
@pytest.mark.slow
def test_two_ranks_learn_what_one_does(catalogue, tmp_path, tmp_path_factory):
    config = yaml.safe_load(EXPERIMENT.read_text())
    config["model"]["init_args"] |= {"joint_mlm": "words", "sample_per_level": 3}
    (tmp_path / "joint.yaml").write_text(yaml.safe_dump(config))
    for experiment in ("baselines/hpt", str(tmp_path / "joint")):
        folders = fit_on_ranks(experiment, catalogue, tmp_path_factory)
        assert {"labels.weight", "graph.levels", "pred"} <= same_gradients(folders).keys()
