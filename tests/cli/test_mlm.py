"""The MLM stage through the command, and the stages that start from it."""

import json
import math
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch

from data_modules.texts import TextDataModule
from hierarchy_lm.export import encoder_of
from hierarchy_lm.run_files import load_checkpoint

from .conftest import EXPERIMENTS, TINY, hlm_process

SMALL = ["--data.text.max_length=24", "--trainer.limit_train_batches=2"]
FROZEN = ["--model.optimizer.lr=1e-30", "--model.optimizer.weight_decay=0"]


def fit(hlm, experiment, catalogue, root, *args):
    status, _, err = hlm(
        *("fit", "--config", EXPERIMENTS / f"{experiment}.yaml", *TINY, *SMALL),
        *(f"--data.dataset={catalogue}", f"--trainer.default_root_dir={root}", *args),
    )
    assert status == 0, err
    return Path(root) / "version_0", err


@pytest.fixture
def run(hlm, catalogue, tmp_path):
    return fit(hlm, "mlm", catalogue, tmp_path / "mlm")[0]


def encoder_state(checkpoint):
    return encoder_of(load_checkpoint(checkpoint)).state_dict()


def assert_same_encoder(found, expected):
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert torch.equal(found[name], value), name


def test_the_best_checkpoint_is_of_the_lowest_loss(run):
    best = load_checkpoint(run / "checkpoints" / "best.ckpt")
    kept = next(
        state for name, state in best["callbacks"].items() if name.startswith("BestCheckpoint")
    )
    assert kept["monitor"] == "val/loss"


def test_a_monitor_that_the_model_does_not_log_is_one_line(hlm, catalogue, tmp_path):
    status, _, err = hlm(
        *("fit", "--config", EXPERIMENTS / "mlm.yaml", *TINY, *SMALL),
        *(f"--data.dataset={catalogue}", f"--trainer.default_root_dir={tmp_path}"),
        "--best_checkpoint.monitor=val/nope",
    )
    assert status == 2
    assert "val/nope" in err
    assert "Traceback" not in err


def test_validation_is_the_same_whatever_the_seed(hlm, run, catalogue, tmp_path):
    """Its masks are fixed; the final score of `fit` comes back from the checkpoint."""
    fitted = json.loads((run / "fit.json").read_text())
    assert math.exp(fitted["val/loss"]) == pytest.approx(fitted["val/perplexity"])
    assert 0 <= fitted["val/accuracy"] <= 1
    for command, prefix in (("validate", "val"), ("test", "test")):
        root = tmp_path / command
        status, _, err = hlm(
            *(command, "--config", EXPERIMENTS / "mlm.yaml", *TINY, *SMALL, "--seed_everything=7"),
            *(f"--data.dataset={catalogue}", f"--ckpt_path={run}"),
            f"--trainer.default_root_dir={root}",
        )
        assert status == 0, err
        found = json.loads((root / "version_0" / f"{command}.json").read_text())
        names = {f"{prefix}/{name}" for name in ("loss", "accuracy", "perplexity")}
        assert found.keys() == names
        if prefix == "val":
            assert found == {name: fitted[name] for name in names}


def test_products_without_a_node_take_part(run, catalogue):
    nodes = pq.read_table(sorted((catalogue / "products").glob("train-*.parquet")))["node_ids"]
    without = sum(not ids for ids in nodes.to_pylist())
    assert without > 0
    data = TextDataModule(str(catalogue), str(run / "tokenizer"))
    data.setup("fit")
    rows = torch.cat([batch.rows for batch in data.train_dataloader()])
    assert sorted(rows.tolist()) == list(range(len(nodes)))


def test_sst_starts_from_the_run_and_fine_tuning_from_sst(hlm, run, catalogue, tmp_path):
    """Bit for bit, with the tokenizer; what stays behind is named."""
    sst, err = fit(
        *(hlm, "sst", catalogue, tmp_path / "sst"), f"--model.backbone.init_from={run}", *FROZEN
    )
    assert f"{run}/checkpoints/best.ckpt: 'head' (5 weights)" in err
    expected = encoder_state(run / "checkpoints" / "best.ckpt")
    assert_same_encoder(encoder_state(sst / "checkpoints" / "last.ckpt"), expected)
    tokenizers = [(folder / "tokenizer" / "tokenizer.json").read_bytes() for folder in (run, sst)]
    assert tokenizers[0] == tokenizers[1]
    tuned, err = fit(
        *(hlm, "finetune_pc", catalogue, tmp_path / "pc"), *FROZEN,
        f"--model.backbone.init_from={sst / 'checkpoints' / 'last.ckpt'}",
    )  # fmt: skip
    assert "'structural' (" in err
    assert_same_encoder(encoder_state(tuned / "checkpoints" / "last.ckpt"), expected)


def test_mlm_goes_on_from_an_exported_folder(hlm, run, catalogue, tmp_path):
    status, _, err = hlm("export", run, tmp_path / "encoder")
    assert status == 0, err
    start = f"--model.backbone.init_from={tmp_path / 'encoder'}"
    again, _ = fit(hlm, "mlm", catalogue, tmp_path / "again", start, *FROZEN)
    expected = encoder_state(run / "checkpoints" / "best.ckpt")
    assert_same_encoder(encoder_state(again / "checkpoints" / "last.ckpt"), expected)


def test_a_source_that_is_missing_is_one_line(hlm, catalogue, tmp_path):
    status, _, err = hlm(
        *("fit", "--config", EXPERIMENTS / "sst.yaml", *TINY, f"--data.dataset={catalogue}"),
        "--model.backbone.init_from=runs/none",
    )
    assert status == 2
    assert "backbone.init_from: no 'runs/none'" in err.splitlines()[-1]


def test_there_is_nothing_to_predict(hlm, run):
    status, _, err = hlm("predict", "--config", run / "config.yaml", f"--ckpt_path={run}")
    assert status == 2
    assert "nothing to predict" in err.splitlines()[-1]


def test_a_backbone_without_tokens_is_one_line(hlm, catalogue):
    status, _, err = hlm(
        *("fit", "--config", EXPERIMENTS / "mlm.yaml", *TINY, "--model.backbone.name=dnn"),
        f"--data.dataset={catalogue}",
    )
    assert status == 2
    assert "'dnn' has no states of single tokens" in err.splitlines()[-1]


@pytest.mark.slow
def test_a_run_stopped_in_mid_epoch_goes_on_with_the_same_masks(catalogue, tmp_path):
    """Another mask of one token would give other weights."""
    states = []
    for name, stop in (("whole", False), ("stopped", True)):
        options = [
            *("fit", "--config", EXPERIMENTS / "mlm.yaml", *TINY, f"--data.dataset={catalogue}"),
            *("--trainer.max_epochs=2", "--model.masking.whole_words=true"),
            f"--trainer.default_root_dir={tmp_path / name}",
        ]
        probe = [
            "--trainer.callbacks+=sigterm_probe.Stop",
            *("--trainer.callbacks.epoch=1", "--trainer.callbacks.batch=3"),
        ]
        runs = [[*options, *probe], [*options, "--ckpt_path=last"]] if stop else [options]
        statuses = [finish(arguments) for arguments in runs]
        assert statuses == ([143, 0] if stop else [0])
        last = tmp_path / name / f"version_{len(runs) - 1}" / "checkpoints" / "last.ckpt"
        states.append(load_checkpoint(last)["state_dict"])
    assert_same_encoder(*states)


def finish(arguments):
    process = hlm_process(*arguments, PYTHONPATH=str(Path(__file__).parent))
    process.communicate(timeout=240)
    return process.returncode
