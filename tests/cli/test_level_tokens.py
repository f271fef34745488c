"""Fine-tuning with level tokens through the command: of a run, its export, in `hlm transfer`."""

import json

import pytest
import torch
import yaml

from .conftest import EXPERIMENTS, TINY
from .test_ddp import fit_on_ranks, same_gradients

EXPERIMENT = EXPERIMENTS / "finetune_level_tokens.yaml"
FEW = [
    *("--trainer.max_epochs=1", "--trainer.limit_train_batches=2", "--trainer.limit_val_batches=2"),
    *("--trainer.limit_test_batches=2", "--trainer.enable_progress_bar=false"),
]

STILL = ["--model.optimizer.lr=1e-30", "--model.optimizer.weight_decay=0"]


@pytest.fixture(scope="module")
def pretrained(catalogue, tmp_path_factory):
    """Runs of HPT and HBGL, two steps each."""
    from hierarchy_lm.cli import main

    folder = tmp_path_factory.mktemp("pretrained")
    for name in ("hpt", "hbgl"):
        options = ["--config", EXPERIMENTS / "baselines" / f"{name}.yaml", *TINY, *FEW]
        options += [f"--data.dataset={catalogue}", f"--trainer.default_root_dir={folder / name}"]
        assert main(["fit", *map(str, options)]) == 0
    return folder


def finetune(hlm, catalogue, source, root, *args):
    return hlm(
        *("fit", "--config", EXPERIMENT, *FEW, f"--data.dataset={catalogue}"),
        *(f"--model.backbone.init_from={source}", f"--trainer.default_root_dir={root}", *args),
    )


def weights(root):
    return torch.load(root / "version_0" / "checkpoints" / "last.ckpt", weights_only=True)


@pytest.mark.parametrize("method", ["hpt", "hbgl"])
def test_level_tokens_of_a_run_are_trained_on_and_read(
    hlm, pretrained, catalogue, tmp_path, method
):
    run = pretrained / method / "version_0"
    before = torch.load(run / "checkpoints" / "best.ckpt", weights_only=True)["level_tokens"]
    for readout in ("cls", "transformer"):
        root = tmp_path / readout
        option = f"--model.level_tokens.readout={readout}"
        status, _, err = finetune(hlm, catalogue, run, root, option)
        assert status == 0, err
        state = weights(root)["state_dict"]
        after = state["reader.embeddings"]
        assert after.shape == before["embeddings"].shape
        assert 0 < (after - before["embeddings"].float()).abs().max() < 0.05
        assert any("summary" in name for name in state) == (readout == "transformer")
        assert 0 <= json.loads((root / "version_0" / "test.json").read_text())["test/micro_f1"] <= 1


def test_a_run_and_its_export_start_alike(hlm, pretrained, catalogue, tmp_path):
    run = pretrained / "hpt" / "version_0"
    status, _, err = hlm("export", run, tmp_path / "encoder")
    assert status == 0, err
    assert (tmp_path / "encoder" / "level_tokens.safetensors").is_file()
    for name, source in (("run", run), ("export", tmp_path / "encoder")):
        status, _, err = finetune(hlm, catalogue, source, tmp_path / name, *STILL)
        assert status == 0, err
    one, other = (weights(tmp_path / name)["state_dict"] for name in ("run", "export"))
    assert one.keys() == other.keys()
    for name, value in one.items():
        if name.startswith("backbone.") or name == "reader.embeddings":
            assert torch.equal(value, other[name]), name


def test_under_the_pretraining_mask_of_hbgl_cls_sees_nothing(hlm, pretrained, catalogue, tmp_path):
    run = pretrained / "hbgl" / "version_0"
    apart = "--model.level_tokens.attention=pretrain"
    status, _, err = finetune(hlm, catalogue, run, tmp_path, apart)
    assert status == 0, err
    cls = "--model.level_tokens.readout=cls"
    status, _, err = finetune(hlm, catalogue, run, tmp_path, apart, cls)
    assert status == 2
    assert "does not see them" in err


def test_without_level_tokens_it_is_plain_fine_tuning_and_gives_none_on(
    hlm, pretrained, catalogue, tmp_path
):
    run = pretrained / "hpt" / "version_0"
    none = "--model.level_tokens.readout=none"
    status, _, err = finetune(hlm, catalogue, run, tmp_path / "own", none)
    assert status == 0, err
    status, _, err = hlm(
        *("fit", "--config", EXPERIMENTS / "finetune_pc.yaml", *FEW, f"--data.dataset={catalogue}"),
        f"--model.backbone.init_from={run}",
        f"--trainer.default_root_dir={tmp_path / 'pc'}",
    )
    assert status == 0, err
    own, plain = (weights(tmp_path / name)["state_dict"] for name in ("own", "pc"))
    assert own.keys() == plain.keys()
    assert all(torch.equal(value, plain[name]) for name, value in own.items())
    status, _, err = finetune(hlm, catalogue, tmp_path / "own" / "version_0", tmp_path / "again")
    assert status == 2
    assert "model.level_tokens: none come with the encoder of" in err
    assert "Traceback" not in err


def test_transfer_hands_them_from_stage_to_stage(hlm, catalogue, tmp_path):
    status, _, err = hlm(
        *("transfer", "--pretrain", EXPERIMENTS / "baselines" / "hpt.yaml"),
        *("--finetune", EXPERIMENTS / "finetune_pc.yaml", *FEW, f"--data.dataset={catalogue}"),
        *(
            "--finetune.model.level_tokens.readout=transformer",
            "--pretrain.model.backbone.name=tiny",
        ),
        *(f"--trainer.default_root_dir={tmp_path / 'pc'}", f"--encoders={tmp_path / 'encoders'}"),
    )
    assert status == 0, err
    state = weights(tmp_path / "pc")["state_dict"]
    assert state["reader.embeddings"].shape == (9, 32)  # 2 L + 1 of four levels


@pytest.mark.ddp
@pytest.mark.slow
def test_two_ranks_learn_what_one_does(pretrained, catalogue, tmp_path, tmp_path_factory):
    config = yaml.safe_load(EXPERIMENT.read_text())
    start = {"init_from": str(pretrained / "hpt" / "version_0")}
    config["model"]["init_args"]["backbone"] = start
    config["test_after_fit"] = False
    (tmp_path / "tokens.yaml").write_text(yaml.safe_dump(config))
    folders = fit_on_ranks(str(tmp_path / "tokens"), catalogue, tmp_path_factory)
    trained = same_gradients(folders).keys()
    assert {"reader.embeddings", "reader.summary.positions"} <= trained
