"""HPT on an encoder whose word embeddings are narrower than its layers, as ALBERT's are."""

from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.special import erf

from hierarchy_lm.backbones import BackboneOptions
from hierarchy_lm.batches import ProductBatch
from hierarchy_lm.pretraining.hpt import HPTPretrainer

from .conftest import SEP, MakeDocuments, fake_trainer, kept_level_tokens
from .hpt_model import SIZES, TREE, make_batch, make_hpt

K, E = 32, 16
DEPTH = len(SIZES)


@pytest.fixture
def make(tree_file: str, wordpiece_folder: Path, narrow: BackboneOptions):
    return partial(make_hpt, tree_file, wordpiece_folder, narrow)


@pytest.fixture
def batch(make_documents: MakeDocuments) -> ProductBatch:
    return make_batch(make_documents)


@pytest.mark.parametrize("edges", ["bidirectional", "official"])
def test_nodes_and_prompts_are_in_the_space_of_the_words(make, edges):
    model = make(edges=edges)
    assert model.backbone.hidden_size == K
    assert model.backbone.word_embeddings.shape == (40, E)
    assert model.labels.weight.shape == (TREE.num_nodes, E)
    assert model.prompts().shape == model.graph.levels.shape == (DEPTH, E)
    assert model.pred.shape == (E,)
    assert model.tail().shape == (2 * DEPTH + 1, E)
    assert model.mlm_head.dense.weight.shape == (E, K)


def test_level_tokens_of_a_checkpoint_are_words(make):
    assert kept_level_tokens(make())["embeddings"].shape == (2 * DEPTH + 1, E)


@torch.no_grad()
def states_of_pred(model: HPTPretrainer, batch: ProductBatch, document: int) -> np.ndarray:
    """Of one document without padding, by the library's encoder alone, ``(L, K)``."""
    table = model.backbone.word_embeddings
    length = int(batch.tokens.attention_mask[document].sum()) - 1  # the official way, without [SEP]
    words = [table[i] for i in batch.tokens.input_ids[document, :length]]
    for prompt in model.prompts():
        words += [prompt, model.pred]
    words.append(table[SEP])
    states = model.backbone.encoder(inputs_embeds=torch.stack(words)[None]).last_hidden_state[0]
    return states[length + 1 : -1 : 2].numpy()


def test_scores_are_products_of_transformed_states_and_node_vectors(make, batch):
    model = make()
    weights = {name: value.numpy() for name, value in model.state_dict().items()}
    with torch.no_grad():
        logits = model(batch).numpy()
    for document in range(3):
        states = states_of_pred(model, batch, document)
        assert states.shape == (DEPTH, K)
        hidden = states @ weights["mlm_head.dense.weight"].T + weights["mlm_head.dense.bias"]
        hidden = hidden * (1 + erf(hidden / np.sqrt(2))) / 2
        centred = hidden - hidden.mean(axis=1, keepdims=True)
        normed = centred / np.sqrt((centred**2).mean(axis=1, keepdims=True) + 1e-12)
        transformed = normed * weights["mlm_head.norm.weight"] + weights["mlm_head.norm.bias"]
        assert transformed.shape == (DEPTH, E)
        for node in range(TREE.num_nodes):
            vector, bias = weights["labels.weight"][node], weights["labels.bias"][node]
            expected = transformed[TREE.levels[node] - 1] @ vector + bias
            assert logits[document, node] == pytest.approx(expected, rel=1e-4, abs=1e-4)


@pytest.mark.filterwarnings("ignore:You are trying to `self.log:UserWarning")
@pytest.mark.parametrize(
    "options",
    [{}, {"edges": "official"}, {"sample_per_level": 1}, {"joint_mlm": "words"},
     {"joint_mlm": "all"}],
)  # fmt: skip
def test_it_learns_every_parameter(make, batch, options):
    model = make(**options).train()
    model._trainer = fake_trainer()
    loss = model.training_step(batch, 0)
    loss.backward()
    assert loss.isfinite()
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            assert parameter.grad is not None, name
            assert parameter.grad.isfinite().all(), name


def test_it_evaluates_and_predicts(make, batch):
    model = make()
    with torch.no_grad():
        logits = model(batch)
        loss, predicted = model.evaluate(batch)
        found = model.predict_step(batch, 0)
    assert loss.isfinite()
    pairs = torch.nonzero(logits > 0)
    assert 0 < len(pairs) < logits.numel()
    for documents, nodes in (predicted, (found["documents"], found["labels"])):
        assert torch.equal(torch.stack([documents, nodes], dim=1), pairs)
