"""Encoders that start from an earlier stage: run folders, checkpoints, exported folders."""

import logging
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import BertConfig, BertForMaskedLM

from hierarchy_lm.backbones import (
    BackboneOptions,
    check_backbone,
    create_backbone,
    tokenizer_source,
)
from hierarchy_lm.errors import UserError

VOCABULARY = 40
TABLE = "backbone.encoder.embeddings.word_embeddings.weight"
BIAS = "backbone.encoder.encoder.layer.1.output.dense.bias"


@pytest.fixture
def encoder():
    torch.manual_seed(5)
    return create_backbone(BackboneOptions("tiny"), VOCABULARY, 0)


@pytest.fixture
def run(encoder, tmp_path) -> Path:
    """A run folder with a best and another last checkpoint."""
    folder = tmp_path / "version_0"
    (folder / "checkpoints").mkdir(parents=True)
    (folder / "tokenizer").mkdir()
    write(folder / "checkpoints" / "best.ckpt", encoder)
    torch.manual_seed(6)
    other = create_backbone(BackboneOptions("tiny"), VOCABULARY, 0)
    write(folder / "checkpoints" / "last.ckpt", other)
    return folder


def write(path: Path, encoder, **changes):
    state = {f"backbone.{name}": value for name, value in encoder.state_dict().items()}
    state |= {"head.dense.weight": torch.ones(2, 2), "head.bias": torch.ones(2)} | changes
    checkpoint = {
        "state_dict": {name: value for name, value in state.items() if value is not None},
        "encoder_config": encoder.config_dict,
        "model_class": "MLMPretrainer",
    }
    torch.save(checkpoint, path)


def start(source, **options):
    return create_backbone(BackboneOptions(init_from=str(source), **options), VOCABULARY, 0)


def assert_equal(found, expected):
    assert found.state_dict().keys() == expected.state_dict().keys()
    for name, value in expected.state_dict().items():
        assert torch.equal(found.state_dict()[name], value), name


def test_a_run_gives_its_best_encoder_bit_for_bit(run, encoder):
    assert_equal(start(run), encoder)


def test_a_checkpoint_gives_its_own(run, encoder):
    last = start(run / "checkpoints" / "last.ckpt")
    (run / "checkpoints" / "best.ckpt").unlink()
    assert_equal(start(run), last)
    assert not torch.equal(last.state_dict()[TABLE[9:]], encoder.state_dict()[TABLE[9:]])


def test_an_exported_folder_gives_its_weights(encoder, tmp_path):
    encoder.save_pretrained(tmp_path / "export")
    assert_equal(start(tmp_path / "export"), encoder)


def test_it_starts_in_train_mode_with_gradients(run):
    backbone = start(run)
    assert backbone.encoder.training
    assert all(parameter.requires_grad for parameter in backbone.parameters())


def test_name_and_vocabulary_size_say_nothing(run, encoder):
    options = {"name": "mini", "pretrained": "none", "vocab_size": 999}
    assert_equal(start(run, **options), encoder)


def test_surgery_comes_after_loading(run, encoder):
    backbone = start(run, num_layers=1, num_segments=3)
    assert (backbone.num_layers, backbone.num_segments) == (1, 3)
    for name, value in backbone.state_dict().items():
        if "token_type" not in name:
            assert torch.equal(value, encoder.state_dict()[name])


def test_the_tokenizer_comes_along(run, encoder, tmp_path):
    encoder.save_pretrained(tmp_path / "export")
    expected = {
        run: run / "tokenizer",
        run / "checkpoints" / "last.ckpt": run / "tokenizer",
        tmp_path / "export": tmp_path / "export",
    }
    for source, tokenizer in expected.items():
        options = BackboneOptions(init_from=str(source))
        check_backbone(options)
        assert tokenizer_source(options) == str(tokenizer)


def test_what_stays_behind_is_named_in_one_line_each(run, caplog):
    with caplog.at_level(logging.INFO):
        start(run)
    assert [record.getMessage() for record in caplog.records] == [
        f"{run / 'checkpoints' / 'best.ckpt'}: 'head' (2 weights) is not of the encoder and "
        "stays behind"
    ]


def test_the_parts_of_a_folder_that_stay_behind_are_named(tmp_path, caplog):
    shape = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = BertConfig(vocab_size=VOCABULARY, intermediate_size=8, **shape)
    BertForMaskedLM(config).save_pretrained(tmp_path)
    with caplog.at_level(logging.INFO):
        start(tmp_path)
    (message,) = [record.getMessage() for record in caplog.records]
    assert message.startswith(f"{tmp_path}: 'cls' (")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({BIAS: None}, r"encoder.layer.1.output.dense.bias missing$"),
        ({"backbone.encoder.extra": torch.ones(1)}, r"extra left over$"),
        ({TABLE: torch.ones(41, 32)}, r"word_embeddings.weight of another shape$"),
        ({BIAS: None, TABLE: torch.ones(1)}, r"dense.bias missing; .*weight of another shape$"),
    ],
)
def test_weights_that_do_not_fit_are_named(run, encoder, changes, message):
    write(run / "checkpoints" / "best.ckpt", encoder, **changes)
    with pytest.raises(UserError, match=message) as caught:
        start(run)
    assert "best.ckpt: the encoder's weights do not fit" in str(caught.value)


def test_a_weight_of_another_shape_in_a_folder_is_named(encoder, tmp_path):
    encoder.save_pretrained(tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    weights["embeddings.LayerNorm.bias"] = torch.ones(3)
    save_file(weights, tmp_path / "model.safetensors", {"format": "pt"})
    with pytest.raises(UserError, match=r"embeddings.LayerNorm.bias of another shape"):
        start(tmp_path)


def no_encoder(run):
    torch.save({"state_dict": {}}, run / "checkpoints" / "best.ckpt")


def no_checkpoint(file):
    file.write_text("hello")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda run: (run / "tokenizer").rmdir(), "no folder 'tokenizer' beside it"),
        (lambda run: [path.unlink() for path in (run / "checkpoints").iterdir()], "a run folder?"),
        (no_encoder, "no encoder in it"),
        (
            lambda run: no_checkpoint(run / "checkpoints" / "best.ckpt"),
            "cannot read the checkpoint",
        ),
        (lambda run: run.rename(run.with_name("moved")), "no '.*version_0'; give a run folder"),
    ],
)
def test_a_source_that_is_none_is_one_line(run, damage, message):
    damage(run)
    with pytest.raises(UserError, match=message) as caught:
        start(run)
    assert "\n" not in str(caught.value)


def test_a_tokenizer_of_other_size_is_refused(run):
    with pytest.raises(UserError, match="knows 41 ids, the weights only 40"):
        create_backbone(BackboneOptions(init_from=str(run)), 41, 0)


def test_two_places_for_weights_are_refused(run):
    with pytest.raises(ValueError, match="both name weights"):
        BackboneOptions("bert_base", "hub", init_from=str(run))
