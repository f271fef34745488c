"""`hlm transfer`: its stages against the same by hand, what is kept, what is refused."""

import json

import pytest
import torch
import yaml
from safetensors.torch import load_file

from hierarchy_lm.cli import main, workers
from hierarchy_lm.cli.transfer import parse_transfer

from .conftest import EXPERIMENTS, TINY

MLM, SST = EXPERIMENTS / "mlm.yaml", EXPERIMENTS / "sst.yaml"
PC, QP = EXPERIMENTS / "finetune_pc.yaml", EXPERIMENTS / "finetune_qp.yaml"
FEW = [*TINY, *(f"--trainer.limit_{stage}_batches=4" for stage in ("train", "val", "test"))]


@pytest.fixture
def in_process(monkeypatch):
    """The stages without processes of their own, each of which imports torch anew."""
    started = []

    def run(argv, *_):
        started.append(argv[argv.index("fit") :])
        return main(started[-1])

    monkeypatch.setattr(workers, "run_command", run)
    return started


def transfer(hlm, catalogue, *arguments):
    status, _, err = hlm("transfer", *arguments, *FEW, f"--data.dataset={catalogue}")
    assert status == 0, err
    return err


def scores(run):
    return json.loads((run / "test.json").read_text())


def config(run):
    return yaml.safe_load((run / "config.yaml").read_text())


def start_of(run):
    return config(run)["model"]["init_args"]["backbone"]["init_from"]


def test_three_stages_are_those_by_hand_and_encoders_are_trained_once(
    hlm, catalogue, tmp_path, in_process
):
    common = [*FEW, f"--data.dataset={catalogue}", "--seed_everything=3"]
    by_hand = tmp_path / "by_hand"
    for name, experiment, start in [("mlm", MLM, None), ("sst", SST, "mlm"), ("pc", PC, "sst")]:
        argv = ["fit", "--config", experiment, *common, f"--trainer.default_root_dir={by_hand}"]
        argv[-1] += f"/{name}"
        if start:
            argv.append(f"--model.backbone.init_from={by_hand / start / 'encoder'}")
        status, _, err = hlm(*argv)
        assert status == 0, err
        status, _, err = hlm("export", by_hand / name / "version_0", by_hand / name / "encoder")
        assert status == 0, err
    root = tmp_path / "run"
    stages = ["--mlm", MLM, "--pretrain", SST, "--finetune", PC, "--seed_everything=3"]
    transfer(hlm, catalogue, *stages, f"--trainer.default_root_dir={root}")
    assert scores(root / "version_0") == scores(by_hand / "pc" / "version_0")
    assert len(in_process) == 3
    mlm, sst = sorted((tmp_path / "runs" / "encoders").glob("*/encoder"))
    for name, encoder in (("mlm", mlm), ("sst", sst)):
        expected = load_file(by_hand / name / "encoder" / "model.safetensors")
        found = load_file(encoder / "model.safetensors")
        assert found.keys() == expected.keys()
        assert all(torch.equal(found[key], expected[key]) for key in expected)
    assert start_of(root / "version_0") == str(sst)
    assert start_of(sst.parent / "version_0") == str(mlm)
    assert not list(mlm.parents[1].glob("**/*.ckpt"))  # records and encoders alone are kept

    # Another task takes the encoder as it is, and MLM alone the one before it.
    err = transfer(hlm, catalogue, *stages, "--finetune", QP, f"--trainer.default_root_dir={root}")
    assert err.count("found in") == 2
    err = transfer(
        *(hlm, catalogue, *stages, "--pretrain", "none", f"--trainer.default_root_dir={root}"),
        *("--finetune.data.node_text", "leaf"),
    )
    assert err.count("found in") == 1
    assert len(in_process) == 5
    assert start_of(root / "version_1") == str(sst)
    assert config(root / "version_1")["data"]["init_args"]["task"] == "query_product"
    assert start_of(root / "version_2") == str(mlm)
    assert config(root / "version_2")["data"]["init_args"]["node_text"] == "leaf"


def test_without_earlier_stages_it_is_hlm_fit_with_a_test(hlm, catalogue, tmp_path, in_process):
    root = f"--trainer.default_root_dir={tmp_path}"
    transfer(hlm, catalogue, "--finetune", PC, "--pretrain=none", root)
    status, _, err = hlm("fit", "--config", PC, *FEW, f"--data.dataset={catalogue}", root)
    assert status == 0, err
    assert scores(tmp_path / "version_0") == scores(tmp_path / "version_1")
    assert not (tmp_path / "runs").exists()


def resolved(*arguments):
    stages = parse_transfer(["transfer", *map(str, arguments)]).stages
    return {stage.name: stage.resolved for stage in stages}


STAGES = ["--mlm", MLM, "--pretrain", SST, "--finetune", PC]


def test_options_go_to_all_stages_or_to_one_whatever_their_order(tmp_path):
    layer = tmp_path / "layer.yaml"
    layer.write_text("trainer: {max_epochs: 7, limit_val_batches: 3}")
    options = [f"--config={layer}", "--trainer.max_steps", "9", "--trainer.default_root_dir=here"]
    own = ["--pretrain.trainer.max_epochs=2", "--finetune.data.node_text", "leaf"]
    found = resolved(*own, *STAGES, *options, "--pretrain.data.dataset=other")
    assert [found[name].trainer.max_epochs for name in found] == [7, 2, 7]
    assert {config.trainer.limit_val_batches for config in found.values()} == {3}
    assert {config.trainer.max_steps for config in found.values()} == {9}
    roots = [str(config.trainer.default_root_dir) for config in found.values()]
    assert roots == ["runs/mlm", "runs/sst", "here"]  # the folder is the last stage's
    data = [config.data.init_args for config in found.values()]
    assert [options.dataset for options in data] == ["sample", "other", "sample"]
    assert data[2].node_text == "leaf"
    assert [config.test_after_fit for config in found.values()] == [False, False, True]


@pytest.mark.parametrize(
    ("options", "seeds"),
    [
        ([], [0, 0, 0]),
        (["--seed_everything=4"], [4, 4, 4]),
        (["--seed_everything=4", "--pretrain_seed=1"], [1, 1, 4]),
        (["--seed_everything=4", "--mlm.seed_everything=1"], [1, 4, 4]),
    ],
)
def test_one_seed_for_all_stages_unless_pre_training_has_its_own(options, seeds):
    found = resolved(*STAGES, *options)
    assert [config.seed_everything for config in found.values()] == seeds


def identity(*options, fingerprint="data", earlier="mlm"):
    stage = parse_transfer(["transfer", *map(str, [*STAGES, *options])]).stages[1]
    return stage.identity(fingerprint, earlier)


@pytest.mark.parametrize(
    "options",
    [
        ["--trainer.default_root_dir=x", "--trainer.logger=WandbLogger"],
        ["--trainer.enable_progress_bar=false", "--pretrain.data.num_workers=1"],
        ["--pretrain.trainer.default_root_dir=x", "--encoders=x"],
        ["--finetune.trainer.max_epochs=1", "--mlm.trainer.max_epochs=1"],
        ["--pretrain.model.backbone.init_from=null"],
    ],
)
def test_where_and_how_it_is_shown_does_not_make_another_encoder(options):
    assert identity(*options) == identity()


def test_options_data_seed_and_the_encoder_before_make_another_encoder():
    others = [
        identity("--pretrain.model.structural.mask=none"),
        identity("--pretrain", EXPERIMENTS / "sst" / "without_mask.yaml"),
        identity("--trainer.max_epochs=2"),
        identity("--seed_everything=1"),
        identity("--pretrain_seed=1"),
        identity(fingerprint="other"),
        identity(earlier="other"),
        identity(earlier=None),
    ]
    assert identity() not in others
    assert others[0] == others[1]  # however it is said


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "no --finetune; give the YAML of the stage that is tested"),
        (["--finetune", "none"], "no --finetune;"),
        (["--finetune", "nowhere.yaml"], "--finetune nowhere.yaml: no such file"),
        (["--finetune", PC, "--pretrain", PC], "DownstreamFinetuner is no model for this stage"),
        (["--finetune", MLM], "MLMPretrainer is no model for this stage"),
        (["--finetune", PC, "--mlm", SST], "SSTPretrainer is no model for this stage"),
        (["--finetune", PC, "--pretrain", "broken.yaml"], "--pretrain broken.yaml: "),
        (["--finetune", PC, "--finetune.data.node_txt=leaf"], f"--finetune {PC}: "),
        (["--finetune", PC, "--trainer.max_stps=1"], "max_stps"),
        (["--finetune", PC, "--finetun.data.x=1"], "finetun"),
        (["--finetune", PC, "--mlm.trainer.max_steps=1"], "--mlm.trainer.max_steps, but no --mlm"),
        (["--finetune", PC, "--data.dataset"], "--data.dataset needs a value"),
        (["--finetune", PC, "sample"], "'sample' belongs to no option"),
    ],
)
def test_a_mistake_is_one_line_and_nothing_is_written(arguments, message, hlm, tmp_path):
    (tmp_path / "broken.yaml").write_text("model: {class_path: SSTPretrainer\n")
    status, _, err = hlm("transfer", *arguments)
    assert status == 2
    assert message in err
    assert err.startswith("hlm: hlm transfer: ")
    assert err.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["broken.yaml"]


def test_help_names_the_stages(hlm):
    status, out, _ = hlm("transfer", "--help")
    assert status == 0
    for option in ("--mlm", "--pretrain", "--finetune", "--encoders", "--pretrain_seed"):
        assert option in out
