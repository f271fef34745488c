"""The DNN baseline through the command: trained, resumed as data, exported, transferred."""

import json
import subprocess
import sys

import pytest
import torch

from hierarchy_lm.backbones.dnn import DNNModel
from hierarchy_lm.batches import TokenBatch
from hierarchy_lm.cli import main
from hierarchy_lm.export import encoder_of
from hierarchy_lm.run_files import load_checkpoint
from hierarchy_lm.vocabulary import load_vocabulary

from .conftest import EXPERIMENTS, TINY

VIEWS = ["--data.text.segments=fields", "--model.backbone.num_segments=3"]
LOAD = """
from transformers import AutoModel, AutoTokenizer
tokens = AutoTokenizer.from_pretrained("dnn")("red shoe", return_tensors="pt")
print(AutoModel.from_pretrained("dnn").eval()(**tokens).last_hidden_state[0, 0].tolist())
"""


def fit(catalogue, folder, *args, experiment="finetune_pc"):
    """Train, in a folder of its own."""
    status = main(
        [
            *("fit", "--config", str(EXPERIMENTS / f"{experiment}.yaml"), *TINY, *VIEWS),
            *(f"--data.dataset={catalogue}", "--model.backbone.name=dnn"),
            *(f"--trainer.default_root_dir={folder}", "--model.optimizer.lr=3e-3", *args),
        ]
    )
    assert status == 0
    return folder / "version_0"


@pytest.fixture(scope="module")
def run(catalogue, tmp_path_factory):
    return fit(catalogue, tmp_path_factory.mktemp("dnn"), "--trainer.max_epochs=2")


@pytest.fixture
def exported(hlm, run, tmp_path):
    status, _, err = hlm("export", run, tmp_path / "dnn")
    assert status == 0, err
    return tmp_path / "dnn"


def test_it_learns_a_task(run):
    lines = (run / "metrics.csv").read_text().splitlines()
    column = lines[0].split(",").index("val/loss")
    losses = [float(row.split(",")[column]) for row in lines[1:] if row.split(",")[column]]
    assert losses[-1] < 0.9 * losses[0]
    assert json.loads((run / "fit.json").read_text())


def test_it_takes_the_semantic_transformers_place_in_pre_training(catalogue, tmp_path):
    fit(catalogue, tmp_path, "--trainer.limit_train_batches=2", experiment="sst")


def test_the_exported_folder_loads_where_this_package_is_imported(run, exported):
    card = (exported / "README.md").read_text()
    assert "import hierarchy_lm.backbones" in card
    assert "SentenceTransformer" not in card
    assert not (exported / "modules.json").exists()
    plain = subprocess.run([sys.executable, "-c", LOAD], capture_output=True, text=True)
    assert "hlm-dnn" in plain.stderr
    assert plain.returncode != 0
    code = "import hierarchy_lm.backbones" + LOAD
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert told.returncode == 0, told.stderr
    vocabulary = load_vocabulary(str(exported))
    words = vocabulary.tokenizer.encode("red shoe", add_special_tokens=False).ids
    ids = torch.tensor([[vocabulary.special.cls, *words, vocabulary.special.sep]])
    encoder = encoder_of(load_checkpoint(run / "checkpoints" / "best.ckpt"))
    with torch.no_grad():
        expected = encoder(TokenBatch(ids, torch.zeros_like(ids), torch.ones_like(ids)))[0]
    assert json.loads(told.stdout) == pytest.approx(expected.tolist(), rel=1e-4, abs=1e-6)


def test_fine_tuning_starts_from_the_exported_weights(catalogue, exported, tmp_path):
    again = fit(
        *(catalogue, tmp_path / "again", f"--model.backbone.pretrained={exported}"),
        *("--trainer.limit_train_batches=1", "--model.optimizer.lr=1e-12"),
        "--model.optimizer.weight_decay=0",
    )
    tuned = encoder_of(load_checkpoint(again / "checkpoints" / "last.ckpt")).state_dict()
    source = DNNModel.from_pretrained(exported).state_dict()
    for name, tensor in tuned.items():
        if "running" not in name and "num_batches" not in name:  # statistics follow the data
            assert torch.allclose(tensor, source[name.removeprefix("encoder.")], atol=1e-6), name
