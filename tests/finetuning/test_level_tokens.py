"""Level tokens in fine-tuning: what sees them, what is read of them, where they come from."""

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import save
from torch import Tensor

from hierarchy_lm.backbones import Backbone, BackboneOptions, create_backbone
from hierarchy_lm.backbones.level_tokens import (
    LevelTokens,
    find_level_tokens,
    level_tokens_of,
    save_level_tokens,
)
from hierarchy_lm.batches import TokenBatch
from hierarchy_lm.errors import UserError
from hierarchy_lm.finetuning.level_tokens import LevelTokenOptions, LevelTokenReader
from hierarchy_lm.training import check_room

SEP, E = 3, 32
IDS = [[2, 5, 6, 7, 3], [2, 8, 9, 3, 0]]
LENGTHS = [5, 4]


@pytest.fixture
def backbone() -> Backbone:
    torch.manual_seed(0)
    made = create_backbone(BackboneOptions("tiny"), 40, 0).eval()
    with torch.no_grad():  # else equal positions and zero biases would hide mistakes
        for parameter in made.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return made


def texts() -> TokenBatch:
    ids = torch.tensor(IDS)
    return TokenBatch(ids, torch.zeros_like(ids), (ids > 0).long())


def tokens(apart: bool) -> LevelTokens:
    """Three vectors, of which two are read; with [SEP] and segment 1 if they stand apart."""
    vectors = torch.randn(3, E, generator=torch.Generator().manual_seed(1))
    offsets = torch.tensor([0, 0, 1]) if apart else torch.arange(3)
    return LevelTokens(vectors, offsets, torch.tensor([0, 2]), int(apart), apart, apart)


def states_by_hand(backbone: Backbone, document: int, added: LevelTokens) -> Tensor:
    """Of one text and what stands behind it, all seeing all."""
    ids = IDS[document][: LENGTHS[document] - int(not added.keep_sep)]
    sequence = torch.cat([backbone.word_embeddings[ids], added.embeddings])
    positions = [*range(len(ids)), *(len(ids) + int(offset) for offset in added.offsets)]
    segments = [0] * len(ids) + [added.segment] * len(added.embeddings)
    output = backbone.encoder(
        inputs_embeds=sequence[None],
        position_ids=torch.tensor([positions]),
        token_type_ids=torch.tensor([segments]),
    )
    return output.last_hidden_state[0]


@pytest.mark.parametrize("apart", [False, True])
def test_cls_is_that_of_the_text_and_its_level_tokens(backbone, apart):
    added = tokens(apart)
    reader = LevelTokenReader(added, backbone, LevelTokenOptions("cls")).eval()
    for document, found in enumerate(reader(backbone, texts())):
        expected = states_by_hand(backbone, document, added)[0]
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    alone = backbone(texts())
    assert (reader(backbone, texts()) - alone).abs().max() > 1e-2


def test_the_second_transformer_reads_cls_and_one_output_per_level(backbone):
    added = tokens(apart=False)
    reader = LevelTokenReader(added, backbone, LevelTokenOptions("transformer")).eval()
    assert len(reader.summary.layers) == 2
    found = reader(backbone, texts())
    for document in range(2):
        states = states_by_hand(backbone, document, added)
        start = LENGTHS[document] - 1
        inputs = torch.stack([states[0], states[start], states[start + 2]])
        mixed = reader.summary.norm(inputs + reader.summary.positions)[None]
        for layer in reader.summary.layers:
            mixed = layer(mixed)
        torch.testing.assert_close(found[document], mixed[0, 0], rtol=1e-4, atol=1e-5)


def test_as_in_hbgl_the_text_sees_no_level_token_and_each_sees_text_and_itself(backbone):
    added = tokens(apart=True)
    options = LevelTokenOptions("transformer", attention="pretrain")
    reader = LevelTokenReader(added, backbone, options).eval()
    seen = []
    reader.summary.register_forward_pre_hook(lambda _module, inputs: seen.append(inputs[0]))
    reader(backbone, texts())
    torch.testing.assert_close(seen[0][:, 0], backbone(texts()), rtol=1e-4, atol=1e-5)
    for level, which in enumerate(added.read.tolist(), start=1):
        for document in range(2):
            single = added._replace(
                embeddings=added.embeddings[which : which + 1],
                offsets=added.offsets[which : which + 1],
                read=torch.tensor([0]),
            )
            other = LevelTokenReader(single, backbone, options).eval()
            other.summary.register_forward_pre_hook(lambda _module, inputs: seen.append(inputs[0]))
            other(backbone, texts())
            torch.testing.assert_close(
                seen[0][document, level], seen[-1][document, 1], rtol=1e-4, atol=1e-5
            )


def test_as_in_hpt_all_see_all_either_way(backbone):
    added = tokens(apart=False)
    found = []
    for attention in ("full", "pretrain"):
        torch.manual_seed(0)
        options = LevelTokenOptions("cls", attention=attention)
        found.append(LevelTokenReader(added, backbone, options).eval()(backbone, texts()))
    assert torch.equal(*found)


def test_level_tokens_that_nothing_would_depend_on_are_refused(backbone):
    options = LevelTokenOptions("cls", attention="pretrain")
    with pytest.raises(UserError, match="does not see them"):
        LevelTokenReader(tokens(apart=True), backbone, options)


def test_level_tokens_of_another_width_are_refused(backbone):
    other = tokens(apart=False)._replace(embeddings=torch.zeros(3, 8))
    with pytest.raises(UserError, match="their width is 8, that of the encoder's words 32"):
        LevelTokenReader(other, backbone, LevelTokenOptions("cls"))


@pytest.mark.parametrize(
    ("apart", "options"),
    [
        (False, LevelTokenOptions("cls")),
        (False, LevelTokenOptions("transformer")),
        (True, LevelTokenOptions("transformer", attention="pretrain", num_layers=1)),
    ],
)
def test_every_parameter_is_trained(backbone, apart, options):
    """DDP stops at one without gradient."""
    reader = LevelTokenReader(tokens(apart), backbone, options).train()
    reader(backbone.train(), texts()).square().sum().backward()
    named = [*reader.named_parameters(), *backbone.named_parameters()]
    assert [name for name, parameter in named if parameter.grad is None] == []
    assert reader.embeddings.grad.abs().sum(dim=1).min() > 0 or apart


def test_texts_need_room_for_them(backbone):
    limit = backbone.max_length
    for apart, room in ((False, 2), (True, 2)):  # one less without the text's [SEP]
        reader = LevelTokenReader(tokens(apart), backbone, LevelTokenOptions("transformer"))
        assert reader.positions == room
    data = SimpleNamespace(max_length=limit - 2)
    check_room(backbone, data, 2, "level tokens")
    data.max_length += 1
    with pytest.raises(UserError, match=f"the level tokens take 2 .*at most {limit - 2}$"):
        check_room(backbone, data, 2, "level tokens")


@pytest.mark.parametrize("apart", [False, True])
def test_they_come_with_a_run_and_with_its_export(tmp_path, apart):
    added = tokens(apart)
    run, export = tmp_path / "version_0", tmp_path / "export"
    (run / "checkpoints").mkdir(parents=True)
    (run / "tokenizer").mkdir()
    checkpoint = {"level_tokens": checkpoint_of(added)}
    torch.save(checkpoint, run / "checkpoints" / "best.ckpt")
    backbone = create_backbone(BackboneOptions("tiny"), 40, 0)
    backbone.save_pretrained(export)
    save_level_tokens(level_tokens_of(checkpoint), export)
    named = [{"init_from": str(run)}, {"init_from": str(export)}, {"pretrained": str(export)}]
    for options in named:
        found = find_level_tokens(BackboneOptions(**{"name": "tiny", **options}))
        assert found[3:] == added[3:]
        for one, other in zip(found[:3], added[:3], strict=True):
            assert torch.equal(one, other)


def checkpoint_of(added: LevelTokens) -> dict[str, object]:
    kept = added._asdict()
    apart = kept.pop("apart")
    return kept if apart else kept | {"attention": "full"}  # HBGL's is the one unnamed


def test_an_encoder_without_them_is_one_line(tmp_path):
    create_backbone(BackboneOptions("tiny"), 40, 0).save_pretrained(tmp_path)
    for options in (BackboneOptions("tiny"), BackboneOptions(init_from=str(tmp_path))):
        with pytest.raises(UserError, match="none come with the encoder of") as caught:
            find_level_tokens(options)
        assert "\n" not in str(caught.value)


WITHOUT_METADATA = save({name: torch.zeros(1) for name in ("embeddings", "offsets", "read")})


@pytest.mark.parametrize("content", [b"nothing", WITHOUT_METADATA])
def test_a_damaged_file_is_one_line(tmp_path: Path, content: bytes):
    create_backbone(BackboneOptions("tiny"), 40, 0).save_pretrained(tmp_path)
    (tmp_path / "level_tokens.safetensors").write_bytes(content)
    with pytest.raises(UserError, match="cannot read it") as caught:
        find_level_tokens(BackboneOptions(init_from=str(tmp_path)))
    assert "\n" not in str(caught.value)
