"""HiMatch and HiAGM through the command: training, collapse, prediction, plain encoder, ranks."""

import csv
import json

import pyarrow.parquet as pq
import pytest
import yaml

from hierarchy_lm.pretraining import HiAGMPretrainer, HiMatchPretrainer

from .conftest import EXPERIMENTS, TINY
from .pretrained import assert_plain_encoder
from .test_ddp import fit_on_ranks, same_gradients

MODELS = {"himatch": HiMatchPretrainer, "hiagm": HiAGMPretrainer}
BCE = ["--model.cls_weight=1", "--model.decode.constraint=none"]
NO_CONSTRAINT = "--model.decode.constraint=none"
# Each with what a user may add to the shipped file: options of the module, then other arguments.
RUNS = {
    "himatch": ({}, []),
    "himatch with bce and names' [CLS]": (
        {"cls_weight": 1.0, "node_features": "name_cls"},
        [NO_CONSTRAINT],
    ),
    "himatch official": (
        {"cls_weight": 1.0, "form": "official"},
        [NO_CONSTRAINT, "--model.matching.distance=mse"],
    ),
    "hiagm": ({}, []),
    "hiagm official": ({"form": "official", "width": 20, "logit_dropout": 0.5}, []),
    "hiagm official la": ({"form": "official", "variant": "la", "width": 20}, []),
}
COLLAPSE = {
    "val/alignment",
    *(
        f"val/{what}_{name}"
        for what in ("cls", "text")
        for name in ("uniformity", "std", "effective_rank")
    ),
}


@pytest.mark.parametrize("method", MODELS)
def test_experiment_is_multi_task_with_another_model(method):
    own, plain = (
        yaml.safe_load((EXPERIMENTS / "baselines" / f"{name}.yaml").read_text())
        for name in (method, "multi_task")
    )
    assert own["model"].pop("class_path") == MODELS[method].__name__
    assert own["trainer"].pop("default_root_dir") == f"runs/{method}"
    del plain["model"]["class_path"], plain["trainer"]["default_root_dir"]
    kept = plain["model"]["init_args"]
    own["model"]["init_args"] = {key: own["model"]["init_args"][key] for key in kept}
    assert own == plain


@pytest.mark.parametrize("name", RUNS)
def test_trains_predicts_and_exports(name, hlm, catalogue, tmp_path):
    method, (module, extra) = name.split()[0], RUNS[name]
    options = [
        *("--config", EXPERIMENTS / "baselines" / f"{method}.yaml", *TINY, *extra),
        *(f"--model.{key}={value}" for key, value in module.items()),
        *(f"--data.dataset={catalogue}", f"--trainer.default_root_dir={tmp_path}"),
    ]
    few = ["--trainer.limit_train_batches=4", "--trainer.precision=bf16-mixed"]
    status, _, err = hlm("fit", *options, *few)
    assert status == 0, err
    run = tmp_path / "version_0"
    scores = json.loads((run / "fit.json").read_text())
    assert 0 < scores["val/loss"] < float("inf")
    assert {"val/micro_f1_L1", "val/micro_f1_L4"} <= scores.keys()
    assert (scores.keys() >= COLLAPSE) == (method == "himatch")
    status, _, err = hlm("predict", *options, f"--ckpt_path={run}")
    assert status == 0, err
    (part,) = (tmp_path / "version_1" / "predictions").iterdir()
    table = pq.read_table(part)
    if name == "himatch":  # the nearest label of every level
        assert {len(row) for row in table["labels"].to_pylist()} == {4}
    status, _, err = hlm("export", run, tmp_path / "encoder")
    assert status == 0, err
    encoder = tmp_path / "encoder"
    checkpoint = assert_plain_encoder(MODELS[method], encoder, run, catalogue, **module)
    if module.get("node_features") == "name_cls":
        assert checkpoint["state_dict"]["features.cls"].abs().min(dim=1).values.max() > 0


@pytest.mark.parametrize(
    ("options", "score", "best"), [([], "val/loss", min), (BCE, "val/micro_f1", max)]
)
def test_himatch_keeps_the_best_by_f1_only_if_it_learns_nodes(
    hlm, catalogue, tmp_path, options, score, best
):
    status, _, err = hlm(
        *("fit", "--config", EXPERIMENTS / "baselines" / "himatch.yaml", *TINY),
        *(f"--data.dataset={catalogue}", f"--trainer.default_root_dir={tmp_path}"),
        *("--trainer.max_epochs=3", "--trainer.limit_train_batches=4", *options),
    )
    assert status == 0, err
    run = tmp_path / "version_0"
    with (run / "metrics.csv").open() as file:
        scores = [float(row[score]) for row in csv.DictReader(file) if row[score]]
    assert len(scores) == 3
    record = json.loads((run / "run.json").read_text())
    assert record["metrics"][f"best/{score}"] == pytest.approx(best(scores))


def test_a_form_that_cannot_be_is_one_line(hlm, catalogue, tmp_path):
    status, _, err = hlm(
        *("fit", "--config", EXPERIMENTS / "baselines" / "hiagm.yaml", *TINY),
        *(f"--data.dataset={catalogue}", f"--trainer.default_root_dir={tmp_path}"),
        "--model.variant=la",
    )
    assert status == 2
    assert "variant: la" in err
    assert "Traceback" not in err


@pytest.mark.ddp
@pytest.mark.slow
@pytest.mark.parametrize("method", MODELS)
def test_two_ranks_learn_what_one_does(method, catalogue, tmp_path_factory):
    """Draws follow the rows, whichever rank they are on."""
    folders = fit_on_ranks(f"baselines/{method}", catalogue, tmp_path_factory)
    same_gradients(folders)
    scores = [json.loads((folders[n] / "version_0" / "fit.json").read_text()) for n in folders]
    for name in {"val/loss", "val/micro_f1", *COLLAPSE} & scores[0].keys():
        assert scores[0][name] == pytest.approx(scores[1][name], rel=1e-4, abs=1e-6), name
