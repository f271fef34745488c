"""Vectors of label names against a loop over their tokens."""

import numpy as np
import pytest
import torch
from transformers import AlbertConfig, AlbertModel

from data_modules.wordpiece import train_wordpiece
from hierarchy_lm.backbones import Backbone, BackboneOptions, create_backbone
from hierarchy_lm.classification.names import name_vectors
from hierarchy_lm.vocabulary import load_vocabulary

NAMES = ["Rakes", "Gift Cards", "", "  ", "gift cards", "Größe & Co", "靴", "Cards Gift"]


@pytest.fixture(scope="module")
def tokenizer(shop) -> str:
    return str(train_wordpiece(shop, 500))


def slow(names: list[str], tokenizer: str, table: np.ndarray) -> np.ndarray:
    vocabulary = load_vocabulary(tokenizer)
    rows = []
    for name in names:
        ids = vocabulary.tokenizer.encode(name, add_special_tokens=False).ids
        rows.append(np.mean([table[token] for token in ids], axis=0) if ids else 0 * table[0])
    return np.array(rows)


def test_vectors_are_means_over_the_names_tokens(tokenizer):
    vocabulary = load_vocabulary(tokenizer)
    backbone = create_backbone(BackboneOptions("tiny"), vocabulary.size, vocabulary.special.pad)
    table = backbone.encoder.get_input_embeddings().weight
    found = name_vectors(NAMES, tokenizer, backbone)
    assert found.dtype == torch.float32
    assert not found.requires_grad
    expected = slow(NAMES, tokenizer, table.detach().numpy())
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-5, atol=1e-7)
    assert not found[2].any()
    assert not found[3].any()
    torch.testing.assert_close(found[1], found[4])  # lower-cased
    torch.testing.assert_close(found[1], found[7])  # in any order
    assert found[0].any()


def test_narrow_embeddings_and_bf16_weights(tokenizer):
    """ALBERT's word vectors are narrower than its states."""
    vocabulary = load_vocabulary(tokenizer)
    config = AlbertConfig(
        vocab_size=vocabulary.size,
        embedding_size=8,
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
    )
    backbone = Backbone(AlbertModel(config, add_pooling_layer=False).bfloat16())
    found = name_vectors(NAMES[:2], tokenizer, backbone)
    assert found.shape == (2, 8)
    table = backbone.encoder.get_input_embeddings().weight.detach().float().numpy()
    np.testing.assert_allclose(found.numpy(), slow(NAMES[:2], tokenizer, table), rtol=1e-5)
