"""HBGL on an encoder whose word embeddings are narrower than its layers, as ALBERT's are."""

from functools import partial
from pathlib import Path

import pytest
import torch

from hierarchy_lm.backbones import BackboneOptions
from hierarchy_lm.pretraining.hbgl_labels import HBGLLabelOptions, LabelStage, Ranks

from .conftest import CLS, MASK, kept_level_tokens
from .hbgl_model import TREE, C, L, assert_decoding_is_that_of_whole_passes, batch, make_hbgl

K, E = 32, 16


@pytest.fixture
def make(tree_file: str, wordpiece_folder: Path, narrow: BackboneOptions):
    return partial(make_hbgl, tree_file, wordpiece_folder, backbone=narrow)


@pytest.mark.parametrize("init", ["mean", "random"])
def test_nodes_are_in_the_space_of_the_words(make, init):
    model = make(label_init=init)
    assert model.backbone.hidden_size == K
    assert model.backbone.word_embeddings.shape == (40, E)
    assert model.labels.weight.shape == (C, E)
    assert model.mlm_head.dense.weight.shape == (E, K)


def test_level_tokens_of_a_checkpoint_are_words(make):
    model = make()
    mask = model.backbone.word_embeddings[MASK]
    assert kept_level_tokens(model)["embeddings"].tolist() == [mask.tolist()] * L


@pytest.mark.parametrize("restrict", [True, False])
def test_it_learns_every_parameter(make, restrict):
    model = make(restrict_level=restrict).train()
    loss = model.loss(batch())
    loss.backward()
    assert loss.isfinite()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name


@pytest.mark.parametrize("restrict", [True, False])
def test_cached_decoding_gives_what_whole_passes_give(make, restrict):
    """ALBERT's layers are one module, whose keys and values are told apart by the calls."""
    assert_decoding_is_that_of_whole_passes(make(spread=0.2, restrict_level=restrict))


def test_it_evaluates_and_predicts(make):
    model = make(spread=0.2)
    with torch.no_grad():
        model.labels.bias += 1.5
        loss, predicted = model.evaluate(batch())
        found = model.predict_step(batch(), 0)
    assert loss.isfinite()
    assert found["labels"].tolist() == predicted.labels.tolist()
    assert len(found["labels"]) > 3
    assert ((found["scores"] > 0.5) & (found["scores"] < 1)).all()


def test_the_label_stage_learns_vectors_of_the_words_width(make):
    model = make()
    options = HBGLLabelOptions(passes=40.0, subtrees=4, mask_ratio=0.5, lr=1e-2)
    specials = (CLS, MASK)
    stage = LabelStage(model.backbone, model.mlm_head, specials, TREE, options, seed=0)
    losses: list[float] = []
    before = model.labels.weight.detach().clone()
    learnt = stage.learn(
        before, Ranks(0, 1, lambda part: part), lambda step, loss: losses.append(loss)
    )
    assert learnt.shape == (C, E)
    assert learnt.isfinite().all()
    assert (learnt != before).all(dim=1).all()
    assert sum(losses[-3:]) < sum(losses[:3])
