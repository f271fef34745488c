"""MLM heads: found wherever an encoder comes from, kept by its export, else random and said so."""

import json
import logging

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import (
    AlbertConfig,
    AutoModel,
    AutoModelForMaskedLM,
    BertConfig,
    DistilBertConfig,
    ModernBertConfig,
    XLMRobertaConfig,
)

from hierarchy_lm.backbones import BackboneOptions, create_backbone, find_mlm_head
from hierarchy_lm.backbones.loading import new_encoder
from hierarchy_lm.backbones.mlm_heads import masked_lm, save_head_beside
from hierarchy_lm.batches import TokenBatch
from hierarchy_lm.errors import UserError
from hierarchy_lm.nn import MLMHead
from hierarchy_lm.pretraining.mlm_heads import create_mlm_head

V, K = 40, 8
SHAPE = {"vocab_size": V, "hidden_size": K, "num_hidden_layers": 1, "num_attention_heads": 2}
SHAPE |= {"intermediate_size": K, "pad_token_id": 0}
CONFIGS = {
    "bert": BertConfig(**SHAPE),
    "albert": AlbertConfig(**SHAPE, embedding_size=4, hidden_act="gelu"),
    "xlmr": XLMRobertaConfig(**SHAPE),
    "modernbert": ModernBertConfig(
        **SHAPE, bos_token_id=1, eos_token_id=2, cls_token_id=1, sep_token_id=2
    ),
    "distilbert": DistilBertConfig(vocab_size=V, dim=K, n_layers=1, n_heads=2, hidden_dim=K),
}
IN_LIBRARY_FORM = ["bert", "albert", "xlmr", "distilbert"]
TOKENS = torch.tensor([[5, 6, 7, 8], [9, 10, 11, 12]])


@pytest.fixture
def head():
    torch.manual_seed(3)
    made = MLMHead(K, K, V)
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter)
    return made


def of_width(width: int) -> MLMHead:
    torch.manual_seed(4)
    made = MLMHead(K, width, V)
    torch.nn.init.normal_(made.bias)
    torch.nn.init.normal_(made.norm.weight)
    return made


def assert_equal(found, expected):
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in expected)


@pytest.mark.parametrize("kind", IN_LIBRARY_FORM)
def test_an_encoder_saved_with_its_head_is_whole_for_all_who_load_it(kind, tmp_path):
    torch.manual_seed(5)
    encoder = new_encoder(CONFIGS[kind]).eval()
    own = of_width(4 if kind == "albert" else K).eval()
    masked_lm(encoder, own.state_dict()).save_pretrained(tmp_path)
    with torch.no_grad():
        states = encoder(TOKENS).last_hidden_state
        theirs = AutoModel.from_pretrained(tmp_path).eval()(TOKENS).last_hidden_state
        assert torch.equal(states, theirs)
        logits = AutoModelForMaskedLM.from_pretrained(tmp_path).eval()(TOKENS).logits
        assert torch.allclose(own(states, encoder.get_input_embeddings().weight), logits, atol=1e-4)
    for options in ({"init_from": str(tmp_path)}, {"name": str(tmp_path)}):
        chosen = BackboneOptions(**options)
        assert_equal(find_mlm_head(chosen).weights, own.state_dict())
    if kind != "distilbert":  # which has no layers that our surgery knows
        backbone = create_backbone(BackboneOptions(init_from=str(tmp_path)), V, 0).eval()
        batch = TokenBatch(TOKENS, torch.zeros_like(TOKENS), torch.ones_like(TOKENS))
        assert torch.allclose(backbone(batch), states[:, 0], atol=1e-6)


def test_what_the_library_has_no_place_for_goes_into_a_file_beside(head, tmp_path):
    encoder = new_encoder(CONFIGS["modernbert"])
    assert masked_lm(encoder, head.state_dict()) is None
    encoder.save_pretrained(tmp_path)
    save_head_beside(head.state_dict(), tmp_path)
    found = find_mlm_head(BackboneOptions(init_from=str(tmp_path)))
    assert_equal(found.weights, head.state_dict())


def test_biases_that_a_published_head_lacks_are_zero(tmp_path):
    AutoModelForMaskedLM.from_config(CONFIGS["modernbert"]).save_pretrained(tmp_path)
    found = find_mlm_head(BackboneOptions(init_from=str(tmp_path))).weights
    stored = load_file(tmp_path / "model.safetensors")
    assert torch.equal(found["dense.weight"], stored["head.dense.weight"])
    assert torch.equal(found["dense.bias"], torch.zeros(K))
    assert torch.equal(found["norm.bias"], torch.zeros(K))


def test_the_names_of_the_first_files_are_understood(tmp_path):
    model = AutoModelForMaskedLM.from_config(CONFIGS["bert"])
    model.save_pretrained(tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    norm = "cls.predictions.transform.LayerNorm"
    weights[f"{norm}.gamma"] = weights.pop(f"{norm}.weight") + 1
    weights[f"{norm}.beta"] = weights.pop(f"{norm}.bias") + 2
    save_file(weights, tmp_path / "model.safetensors", {"format": "pt"})
    found = find_mlm_head(BackboneOptions(init_from=str(tmp_path))).weights
    assert torch.equal(found["norm.weight"], torch.full((K,), 2.0))
    assert torch.equal(found["norm.bias"], torch.full((K,), 2.0))


def test_a_head_in_several_files_is_found(tmp_path):
    model = AutoModelForMaskedLM.from_config(CONFIGS["bert"])
    model.save_pretrained(tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    (tmp_path / "model.safetensors").unlink()
    parts = {name: f"part-{number % 2}.safetensors" for number, name in enumerate(sorted(weights))}
    for part in set(parts.values()):
        own = {name: value for name, value in weights.items() if parts[name] == part}
        save_file(own, tmp_path / part, {"format": "pt"})
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": parts}))
    found = find_mlm_head(BackboneOptions(init_from=str(tmp_path))).weights
    assert torch.equal(found["dense.weight"], weights["cls.predictions.transform.dense.weight"])
    assert found.keys() == MLMHead(K, K, V).state_dict().keys()


def test_a_run_of_masked_language_modelling_has_one_and_others_have_none(head, tmp_path):
    run = tmp_path / "version_0"
    (run / "checkpoints").mkdir(parents=True)
    (run / "tokenizer").mkdir()
    for prefix, expected in (("head.", head.state_dict()), ("structural.", {})):
        state = {prefix + name: value for name, value in head.state_dict().items()}
        torch.save({"state_dict": state}, run / "checkpoints" / "best.ckpt")
        assert_equal(find_mlm_head(BackboneOptions(init_from=str(run))).weights, expected)


def test_a_new_head_is_the_trained_one_or_a_random_one_and_the_log_tells_which(
    head, tmp_path, caplog
):
    encoder = new_encoder(CONFIGS["bert"])
    encoder.save_pretrained(tmp_path / "plain")
    masked_lm(encoder, head.state_dict()).save_pretrained(tmp_path / "whole")
    messages = {}
    for name in ("plain", "whole"):
        options = BackboneOptions(init_from=str(tmp_path / name))
        backbone = create_backbone(options, V, 0)
        with caplog.at_level(logging.INFO):
            caplog.clear()
            made = create_mlm_head(backbone, options)
        messages[name] = [record.getMessage() for record in caplog.records]
        equal = torch.equal(made.dense.weight, head.dense.weight)
        assert equal == (name == "whole")
    assert messages == {
        "plain": [f"{tmp_path / 'plain'}: no MLM head that fits; it starts from random weights"],
        "whole": [f"{tmp_path / 'whole'}: its MLM head is taken over"],
    }


def test_random_weights_have_no_head():
    assert find_mlm_head(BackboneOptions("tiny")).weights == {}


def test_a_damaged_file_is_one_line(tmp_path):
    new_encoder(CONFIGS["bert"]).save_pretrained(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"no weights")
    with pytest.raises(UserError, match="cannot read its MLM head") as caught:
        find_mlm_head(BackboneOptions(init_from=str(tmp_path)))
    assert "\n" not in str(caught.value)
