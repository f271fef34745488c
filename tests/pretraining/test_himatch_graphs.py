"""HiMatch's graphs: what rgcn.* makes of the tree, and both sides of the official form."""

from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hierarchy_lm.batches import ProductBatch
from hierarchy_lm.losses.matching import MatchingOptions
from hierarchy_lm.nn.relational_gcn import RelationalOptions
from hierarchy_lm.pretraining import HiAGMPretrainer, HiMatchPretrainer

from ..nn.test_hierarchy_gcn import slow as slow_gcn
from ..nn.trees import children, siblings
from .conftest import MakeDocuments
from .hgclr_model import TINY
from .himatch_model import TREE, WIDTH, make_batch, make_himatch, slow_matching, standardised


@pytest.fixture
def make(tree_file: str, wordpiece_folder: Path):
    return partial(make_himatch, tree_file, wordpiece_folder)


@pytest.fixture
def batch(make_documents: MakeDocuments) -> ProductBatch:
    return make_batch(make_documents)


# --- rgcn ---


def within(node: int, steps: int) -> set[int]:
    """Nodes that a node's parents, children and siblings lead to."""
    found = {node}
    for _ in range(steps):
        above = {int(TREE.parents[n]) for n in found} - {-1}
        beside = {other for n in found for other in [*children(TREE, n), *siblings(TREE, n)]}
        found = found | above | beside
    return found


@pytest.mark.parametrize("layers", [1, 2, 3])
def test_each_layer_hears_from_relatives_one_step_further_away(make, layers):
    """A leaf's grandparent, of two edges, hears of it in the second layer."""
    rgcn = RelationalOptions(num_layers=layers, width=WIDTH)
    model = make(rgcn=rgcn, node_features="random")
    leaf, root = TREE.node_of("w0 > w1 > w2"), TREE.node_of("w0")
    before = model.node_states()
    with torch.no_grad():
        model.features.vectors[leaf, 0] += 1.0
    changed = set((model.node_states() != before).any(dim=1).nonzero()[:, 0].tolist())
    assert changed == within(leaf, layers)
    assert (root in changed) == (layers > 1)


@pytest.mark.parametrize("rate", [0.0, 0.75])
def test_graph_dropout_is_on_what_a_layer_adds_and_in_training_only(make, rate):
    model = make(rgcn=RelationalOptions(1, 400, rate), node_features="random")
    model.graph.layers[0].norm = nn.Identity()  # leaves the sum of input and what is added
    own = model.graph.inputs(model.features.vectors)
    whole = model.node_states() - own
    assert torch.equal(model.node_states() - own, whole)
    model.train()
    factors = ((model.node_states() - own) / whole)[whole > 1e-3]
    assert len(factors) > 500
    if rate == 0:
        torch.testing.assert_close(factors, torch.ones_like(factors))
        return
    kept = factors > 1
    torch.testing.assert_close(factors, 4.0 * kept.double())
    assert kept.double().mean().item() == pytest.approx(0.25, abs=0.08)


# --- form: official ---


def randomise(module: nn.Module, std: float) -> None:
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.normal_(std=std)


@pytest.fixture
def make_official(make):
    """With edges, gates and biases that all matter."""

    def build(**options: object) -> HiMatchPretrainer:
        model = make(form="official", **options)
        torch.manual_seed(2)
        for gcn in (model.graph, model.propagation.gcn):
            randomise(gcn, 0.5)
        return model

    return build


def slow_map(module: nn.Sequential, values: np.ndarray) -> np.ndarray:
    """Linear, ReLU, linear; of length 1."""
    first, _, second = module
    w1, b1, w2, b2 = (p.detach().numpy() for p in (*first.parameters(), *second.parameters()))
    mapped = np.maximum(values @ w1.T + b1, 0) @ w2.T + b2
    return mapped / np.linalg.norm(mapped, axis=-1, keepdims=True)


def slow_features(model: HiMatchPretrainer, batch: ProductBatch) -> np.ndarray:
    """Of the texts: numbers of all nodes, passed through the tree, in one row."""
    parts = model.propagation
    weight, bias = (p.detach().numpy() for p in parts.features.parameters())
    rows = []
    for h_cls in model.backbone(batch.tokens).detach().numpy():
        nodes = (weight @ h_cls + bias).reshape(TREE.num_nodes, 300)
        rows.append(slow_gcn(TREE, parts.gcn, nodes).ravel())
    return np.stack(rows)


def mean_names(model: HiMatchPretrainer, tokenizer) -> np.ndarray:
    """Standardised means of the word embeddings of the names."""
    table = model.backbone.word_embeddings.detach().numpy()
    ids = [tokenizer.encode(name, add_special_tokens=False).ids for name in TREE.names]
    return standardised(np.stack([table[pieces].mean(axis=0) for pieces in ids]))


@pytest.mark.parametrize("cls_weight", [0.0, 0.5])
def test_official_sides_scores_and_losses_are_those_of_loops(
    make_official, batch, wordpiece, cls_weight
):
    """A graph on either side, then a map of its own; the classifier reads the text's nodes."""
    options = MatchingOptions(margin=0.9, parent_slack=0.3, num_positives=2)
    model = make_official(matching=options, cls_weight=cls_weight)
    features = slow_features(model, batch)
    nodes = slow_gcn(TREE, model.graph, mean_names(model, wordpiece.tokenizer))
    texts, labels = slow_map(model.text_map, features), slow_map(model.label_map, nodes)
    with torch.no_grad():
        states = model.node_states()
        np.testing.assert_allclose(model.label_vectors(states).numpy(), labels, atol=1e-9)
        found = model.text_vectors(model.text_features(batch)[1])
        np.testing.assert_allclose(found.numpy(), texts, atol=1e-9)
        logits = 20 * texts @ labels.T + even_odds_of_levels()
        if cls_weight:
            logits = features @ model.head.weight.numpy().T + model.head.bias.numpy()
        np.testing.assert_allclose(model(batch).numpy(), logits, atol=1e-6)
        target = batch.targets.dense(3, TREE.num_nodes).double()
        bce = F.binary_cross_entropy_with_logits(torch.from_numpy(logits), target).item()
        # Drawn by the run's seed and the epoch in training, by constants in evaluation.
        for epoch, loss in ((0, model.loss(batch)), (-1, model.evaluate(batch)[0])):
            drawn = model._draw(batch.targets, batch, 0, epoch)
            expected = slow_matching(texts, labels, drawn, options) + cls_weight * bce
            assert loss.item() == pytest.approx(expected, rel=1e-6)


def test_edges_start_as_published_on_either_side(make):
    """One up; down, even among siblings."""
    model = make(form="official")
    for gcn in (model.graph, model.propagation.gcn):
        assert gcn.up.tolist() == [1.0] * 6
        # Of w0: w1 and w4; of w6: w8; of w1: w2 and w3 w7; of w4: w5.
        assert gcn.down.tolist() == [0.5, 0.5, 1.0, 0.5, 0.5, 1.0]


def even_odds_of_levels() -> np.ndarray:
    """Logits at which the probabilities of each level's nodes sum to 1."""
    return np.concatenate([np.full(n, -np.log(max(1, n - 1))) for n in TREE.level_sizes])


def dropped(propagation: nn.Module, h_cls: Tensor) -> float:
    """Share of the numbers that are 0 before they pass the tree."""
    propagation.gcn = nn.Identity()
    features = propagation(h_cls)
    left = features != 0
    whole = propagation.features(h_cls)
    torch.testing.assert_close(
        features[left], whole[left] / left.double().mean(), rtol=0.05, atol=0
    )
    return 1 - left.double().mean().item()


def test_numbers_of_nodes_are_dropped_in_himatch_and_not_in_hiagm(
    make, tree_file, wordpiece_folder
):
    hiagm = HiAGMPretrainer(tree_file, str(wordpiece_folder), TINY, form="official").double()
    h_cls = torch.randn(8, 32, dtype=torch.float64)
    assert dropped(make(form="official").train().propagation, h_cls) == pytest.approx(0.1, abs=0.01)
    assert dropped(make(form="official").propagation, h_cls) == 0
    assert dropped(hiagm.train().propagation, h_cls) == 0


@pytest.mark.parametrize("side", ["text", "labels"])
def test_messages_of_the_official_form_are_dropped_in_training_only(make_official, batch, side):
    model = make_official()
    model.propagation.dropout.p = 0.0

    def found() -> Tensor:
        return model.node_states() if side == "labels" else model.text_features(batch)[1]

    whole = found()
    assert torch.equal(found(), whole)
    model.train()
    model.backbone.eval()
    assert not torch.equal(found(), found())
