"""The exported folder: same [CLS] as in training, loaded with other people's tools."""

import pytest
import torch
from transformers import AutoModel, AutoTokenizer

from hierarchy_lm.batches import TokenBatch
from hierarchy_lm.export import encoder_of
from hierarchy_lm.run_files import load_checkpoint

from .conftest import EXPERIMENTS, TINY

TEXTS = ["Red running shoe", "a wooden table for the garden, 120 cm", ""]


@pytest.fixture
def run(hlm, catalogue, tmp_path):
    status, _, err = hlm(
        *("fit", "--config", EXPERIMENTS / "sst.yaml", *TINY, "--trainer.limit_train_batches=3"),
        *(f"--data.dataset={catalogue}", "--trainer.default_root_dir=runs"),
    )
    assert status == 0, err
    return tmp_path / "runs" / "version_0"


@pytest.fixture
def exported(hlm, run, tmp_path):
    status, _, err = hlm("export", run, tmp_path / "encoder")
    assert status == 0, err
    return tmp_path / "encoder"


def embed(folder):
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokens = tokenizer(TEXTS, padding=True, return_tensors="pt")
    with torch.no_grad():
        return tokens, AutoModel.from_pretrained(folder).eval()(**tokens).last_hidden_state[:, 0]


def test_auto_model_gives_the_cls_of_pretraining(run, exported):
    tokens, h_cls = embed(exported)
    encoder = encoder_of(load_checkpoint(run / "checkpoints" / "best.ckpt"))
    batch = TokenBatch(tokens["input_ids"], tokens["token_type_ids"], tokens["attention_mask"])
    with torch.no_grad():
        assert torch.allclose(encoder(batch), h_cls, rtol=0, atol=1e-6)


def test_sentence_transformers_loads_the_folder(exported):
    package = pytest.importorskip("sentence_transformers", reason="not installed")
    _, h_cls = embed(exported)
    vectors = package.SentenceTransformer(str(exported), device="cpu").encode(
        TEXTS, convert_to_tensor=True
    )
    assert torch.allclose(vectors, h_cls, rtol=0, atol=1e-6)


def test_folder_holds_what_a_reader_expects(exported):
    names = {path.name for path in exported.iterdir()}
    assert {"config.json", "model.safetensors", "tokenizer.json", "README.md"} <= names
    assert "SSTPretrainer" in (exported / "README.md").read_text()


def test_fine_tuning_starts_from_the_exported_weights(hlm, exported, catalogue, tmp_path):
    status, _, err = hlm(
        *("fit", "--config", EXPERIMENTS / "finetune_pc.yaml", *TINY),
        *(f"--data.dataset={catalogue}", f"--model.backbone.pretrained={exported}"),
        *("--trainer.limit_train_batches=1", "--model.optimizer.lr=1e-12"),
        *("--model.optimizer.weight_decay=0", "--trainer.default_root_dir=runs/pc"),
    )
    assert status == 0, err
    state = load_checkpoint(tmp_path / "runs/pc/version_0/checkpoints/last.ckpt")
    tuned = encoder_of(state).state_dict()
    source = AutoModel.from_pretrained(exported).state_dict()
    embeddings = "embeddings.word_embeddings.weight"
    assert torch.allclose(tuned[f"encoder.{embeddings}"], source[embeddings], atol=1e-6)


@pytest.mark.parametrize(("source", "word"), [("absent", "absent"), ("empty", "empty")])
def test_nothing_to_export(hlm, tmp_path, source, word):
    (tmp_path / "empty").mkdir()
    status, _, err = hlm("export", source, tmp_path / "encoder")
    assert status == 2
    assert word in err
    assert not (tmp_path / "encoder").exists()


def test_export_never_overwrites(hlm, run, exported):
    status, _, err = hlm("export", run, exported)
    assert status == 2
    assert "not empty" in err
