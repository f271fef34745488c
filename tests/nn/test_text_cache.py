"""Tokens read behind a cached text have the states that they have in one joint pass."""

import gc
import weakref

import pytest
import torch
from torch import Tensor
from transformers import AlbertConfig, BertConfig, XLMRobertaConfig

from hierarchy_lm.backbones import Backbone, EmbeddedTokens
from hierarchy_lm.backbones.loading import new_encoder
from hierarchy_lm.batches import TokenBatch
from hierarchy_lm.errors import UserError
from hierarchy_lm.nn.text_cache import TextCache

SIZES = {
    "vocab_size": 50,
    "hidden_size": 16,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "max_position_embeddings": 20,
    "pad_token_id": 0,
}
CONFIGS = {
    "bert": BertConfig(**SIZES),
    "albert": AlbertConfig(**SIZES, embedding_size=8),
    "albert in groups": AlbertConfig(**SIZES, embedding_size=8, num_hidden_groups=3),
    "xlmr": XLMRobertaConfig(**SIZES, type_vocab_size=2),
}
B, T, MORE = 3, 5, 4  # a text of T tokens, then MORE


@pytest.fixture(params=CONFIGS)
def backbone(request: pytest.FixtureRequest) -> Backbone:
    torch.manual_seed(0)
    made = Backbone(new_encoder(CONFIGS[request.param])).eval()
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return made


def sequence(backbone: Backbone) -> EmbeddedTokens:
    """The text sees itself, each later token the text and the later ones up to itself."""
    torch.manual_seed(1)
    mask = torch.ones(B, T + MORE, T + MORE, dtype=torch.bool).tril()
    mask[:, :T, :T] = True
    mask[1, :, T - 1] = False  # padding
    positions = torch.arange(T + MORE).repeat(B, 1)
    positions[1, T:] -= 1
    embeddings = torch.randn(B, T + MORE, backbone.word_embeddings.shape[1])
    segments = (torch.arange(T + MORE) >= T).long().repeat(B, 1)
    return EmbeddedTokens(embeddings, mask, positions, segments)


def part(whole: EmbeddedTokens, start: int, end: int, columns: list[int]) -> EmbeddedTokens:
    return EmbeddedTokens(
        whole.embeddings[:, start:end],
        whole.mask[:, start:end][:, :, columns],
        whole.positions[:, start:end],
        whole.segments[:, start:end],
    )


def in_pieces(backbone: Backbone, whole: EmbeddedTokens) -> Tensor:
    """The text; two tokens that stay; two, of which one stays and one would have been last."""
    cache = TextCache(backbone)
    pieces = [cache.read(part(whole, 0, T, list(range(T))), keep=T)]
    pieces.append(cache.read(part(whole, T, T + 2, list(range(T + 2))), keep=2))
    pieces.append(cache.read(part(whole, T + 2, T + 4, list(range(T + 4))), keep=1))
    assert cache.length == T + 3
    return torch.cat(pieces, dim=1)


def test_pieces_are_the_whole(backbone):
    whole = sequence(backbone)
    with torch.no_grad():
        expected = backbone.encode(whole)
    torch.testing.assert_close(in_pieces(backbone, whole), expected, atol=1e-5, rtol=1e-5)


def test_what_is_not_kept_is_not_seen_again(backbone):
    """Two tokens that are asked one after the other, each on the text alone."""
    whole = sequence(backbone)
    cache = TextCache(backbone)
    cache.read(part(whole, 0, T, list(range(T))), keep=T)
    own = [*range(T), T]
    found = cache.read(part(whole, T, T + 1, own), keep=0)
    again = cache.read(part(whole, T, T + 1, own), keep=0)
    torch.testing.assert_close(found, again)
    assert cache.length == T


def test_the_encoder_attends_as_before_afterwards(backbone):
    ids = torch.tensor([[1, 5, 6, 7, 2], [1, 8, 2, 0, 0]])
    tokens = TokenBatch(ids, torch.zeros_like(ids), (ids > 0).long())
    before, how = backbone(tokens), backbone.encoder.config._attn_implementation
    in_pieces(backbone, sequence(backbone))
    assert backbone.encoder.config._attn_implementation == how
    assert torch.equal(backbone(tokens), before)


def test_nothing_holds_a_cache_that_is_done_with(backbone):
    """Of a large batch it is as large as the activations."""
    cache = TextCache(backbone)
    cache.read(part(sequence(backbone), 0, T, list(range(T))), keep=T)
    alive = weakref.ref(cache)
    del cache
    gc.collect()
    assert alive() is None


def test_nothing_holds_a_cache_whose_text_was_too_long(backbone):
    cache = TextCache(backbone)
    text = part(sequence(backbone), 0, T, list(range(T)))
    long = EmbeddedTokens(
        text.embeddings.repeat(1, 5, 1),
        text.mask.repeat(1, 5, 5),
        torch.arange(5 * T).repeat(B, 1),
        text.segments.repeat(1, 5),
    )
    with pytest.raises(UserError, match="at most"):
        cache.read(long, keep=5 * T)
    alive = weakref.ref(cache)
    del cache
    gc.collect()
    assert alive() is None
