"""Encoding sequences of embeddings gives what the library gives for the same text."""

from itertools import product

import pytest
import torch
from torch import Tensor
from transformers import AlbertConfig, BertConfig, ModernBertConfig, XLMRobertaConfig

from hierarchy_lm.backbones import Backbone, EmbeddedTokens
from hierarchy_lm.backbones.loading import new_encoder
from hierarchy_lm.batches import TokenBatch
from hierarchy_lm.errors import UserError

SIZES = {
    "vocab_size": 50,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "max_position_embeddings": 12,
    "pad_token_id": 0,
}
CONFIGS = {
    "bert": BertConfig(**SIZES),
    "albert": AlbertConfig(**SIZES, embedding_size=8),
    "xlmr": XLMRobertaConfig(**SIZES, type_vocab_size=1),
    "modernbert": ModernBertConfig(
        **SIZES, cls_token_id=1, sep_token_id=2, bos_token_id=1, eos_token_id=2
    ),
}


GLOBAL = [name for name in CONFIGS if name != "modernbert"]
"""Those whose layers all attend everywhere, as rows of a mask of their own demand."""


@pytest.fixture(params=CONFIGS)
def backbone(request: pytest.FixtureRequest) -> Backbone:
    torch.manual_seed(0)
    made = Backbone(new_encoder(CONFIGS[request.param])).eval()
    with torch.no_grad():  # else padding's zero row and equal positions would hide mistakes
        for parameter in made.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return made


def texts() -> TokenBatch:
    ids = torch.tensor([[1, 5, 6, 7, 2], [1, 8, 2, 0, 0]])
    return TokenBatch(ids, torch.zeros_like(ids), (ids > 0).long())


def embedded(backbone: Backbone, tokens: TokenBatch, mask: Tensor) -> EmbeddedTokens:
    length = tokens.input_ids.shape[1]
    return EmbeddedTokens(
        backbone.word_embeddings[tokens.input_ids],
        mask,
        torch.arange(length)[None],
        tokens.token_type_ids,
    )


def assert_states_of_the_text(backbone: Backbone, attention: str, rows_of_its_own: bool) -> None:
    tokens = texts()
    backbone.encoder.set_attn_implementation(attention)
    backbone._fused_attention = attention
    mask = tokens.attention_mask.bool()
    given = mask[:, None].expand(-1, 5, -1) if rows_of_its_own else mask
    states = backbone.encode(embedded(backbone, tokens, given))
    expected = backbone.hidden_states(tokens)
    torch.testing.assert_close(states[mask], expected[mask], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_words_alone_give_the_states_of_the_text(backbone: Backbone, attention: str) -> None:
    assert_states_of_the_text(backbone, attention, rows_of_its_own=False)


@pytest.mark.parametrize("backbone", GLOBAL, indirect=True)
@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_a_row_of_its_own_for_each_query_changes_nothing(
    backbone: Backbone, attention: str
) -> None:
    assert_states_of_the_text(backbone, attention, rows_of_its_own=True)


@pytest.mark.parametrize("backbone", ["modernbert"], indirect=True)
def test_rows_of_a_mask_are_refused_where_layers_see_a_window_alone(backbone: Backbone) -> None:
    """The library would take them in place of the windows, and so change the text's states."""
    tokens = texts()
    rows = tokens.attention_mask.bool()[:, None].expand(-1, 5, -1)
    with pytest.raises(UserError, match="'modernbert' has layers with local attention"):
        backbone.encode(embedded(backbone, tokens, rows))
    backbone.encoder.config.layer_types = ["full_attention"] * 2
    assert not backbone.attends_locally


@pytest.mark.parametrize("backbone", GLOBAL, indirect=True)
@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_a_token_depends_on_what_its_row_of_the_mask_allows(
    backbone: Backbone, attention: str
) -> None:
    backbone._fused_attention = attention
    tokens = texts()
    causal = torch.ones(5, 5, dtype=torch.bool).tril().expand(2, -1, -1)
    inputs = embedded(backbone, tokens, causal)
    before = backbone.encode(inputs)
    for changed, seen in product(range(5), range(5)):
        other = inputs.embeddings.clone()
        other[:, changed] += 1.0
        after = backbone.encode(inputs._replace(embeddings=other))
        assert torch.equal(after[:, seen], before[:, seen]) == (seen < changed)


@pytest.mark.parametrize("backbone", GLOBAL, indirect=True)
def test_blocks_may_share_positions_beyond_the_number_of_tokens(backbone: Backbone) -> None:
    length = backbone.max_length
    torch.manual_seed(1)
    words = torch.randn(1, 2 * length, backbone.word_embeddings.shape[1])
    blocks = torch.arange(2).repeat_interleave(length)
    apart = (blocks[:, None] == blocks).unsqueeze(0)
    positions = torch.arange(length).repeat(2)[None]
    both = backbone.encode(EmbeddedTokens(words, apart, positions, torch.zeros_like(positions)))
    for block in range(2):
        part = slice(block * length, (block + 1) * length)
        alone = EmbeddedTokens(
            words[:, part],
            torch.ones(1, length, dtype=torch.bool),
            positions[:, :length],
            torch.zeros(1, length, dtype=torch.long),
        )
        torch.testing.assert_close(both[:, part], backbone.encode(alone), rtol=1e-4, atol=1e-5)


def test_positions_beyond_the_encoders_are_refused(backbone: Backbone) -> None:
    length = backbone.max_length + 1
    inputs = EmbeddedTokens(
        torch.zeros(1, length, backbone.word_embeddings.shape[1]),
        torch.ones(1, length, dtype=torch.bool),
        torch.arange(length)[None],
        torch.zeros(1, length, dtype=torch.long),
    )
    with pytest.raises(UserError, match=f"at most {backbone.max_length} tokens"):
        backbone.encode(inputs)
