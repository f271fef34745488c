"""HGCLR through the command: trains, resumes, predicts, exports a plain encoder, on ranks too."""

import json
from functools import partial

import pytest
import torch
import yaml
from transformers import AutoModel, AutoTokenizer

from hierarchy_lm.batches import ProductBatch, SparseTargets, TokenBatch
from hierarchy_lm.pretraining import HGCLRPretrainer

from .conftest import EXPERIMENTS, TINY
from .pretrained import (
    TEXTS,
    assert_plain_encoder,
    assert_same_when_resumed,
    best_of,
    predict_test_items,
)
from .test_ddp import RANKS, fit_on_ranks, seen

EXPERIMENT = EXPERIMENTS / "baselines" / "hgclr.yaml"
SMALL = [*TINY, "--trainer.limit_train_batches=3", "--model.contrast.max_labels=25"]


def fit(hlm, catalogue, root, *args):
    status, _, err = hlm(
        *("fit", "--config", EXPERIMENT, *SMALL, f"--data.dataset={catalogue}"),
        *(f"--trainer.default_root_dir={root}", *args),
    )
    assert status == 0, err


def test_experiment_is_multi_label_with_another_model():
    own, plain = (
        yaml.safe_load((EXPERIMENTS / "baselines" / f"{stem}.yaml").read_text())
        for stem in ("hgclr", "multi_label")
    )
    assert own["model"].pop("class_path") == "HGCLRPretrainer"
    assert own["trainer"].pop("default_root_dir") == "runs/hgclr"
    del plain["model"]["class_path"], plain["trainer"]["default_root_dir"]
    assert own == plain


def test_it_trains_in_half_precision_predicts_and_exports_the_plain_encoder(
    hlm, catalogue, tmp_path
):
    fit(hlm, catalogue, tmp_path, "--trainer.precision=bf16-mixed")
    run = tmp_path / "version_0"
    scores = json.loads((run / "fit.json").read_text())
    assert {"val/loss", "val/micro_f1_L1", "val/micro_f1_L4", "val/path_consistency"} <= set(scores)
    assert 0 <= scores["train/alignment"] <= 4
    assert -4 <= scores["val/cls_uniformity"] <= 0
    assert 0 < scores["val/cls_std"] < 1 < scores["val/cls_effective_rank"]
    predict_test_items(hlm, run, catalogue, tmp_path)
    status, _, err = hlm("export", run, tmp_path / "encoder")
    assert status == 0, err
    assert_logits_are_of_the_exported_cls(tmp_path / "encoder", run, catalogue)


def assert_logits_are_of_the_exported_cls(folder, run, catalogue):
    assert_plain_encoder(HGCLRPretrainer, folder, run, catalogue)
    model, _ = best_of(HGCLRPretrainer, run, catalogue)
    tokens = AutoTokenizer.from_pretrained(folder)(TEXTS, padding=True, return_tensors="pt")
    batch = TokenBatch(tokens["input_ids"], tokens["token_type_ids"], tokens["attention_mask"])
    nothing = SparseTargets(torch.empty(0).long(), torch.empty(0).long())
    with torch.no_grad():
        theirs = AutoModel.from_pretrained(folder).eval()(**tokens).last_hidden_state[:, 0]
        logits = model(ProductBatch(batch, nothing, torch.arange(3), torch.ones(3), 1.0))
        assert torch.equal(logits, model.head.of_one(theirs))


def test_a_resumed_run_ends_where_one_ends_that_never_stopped(hlm, catalogue, tmp_path):
    """Labels, Gumbel noise and dropout are drawn anew, the same."""
    assert_same_when_resumed(partial(fit, hlm, catalogue), tmp_path)


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("contrast.num_heads=5", "num_heads: 5 heads do not divide the word embeddings' 32"),
        ("contrast.tau=0", "contrast.tau must be above 0, got 0"),
        ("backbone.name=dnn", "HGCLR needs a transformer"),
    ],
)
def test_what_cannot_be_is_one_line(hlm, catalogue, option, message):
    arguments = ["--config", EXPERIMENT, *SMALL, f"--data.dataset={catalogue}"]
    status, _, err = hlm("fit", *arguments, f"--model.{option}")
    assert status == 2
    assert message in err
    assert "Traceback" not in err


@pytest.mark.ddp
@pytest.mark.slow
def test_two_ranks_train_every_weight_on_every_row(catalogue, tmp_path_factory):
    """A document is told from those of its own rank: gradients are others than those of one."""
    folders = fit_on_ranks("baselines/hgclr", catalogue, tmp_path_factory)
    one, two = (seen(folders[ranks], 0) for ranks in RANKS)
    assert sorted(one["rows"]) == sorted(two["rows"] + seen(folders[2], 1)["rows"])
    assert one["gradients"].keys() == two["gradients"].keys()
    other = seen(folders[2], 1)["gradients"]
    for name, gradient in two["gradients"].items():
        assert gradient.isfinite().all(), name
        assert torch.equal(gradient, other[name]), name
    assert json.loads((folders[2] / "version_0" / "fit.json").read_text())["val/loss"] > 0
