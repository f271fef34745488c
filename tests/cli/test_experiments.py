"""Every shipped experiment, through the command, as it stands but for the number of steps."""

import json

import pytest
import torch
import yaml

from .conftest import EXPERIMENTS

FEW = [
    "--trainer.max_epochs=1",
    "--trainer.limit_train_batches=2",
    "--trainer.limit_val_batches=2",
    "--trainer.limit_test_batches=2",
    "--trainer.enable_progress_bar=false",
]
SHIPPED = {path.stem: path for path in sorted(EXPERIMENTS.glob("*.yaml"))}
OTHERS = {"dhpc": "fit-cascade", "cascade": "test", "embed": "embed"}  # the rest: `hlm fit`
AFTER_A_RUN = {"finetune_level_tokens"}  # tests/cli/test_level_tokens.py makes that
OWN_DATA = {"wordnet"}  # needs a prepared dataset; here the sample stands in for it
FITTED = [path for name, path in SHIPPED.items() if name not in OTHERS.keys() | AFTER_A_RUN]


@pytest.mark.parametrize("experiment", FITTED, ids=lambda path: path.stem)
def test_runs_as_it_stands_and_again_from_its_own_config(experiment, hlm, tmp_path):
    root = f"--trainer.default_root_dir={tmp_path / 'runs'}"
    data = ["--data.dataset=sample"] if experiment.stem in OWN_DATA else []
    status, _, err = hlm("fit", "--config", experiment, *FEW, *data, root)
    assert status == 0, err
    run = tmp_path / "runs" / "version_0"
    checkpoint = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)
    assert checkpoint["global_step"] == 2
    status, _, err = hlm("fit", "--config", run / "config.yaml")
    assert status == 0, err
    again = torch.load(
        tmp_path / "runs" / "version_1" / "checkpoints" / "last.ckpt", weights_only=True
    )
    for name, value in checkpoint["state_dict"].items():
        assert torch.equal(value, again["state_dict"][name]), name


@pytest.mark.parametrize("experiment", FITTED, ids=lambda path: path.stem)
def test_print_config_round_trips(experiment, hlm, tmp_path):
    status, first, err = hlm("fit", "--config", experiment, "--print_config")
    assert status == 0, err
    (tmp_path / "printed.yaml").write_text(first)
    status, second, err = hlm("fit", "--config", tmp_path / "printed.yaml", "--print_config")
    assert status == 0, err
    assert yaml.safe_load(second) == yaml.safe_load(first)


# Of SST: each changes the options in its values, or the module that is trained.
VARIANTS: dict[str, dict[str, object]] = {
    "sst/without_mask": {"mask": "none"},
    "sst/without_projection": {"projection": "none"},
    "sst/sequential": {"readout": "sequential", "num_layers": None},
    "sst/dependency_mask": {"mask": "prev_only"},
    "sst/dependency_mask_and_self": {"mask": "prev_and_self"},
    "sst/sequential_dependency_mask": {
        "readout": "sequential",
        "num_layers": None,
        "mask": "prev_only",
    },
    "baselines/node_only": {},
    "baselines/multi_label": {},
    "baselines/multi_task": {},
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_variant_differs_from_sst_in_what_it_is_named_for(variant):
    plain = yaml.safe_load(SHIPPED["sst"].read_text())
    own = yaml.safe_load((EXPERIMENTS / f"{variant}.yaml").read_text())
    expected = plain["model"]["init_args"].pop("structural") | VARIANTS[variant]
    found = {"num_layers": None} | own["model"]["init_args"].pop("structural", {})
    if variant.startswith("sst/"):
        assert found == expected
    else:
        own["model"]["class_path"] = "SSTPretrainer"
    own["trainer"]["default_root_dir"] = plain["trainer"]["default_root_dir"]
    assert own == plain


def test_every_variant_is_named_here():
    found = {f"sst/{path.stem}" for path in EXPERIMENTS.glob("sst/*.yaml")}
    assert found == {name for name in VARIANTS if name.startswith("sst/")}


@pytest.mark.parametrize("variant", VARIANTS)
def test_variant_runs_as_it_stands(variant, hlm, tmp_path):
    root = f"--trainer.default_root_dir={tmp_path}"
    status, _, err = hlm("fit", "--config", EXPERIMENTS / f"{variant}.yaml", *FEW, root)
    assert status == 0, err
    checkpoint = torch.load(tmp_path / "version_0" / "checkpoints" / "last.ckpt", weights_only=True)
    assert checkpoint["global_step"] == 2
    scores = json.loads((tmp_path / "version_0" / "fit.json").read_text())
    assert 0 < scores["val/loss"] < float("inf")
    assert {"val/micro_f1_L1", "val/micro_f1_L6"} <= scores.keys()


LAYERS = {
    "scale/mbert": ["department", "leaf"],
    "baselines/dnn": ["department", "leaf"],
    "scale/paper_finetuning": ["finetune_pc"],
    "scale/smoke": ["leaf", "sst", "finetune_pc"],
}


@pytest.mark.parametrize(
    ("layer", "below"), [(layer, below) for layer, names in LAYERS.items() for below in names]
)
def test_layer_changes_what_it_names_and_leaves_the_rest(layer, below, hlm):
    """It holds no class, so that several experiments can take it."""
    layer = EXPERIMENTS / f"{layer}.yaml"
    printed = []
    for layers in ([], ["--config", layer]):
        arguments = ["--config", SHIPPED[below], *layers, "--model.backbone.pretrained=none"]
        status, out, err = hlm("fit", *arguments, "--print_config")
        assert status == 0, err
        printed.append(flat(yaml.safe_load(out)))
    before, after = printed
    named = flat(yaml.safe_load(layer.read_text())) | {
        "model.init_args.backbone.pretrained": "none"
    }
    assert before | named == after


def test_every_layer_of_scale_is_named_here():
    assert {f"scale/{path.stem}" for path in EXPERIMENTS.glob("scale/*.yaml")} < LAYERS.keys()


def test_fine_tuning_experiments_differ_in_task_and_length_alone():
    found = {}
    for name in ("pc", "qp", "lf", "gf", "nodes"):
        config = yaml.safe_load(SHIPPED[f"finetune_{name}"].read_text())
        assert config["trainer"].pop("default_root_dir") == f"runs/finetune_{name}"
        config["trainer"].pop("max_epochs")
        data = config["data"]["init_args"]
        found[name] = data.pop("task"), data.pop("node_text", "none")
        assert config == found.setdefault("common", config)
    del found["common"]
    assert found == {
        "pc": ("product_categorisation", "none"),
        "qp": ("query_product", "none"),
        "lf": ("local_financial", "none"),
        "gf": ("global_financial", "none"),
        "nodes": ("product_categorisation", "leaf"),
    }


def flat(config, prefix=""):
    if not isinstance(config, dict):
        return {prefix.removesuffix("."): config}
    found = {}
    for key, value in config.items():
        found |= flat(value, f"{prefix}{key}.")
    return found


@pytest.mark.slow
def test_whole_cascade(hlm, shop, tmp_path):
    output = tmp_path / "dhpc"
    status, _, err = hlm(
        *("fit-cascade", "--config", SHIPPED["dhpc"], f"--dataset={shop}", f"--output={output}"),
        *("--", *FEW),
    )
    assert status == 0, err
    content = json.loads((output / "cascade.json").read_text())
    statuses = [entry["status"] for entry in content["departments"]]
    assert statuses.count("model") == 3
    checkpoint = torch.load(output / content["checkpoint"], weights_only=True)
    assert checkpoint["global_step"] == 2


def test_cascade_made_before(hlm, shop, cascade, tmp_path):
    for command in ("test", "predict"):
        status, _, err = hlm(
            *(command, "--config", SHIPPED["cascade"], f"--model.cascade={cascade}"),
            *(f"--data.dataset={shop}", f"--trainer.default_root_dir={tmp_path / command}"),
        )
        assert status == 0, err
    assert (tmp_path / "test" / "version_0" / "test.json").is_file()
    (part,) = (tmp_path / "predict" / "version_0" / "predictions").iterdir()
    assert part.name == "part-00000.parquet"


def test_embeddings(hlm, tmp_path):
    folder = tmp_path / "embeddings"
    status, _, err = hlm(
        *("embed", "--config", SHIPPED["embed"], f"--output={folder}"),
        *("--data.predict_split=test", "--model.backbone.name=tiny", FEW[-1]),
    )
    assert status == 0, err
    assert json.loads((folder / "embeddings.json").read_text())["size"] > 0


def test_experiments_are_found():
    names = {"sst", "finetune_pc", "finetune_qp", "department", "leaf", "dhpc", "cascade", "embed"}
    assert names <= SHIPPED.keys()
