"""Every shipped grid: expanded, rendered by W&B's own function, and read by `hlm`."""

import subprocess
from itertools import product
from pathlib import Path

import pytest
import yaml
from wandb.sdk.launch.sweeps.utils import create_sweep_command_args

from data_modules.sample import SampleOptions, write_sample
from hierarchy_lm.cli.tfidf import parse_tfidf
from hierarchy_lm.cli.training import parse_fit
from hierarchy_lm.cli.transfer import parse_transfer
from hierarchy_lm.errors import UserError
from hierarchy_lm.hierarchy import Hierarchy
from hierarchy_lm.losses import DHPCOptions
from hierarchy_lm.sweeps import read_sweep, render, settings

ROOT = Path(__file__).parents[1]
ABLATIONS = ROOT / "experiments" / "ablations"
SEEDS = "seed_everything"

# Settings without their seeds, and whether the command is complete without any: then `hlm sweep`
# adds it as the baseline.
GRIDS = {
    "bootstrap": (12, True),
    "pruning": (8, False),
    "negatives": (10, False),
    "temperature": (10, False),
    "augmentation": (8, False),
    "pooling": (8, True),
    "leaf-departments": (12, False),
    "sst-mask": (6, False),
    "sst-heads": (8, False),
    "sequential": (6, False),
    "node-inputs": (12, False),
    "htc-finetuning": (12, False),
    "hierarchy": (8, False),
    "pretraining": (44, False),
    "small-tree": (14, False),
    "tfidf": (4, True),
}


@pytest.fixture(autouse=True)
def in_project(monkeypatch):
    monkeypatch.chdir(ROOT)


def content(name):
    return yaml.safe_load((ABLATIONS / f"{name}.yaml").read_text())


def own_settings(grid):
    """The full product, the first parameter slowest."""
    names = list(grid["parameters"])
    columns = [grid["parameters"][name]["values"] for name in names]
    return [dict(zip(names, row, strict=True)) for row in product(*columns)]


def covering(grid):
    """Settings in which every value occurs."""
    columns = {name: parameter["values"] for name, parameter in grid["parameters"].items()}
    rows = range(max(map(len, columns.values())))
    return [{name: values[row % len(values)] for name, values in columns.items()} for row in rows]


def rendered(setting):
    """By the function of W&B's agent."""
    agent = {"args": {name: {"value": value} for name, value in setting.items()}}
    return create_sweep_command_args(agent)["args"]


def parsed(command, arguments):
    program, *argv = command
    assert program == "hlm"
    argv = [part for word in argv for part in (arguments if word == "${args}" else [word])]
    if argv[0] == "fit":
        return parse_fit(argv)
    if argv[0] == "tfidf":
        return parse_tfidf(argv)
    assert argv[0] == "transfer"
    return [stage.resolved for stage in parse_transfer(argv).stages]


def test_all_grids_are_here():
    assert {path.stem for path in ABLATIONS.glob("*.yaml")} == GRIDS.keys()


@pytest.mark.parametrize("name", GRIDS)
def test_grid_is_expanded_rendered_and_parsed(name):
    grid = content(name)
    sweep = read_sweep(ABLATIONS / f"{name}.yaml")
    expected = own_settings(grid)
    assert settings(sweep) == expected
    seeds = grid["parameters"][SEEDS]["values"]
    assert len(seeds) >= 2
    count, has_baseline = GRIDS[name]
    assert len(expected) == count * len(seeds)
    assert [rendered(setting) for setting in expected] == [render(setting) for setting in expected]
    for setting in covering(grid):
        assert setting in expected
        found = parsed(grid["command"], rendered(setting))
    # W&B's server may hand the parameters over sorted by name.
    assert parsed(grid["command"], rendered(dict(sorted(setting.items())))) == found
    if has_baseline:
        parsed(grid["command"], [f"--{SEEDS}=1"])
    else:
        with pytest.raises(UserError):
            parsed(grid["command"], [f"--{SEEDS}=1"])


@pytest.mark.parametrize("name", GRIDS)
def test_every_file_says_which_table_and_how_to_run_it(name):
    lines = (ABLATIONS / f"{name}.yaml").read_text().splitlines()
    head = " ".join(line.removeprefix("# ") for line in lines if line.startswith("#"))
    assert head.startswith(("DHPC, Table", "SST, Table", "DHPC, Section"))
    for words in (
        f"make ablation-{name} ",
        f"hlm sweep experiments/ablations/{name}.yaml",
        "wandb sweep",
        "wandb agent",
    ):
        assert words in head


def test_swept_values_arrive_where_they_belong():
    grid = content("bootstrap")
    setting = {"model.loss.bootstrap.beta": 0.7, "model.loss.bootstrap.t_gate": 0.2, SEEDS: 5}
    config = parsed(grid["command"], rendered(setting))
    bootstrap = config.model.init_args.loss.bootstrap
    assert (bootstrap.beta, bootstrap.t_gate, config.seed_everything) == (0.7, 0.2, 5)
    grid = content("node-inputs")
    setting = {"pretrain": "none", "finetune": "experiments/finetune_qp.yaml"}
    setting |= {"finetune.data.node_text": "leaf", SEEDS: 5}
    mlm, last = parsed(grid["command"], rendered(setting))
    assert mlm.model.class_path.endswith(".MLMPretrainer")
    data = last.data.init_args
    assert (data.task, data.node_text) == ("query_product", "leaf")
    assert mlm.seed_everything == last.seed_everything == 5


@pytest.mark.parametrize("stage", ["department", "leaf"])
def test_a_base_has_every_strategy_off(stage):
    config = parse_fit(["fit", "--config", f"experiments/ablations/base/{stage}.yaml"])
    loss = config.model.init_args.loss
    plain = DHPCOptions()
    assert loss.bootstrap.beta == plain.bootstrap.beta == 1
    assert loss.negatives.keep == plain.negatives.keep == 1
    assert loss.temperature.train == plain.temperature.train == 1
    assert loss.label_smoothing == plain.label_smoothing == 0
    assert config.data.init_args.augmentation.rate == 0
    assert config.trainer.callbacks is None  # no early stopping
    assert config.test_after_fit


@pytest.mark.parametrize("stage", ["department", "leaf"])
@pytest.mark.parametrize("temperature", [1.5, 1.2, 0.9, 0.7])
def test_a_temperature_file_is_its_base_with_more_epochs_below_one(stage, temperature):
    base = yaml.safe_load((ABLATIONS / f"base/{stage}.yaml").read_text())
    path = f"experiments/ablations/temperature/{stage}_{temperature}.yaml"
    own = yaml.safe_load((ROOT / path).read_text())
    assert path in content("temperature")["parameters"]["config"]["values"]
    assert own["model"]["init_args"].pop("loss") == {"temperature": {"train": temperature}}
    epochs = own["trainer"].pop("max_epochs") / base["trainer"].pop("max_epochs")
    assert epochs == pytest.approx(1.2 if temperature < 1 else 1)
    assert own == base


def test_the_leaf_recipe_is_its_base_with_the_strategies_of_the_paper():
    base = yaml.safe_load((ABLATIONS / "base/leaf.yaml").read_text())
    own = yaml.safe_load((ABLATIONS / "base/leaf_recipe.yaml").read_text())
    shipped = yaml.safe_load((ROOT / "experiments/leaf.yaml").read_text())
    loss = own["model"]["init_args"].pop("loss")
    assert loss == shipped["model"]["init_args"]["loss"]
    augmentation = own["data"]["init_args"].pop("augmentation")
    assert augmentation == shipped["data"]["init_args"]["augmentation"]
    assert own["trainer"].pop("max_epochs") == base["trainer"].pop("max_epochs") * 1.2
    assert own == base


@pytest.mark.parametrize("path", content("small-tree")["parameters"]["config"]["values"])
def test_the_small_tree_is_learnt_by_all_under_one_budget(path):
    flat, own = (
        yaml.safe_load((ROOT / name).read_text())
        for name in ("experiments/baselines/multi_label.yaml", path)
    )
    for config in (flat, own):
        del config["trainer"]["default_root_dir"]
    assert own["data"] == flat["data"]
    assert own["trainer"] == flat["trainer"]
    for option in ("backbone", "optimizer"):
        assert own["model"]["init_args"][option] == flat["model"]["init_args"][option]


def test_leaf_departments_are_those_of_the_sample(tmp_path):
    write_sample(tmp_path / "sample", SampleOptions())
    tree = Hierarchy.from_parquet(tmp_path / "sample" / "hierarchy.parquet")
    departments = content("leaf-departments")["parameters"]["data.department"]["values"]
    assert departments == tree.names[: tree.level_sizes[0]]


def test_make_runs_a_grid_and_prints_its_table():
    argv = ["make", "-n", "-o", ".venv/.dev", "ablation-bootstrap", "SCALE=smoke", "DATA=data/shop"]
    argv += ["SEEDS=3 4", "JOBS=2", "ARGS=--trainer.max_steps 5", "BIN=bin"]
    out = subprocess.run(argv, capture_output=True, text=True, check=True).stdout
    sweep, table = (line for line in out.splitlines() if "bin/hlm" in line)
    folder = "runs/sweeps-smoke-shop"
    expected = [
        *("bin/hlm", "sweep", "experiments/ablations/bootstrap.yaml"),
        *("--output", f"{folder}/bootstrap", "--jobs", "2", "--seeds", "3", "4"),
        *("--", "--config", "experiments/scale/smoke.yaml", "--data.dataset", "data/shop"),
        *("--trainer.max_steps", "5;"),
    ]
    assert sweep.removesuffix("\\").split() == expected
    assert f"bin/hlm table bootstrap {folder} --output {folder}/tables" in table
    argv[argv.index("ablation-bootstrap")] = "ablation-nothing"
    assert (
        "No rule to make target 'ablation-nothing'"
        in subprocess.run(argv, capture_output=True, text=True).stderr
    )
