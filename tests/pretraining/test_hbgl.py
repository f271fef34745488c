"""HBGL's second stage: who sees whom, cached decoding, first vectors, what a run keeps."""

from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from hierarchy_lm.backbones import EmbeddedTokens
from hierarchy_lm.batches import SparseTargets
from hierarchy_lm.decoding import DecodeOptions
from hierarchy_lm.pretraining import HBGLPretrainer
from hierarchy_lm.pretraining.hbgl_blocks import behind, text_tokens
from hierarchy_lm.pretraining.hbgl_decoding import GreedyDecoder

from .conftest import MASK
from .hbgl_model import (
    CLOSED,
    LENGTHS,
    OFFSETS,
    TARGETS,
    TREE,
    C,
    L,
    T,
    assert_decoding_is_that_of_whole_passes,
    batch,
    make_hbgl,
)


@pytest.fixture
def make(tree_file: str, wordpiece_folder: Path):
    return partial(make_hbgl, tree_file, wordpiece_folder)


def test_the_tree_of_these_tests():
    assert TREE.level_offsets.tolist() == OFFSETS
    assert TREE.names[2] == "w7"
    assert TREE.parents[[3, 5, 6]].tolist() == [0, 2, 3]


def joint(model: HBGLPretrainer, targets: SparseTargets = TARGETS) -> EmbeddedTokens:
    text = text_tokens(model.backbone, batch().tokens)
    return behind(text, model._labels(text, targets))


def test_who_attends_to_whom(make):
    """Text, then the true blocks 1 to 3, then the masked blocks 1 to 4."""
    sequence = joint(make())
    for document, length in enumerate(LENGTHS):
        for row in range(T + 2 * L + 1):
            expected = set(range(length))
            if T <= row < T + L:
                expected |= set(range(T, row + 1))
            elif row >= T + L:
                expected |= {*range(T, row - L), row}
            found = torch.nonzero(sequence.mask[document, row])[:, 0].tolist()
            assert set(found) == expected, (document, row)


def test_true_and_masked_blocks_share_positions_that_follow_the_text(make):
    sequence = joint(make())
    for document, length in enumerate(LENGTHS):
        assert sequence.positions[document, :T].tolist() == list(range(T))
        blocks = sequence.positions[document, T:].tolist()
        assert blocks == [length, length + 1, length + 2, *range(length, length + 4)]
    assert sequence.segments[:, T:].unique().tolist() == [1]
    assert sequence.segments[:, :T].unique().tolist() == [0]


def test_blocks_hold_sums_of_label_vectors_and_masks(make):
    model = make()
    blocks = joint(model).embeddings[:, T:]
    for document in range(3):
        for level in range(L):
            nodes = [n for d, n in CLOSED if d == document and TREE.levels[n] == level + 1]
            expected = model.labels.weight[nodes].sum(dim=0)
            torch.testing.assert_close(blocks[document, level], expected)
    assert (blocks[:, L:] == model.backbone.word_embeddings[MASK]).all()


def test_text_never_sees_labels_and_masked_blocks_only_those_above(make):
    model = make()
    other = SparseTargets(torch.tensor([0, 0, 0, 1, 2]), torch.tensor([0, 4, 6, 2, 1]))
    first, second = (model.backbone.encode(joint(model, given)) for given in (TARGETS, other))
    assert torch.equal(first[:, :T], second[:, :T])
    alone = model.backbone(batch().tokens)
    torch.testing.assert_close(first[:, 0], alone, atol=1e-6, rtol=1e-5)
    differs = (first[0, -L - 1 :] - second[0, -L - 1 :]).abs().amax(dim=1) > 1e-6
    assert differs.tolist() == [False, True, True, True]  # {0, 2} against {0} on level 1


@pytest.mark.parametrize("step", range(L + 1))
def test_a_masked_block_reaches_nothing_but_itself(make, step):
    model = make()
    sequence = joint(model)
    before = model.backbone.encode(sequence)
    changed = sequence.embeddings.clone()
    changed[:, T + L + step] += 1.0
    after = model.backbone.encode(sequence._replace(embeddings=changed))
    differs = (before - after).abs().amax(dim=(0, 2)) > 0
    assert torch.nonzero(differs)[:, 0].tolist() == [T + L + step]


@pytest.mark.parametrize("restrict", [True, False])
def test_cached_decoding_gives_what_whole_passes_give(make, restrict):
    assert_decoding_is_that_of_whole_passes(make(spread=0.2, restrict_level=restrict))


def test_vectors_start_from_the_names_of_the_nodes(make, wordpiece):
    def first(init: str) -> Tensor:
        return make(label_init=init, label_length=0.0).labels.weight

    words = make().backbone.word_embeddings
    pieces = [words[wordpiece.tokenizer.token_to_id(w)] for w in ("w10", "##p1", "##p2")]
    root = TREE.node_of("w10p1p2")
    three = torch.stack(pieces)
    torch.testing.assert_close(first("mean")[root], three.mean(dim=0))
    torch.testing.assert_close(first("sum")[root], three.sum(dim=0))
    drawn = first("random")
    assert drawn.std().item() == pytest.approx(0.02, rel=0.2)
    assert not torch.equal(drawn, first("mean"))


def test_short_first_vectors_are_lengthened_alike_and_long_ones_left(make):
    words = make(label_length=0.0).labels.weight.detach()
    lengths = words.norm(dim=1)
    assert lengths.mean() < 0.2  # N(0, 0.02) in 32 dimensions
    found = make().labels.weight
    torch.testing.assert_close(found, words / lengths.mean())
    assert torch.equal(make(label_length=float(lengths.mean()) / 2).labels.weight, words)


def test_probabilities_of_the_nodes_that_compete_start_with_a_sum_of_one(make):
    assert torch.sigmoid(make().labels.bias).tolist() == pytest.approx([1 / 3] * 9)
    everything = make(restrict_level=False).labels.bias
    assert torch.sigmoid(everything).tolist() == pytest.approx([1 / 9] * 9)
    assert make(bias_init="zero").labels.bias.abs().max() == 0


def test_official_rule_and_constraints_reach_the_decoder(make, monkeypatch):
    seen: list[GreedyDecoder] = []
    call = GreedyDecoder.__call__
    monkeypatch.setattr(
        GreedyDecoder, "__call__", lambda own, *args: seen.append(own) or call(own, *args)
    )
    options = {"stop_rule": "official", "decode": DecodeOptions("parent"), "restrict_level": False}
    make(**options).predict_step(batch(), 0)
    (decoder,) = seen
    assert (decoder.rule, decoder.options.constraint, decoder.restrict_level) == (
        "official", "parent", False
    )  # fmt: skip


class Data:
    max_length, num_segments, num_labels = 509, 1, C


class OneStep:
    """As much of a trainer as a checkpoint asks for."""

    datamodule = Data()


def test_a_checkpoint_says_what_stands_behind_a_text(make):
    model = make()
    model._trainer = OneStep()
    checkpoint: dict[str, Any] = {}
    model.on_save_checkpoint(checkpoint)
    tokens = checkpoint["level_tokens"]
    assert tokens["embeddings"].shape == (L, model.backbone.word_embeddings.shape[1])
    assert (tokens["embeddings"] == model.backbone.word_embeddings[MASK]).all()
    assert tokens["offsets"].tolist() == tokens["read"].tolist() == [0, 1, 2]
    assert (tokens["segment"], tokens["keep_sep"]) == (1, True)
