"""What a backbone computes, on shrunken versions of every kind of architecture."""

import copy
from functools import partial

import pytest
import torch
from transformers import (
    AlbertConfig,
    AutoModel,
    BertConfig,
    ModernBertConfig,
    PreTrainedConfig,
    XLMRobertaConfig,
)

from hierarchy_lm.backbones import Backbone, backbone_from_config
from hierarchy_lm.backbones.loading import new_encoder
from hierarchy_lm.backbones.surgery import layer_modules
from hierarchy_lm.batches import TokenBatch
from hierarchy_lm.errors import UserError

PAD = 1
SMALL = {
    "vocab_size": 50,
    "hidden_size": 16,
    "num_attention_heads": 2,
    "num_hidden_layers": 3,
    "intermediate_size": 32,
    "pad_token_id": PAD,
    "max_position_embeddings": 20,
}
CONFIGS: dict[str, PreTrainedConfig] = {
    "bert": BertConfig(**SMALL),
    "albert": AlbertConfig(**SMALL, embedding_size=8, hidden_dropout_prob=0.1),
    "xlm-roberta": XLMRobertaConfig(**SMALL, type_vocab_size=1),
    "modernbert": ModernBertConfig(**SMALL, mlp_dropout=0.1, local_attention=4),
}
every_kind = pytest.mark.parametrize("kind", list(CONFIGS))


def build(kind: str, gradient_checkpointing: bool = False) -> Backbone:
    torch.manual_seed(0)
    config = copy.deepcopy(CONFIGS[kind])
    config.initializer_range = 0.5  # large, so that every input shows in the output
    return Backbone(new_encoder(config), gradient_checkpointing)


def documents(lengths: list[int], padded_to: int) -> TokenBatch:
    generator = torch.Generator().manual_seed(3)
    ids = torch.full((len(lengths), padded_to), PAD)
    mask = torch.zeros(len(lengths), padded_to, dtype=torch.int64)
    for row, length in enumerate(lengths):
        ids[row, :length] = torch.randint(5, 50, (12,), generator=generator)[:length]
        mask[row, :length] = 1
    return TokenBatch(ids, torch.zeros_like(ids), mask)


@every_kind
def test_h_cls_is_the_last_hidden_state_at_position_0(kind):
    backbone = build(kind).eval()
    tokens = documents([7, 4], 7)
    expected = backbone.encoder(
        input_ids=tokens.input_ids, attention_mask=tokens.attention_mask
    ).last_hidden_state
    assert torch.equal(backbone(tokens), expected[:, 0])
    assert torch.equal(backbone.hidden_states(tokens), expected)
    assert backbone(tokens).shape == (2, backbone.hidden_size)


@every_kind
def test_padding_changes_nothing(kind):
    backbone = build(kind).double().eval()  # weights this large amplify what float32 rounds away
    lengths = [9, 3, 6]
    alone = [backbone(documents(lengths, 12 if n else 9)) for n in (0, 1)]
    close = partial(torch.testing.assert_close, rtol=1e-5, atol=1e-5)  # some rotate in float32
    close(alone[0], alone[1])
    batch = documents(lengths, 9)
    for row, length in enumerate(lengths):
        single = TokenBatch(*(part[row : row + 1, :length] for part in batch))
        close(backbone(single)[0], alone[0][row])


@every_kind
def test_all_layer_cls_equals_all_hidden_states(kind):
    backbone = build(kind).eval()
    tokens = documents([7, 4], 7)
    expected = backbone.encoder(
        input_ids=tokens.input_ids, attention_mask=tokens.attention_mask, output_hidden_states=True
    ).hidden_states[1:]
    found = backbone.all_layer_cls(tokens)
    assert found.shape == (2, backbone.num_layers, backbone.hidden_size)
    assert torch.equal(found, torch.stack([states[:, 0] for states in expected], dim=1))
    assert torch.equal(found[:, -1], backbone(tokens))


@every_kind
def test_all_layer_cls_leaves_no_hook_behind(kind):
    backbone = build(kind)
    backbone.all_layer_cls(documents([7, 4], 7))
    assert [module for module in backbone.modules() if module._forward_hooks] == []


def test_all_layer_cls_does_not_keep_other_tokens():
    with torch.no_grad():
        found = build("bert").all_layer_cls(documents([12, 12], 12))
    assert found.untyped_storage().nbytes() == 2 * 3 * 16 * 4


def gradients(backbone: Backbone, all_layers: bool) -> dict[str, torch.Tensor]:
    torch.manual_seed(5)  # of dropout
    tokens = documents([9, 3, 6], 9)
    output = backbone.all_layer_cls(tokens) if all_layers else backbone(tokens)
    output.pow(3).sum().backward()
    return {name: p.grad for name, p in backbone.named_parameters() if p.grad is not None}


@every_kind
@pytest.mark.parametrize("all_layers", [False, True])
def test_gradient_checkpointing_gives_equal_gradients(kind, all_layers):
    plain = gradients(build(kind), all_layers)
    recomputed = gradients(build(kind, gradient_checkpointing=True), all_layers)
    assert plain.keys() == recomputed.keys()
    for name, gradient in plain.items():
        torch.testing.assert_close(recomputed[name], gradient, rtol=1e-5, atol=1e-6, msg=name)


@every_kind
def test_gradient_checkpointing_runs_each_layer_again(kind):
    calls = []
    for again in (False, True):
        backbone = build(kind, gradient_checkpointing=again)
        layer = layer_modules(backbone.encoder)[0]
        first = next(module for module in layer.modules() if isinstance(module, torch.nn.Linear))
        noted: list[None] = []
        first.register_forward_hook(lambda *_, noted=noted: noted.append(None))
        backbone(documents([5], 5)).sum().backward()
        calls.append(len(noted))
    assert calls[1] == 2 * calls[0] > 0


@every_kind
def test_every_parameter_gets_a_gradient(kind):
    """DDP stops at a parameter without one: there must be no pooler."""
    backbone = build(kind)
    backbone(documents([9, 3], 9)).pow(2).sum().backward()
    assert [name for name, p in backbone.named_parameters() if p.grad is None] == []


@every_kind
def test_dropout_is_active_after_building(kind):
    backbone = build(kind)
    tokens = documents([7, 4], 7)
    assert all(module.training for module in backbone.modules())
    assert not torch.equal(backbone(tokens), backbone(tokens))


@every_kind
def test_bfloat16_training_on_a_cpu_agrees_with_float32(kind):
    """There the attention kernel is another one; evaluation goes back to the fused one."""
    backbone = build(kind)
    for module in backbone.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    tokens = documents([9, 3, 6], 9)
    full = backbone(tokens)
    with torch.autocast("cpu", torch.bfloat16):
        half = backbone(tokens)
        assert backbone.encoder.config._attn_implementation == "eager"
        backbone.eval()
        backbone(tokens)
        assert backbone.encoder.config._attn_implementation == "sdpa"
    similarity = torch.nn.functional.cosine_similarity(full, half.float())
    assert similarity.min() > 0.98


@every_kind
def test_a_checkpoints_plain_config_rebuilds_the_architecture(kind):
    original = build(kind).eval()
    rebuilt = backbone_from_config(original.config_dict).eval()
    rebuilt.load_state_dict(original.state_dict())
    tokens = documents([7, 4], 7)
    assert torch.equal(rebuilt(tokens), original(tokens))
    assert rebuilt.num_segments == original.num_segments


@every_kind
def test_saved_folder_gives_the_same_cls_to_auto_model(kind, tmp_path):
    backbone = build(kind).eval()
    backbone.save_pretrained(tmp_path)
    assert (tmp_path / "model.safetensors").is_file()
    loaded = AutoModel.from_pretrained(tmp_path).eval()
    tokens = documents([7, 4], 7)
    states = loaded(input_ids=tokens.input_ids, attention_mask=tokens.attention_mask)
    torch.testing.assert_close(states.last_hidden_state[:, 0], backbone(tokens), rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("kind", "max_length"), [("bert", 20), ("albert", 20), ("xlm-roberta", 18), ("modernbert", 20)]
)
def test_longest_text_is_known_and_a_longer_one_refused(kind, max_length):
    backbone = build(kind).eval()
    assert backbone.max_length == max_length
    ids = torch.full((1, max_length + 1), 7)
    tokens = TokenBatch(ids, torch.zeros_like(ids), torch.ones_like(ids))
    assert backbone(TokenBatch(*(part[:, :-1] for part in tokens))).isfinite().all()
    with pytest.raises(UserError, match=f"at most {max_length} tokens.*text.max_length"):
        backbone(tokens)


def test_segments_change_the_output_where_the_architecture_knows_them():
    tokens = documents([7, 4], 7)
    other = tokens._replace(token_type_ids=torch.ones_like(tokens.input_ids))
    bert, modern = build("bert").eval(), build("modernbert").eval()
    assert not torch.equal(bert(tokens), bert(other))
    assert modern.num_segments == 0
    assert torch.equal(modern(tokens), modern(other))
