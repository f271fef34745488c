"""The module of conditional softmax and sigmoid: what it trains, predicts and takes from data."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from data_modules.products import ProductDataModule
from data_modules.wordpiece import train_wordpiece
from hierarchy_lm.backbones import BackboneOptions
from hierarchy_lm.batches import SparseTargets
from hierarchy_lm.decoding import DecodeOptions
from hierarchy_lm.hierarchy import Hierarchy
from hierarchy_lm.pretraining import ConditionalPretrainer
from hierarchy_lm.text import TextOptions

TREE = Hierarchy.from_paths([("A", "B", "C"), ("A", "B", "D"), ("A", "E"), ("F", "G", "H")])
A, F, AB, AE, FG, ABC, ABD, FGH = range(8)
PAIRS = [(0, A), (0, AB), (0, ABC), (1, F), (1, FG), (2, A), (2, AE)]


@pytest.fixture
def make(wordpiece_folder, tree_file, make_documents):
    def build(**options: Any):
        torch.manual_seed(0)
        model = ConditionalPretrainer(
            tree_file, str(wordpiece_folder), BackboneOptions("tiny"), **options
        )
        targets = SparseTargets(*torch.tensor(PAIRS).T.contiguous())
        return model, make_documents([0, 1, 2])._replace(targets=targets)

    return build


def set_scores(model: ConditionalPretrainer, logits: list[float]) -> None:
    with torch.no_grad():
        model.head.weight.zero_()
        model.head.bias.copy_(torch.tensor(logits))


#          A    F    AB   AE    FG    ABC  ABD   FGH
SCORES = [3.0, 0.0, 1.0, -1.0, -2.0, 0.5, 0.0, 9.0]


def sigmoid(z: float) -> float:
    return 1 / (1 + math.exp(-z))


@pytest.mark.parametrize(
    ("activation", "expected"),
    [
        ("softmax", {A: sigmoid(3), AB: sigmoid(3) * sigmoid(2), ABC: 0.5222586}),
        # C itself is more probable than not, its path with .95 * .73 * .62 is less.
        ("sigmoid", {A: sigmoid(3), AB: sigmoid(3) * sigmoid(1)}),
    ],
)
def test_predicted_nodes_are_those_whose_path_is_probable(make, activation, expected):
    model, batch = make(activation=activation)
    set_scores(model.eval(), SCORES)
    found = model.predict_step(batch, 0)
    assert found["labels"].view(3, -1).tolist() == [sorted(expected)] * 3
    scores = torch.tensor([expected[node] for node in sorted(expected)]).repeat(3)
    torch.testing.assert_close(found["scores"], scores)


def test_only_children_are_as_probable_as_their_parents_under_softmax(make):
    model, batch = make(decode=DecodeOptions(threshold=0.04))
    set_scores(model.eval(), SCORES)
    found = model.predict_step(batch, 0)
    first = found["documents"] == 0
    scores = dict(
        zip(found["labels"][first].tolist(), found["scores"][first].tolist(), strict=True)
    )
    # Although G is scored -2 and H 9.
    assert [scores[F], scores[FG], scores[FGH]] == pytest.approx([sigmoid(-3)] * 3, rel=1e-5)


@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
def test_siblings_start_as_probable_as_their_number_says(make, activation):
    model, batch = make(activation=activation)
    with torch.no_grad():
        model.head.weight.zero_()
    logits = model.eval()(batch)
    found = model.conditional.log_probabilities(logits).exp()
    halves = [0.5, 0.5, 0.5, 0.5, 1.0, 0.5, 0.5, 1.0]  # G and H are only children
    if activation == "sigmoid":
        halves[FG] = halves[FGH] = 0.5
    torch.testing.assert_close(found, torch.tensor([halves] * 3))


def test_adjustment_enters_the_loss_of_training_alone(make):
    model, batch = make(logit_adjustment=0.5)
    model.eval()
    model.adjustment.copy_(torch.arange(8.0))
    logits = model(batch)
    expected = model.path_loss(logits + torch.arange(8.0), batch.targets)
    torch.testing.assert_close(model.loss(batch), expected)
    torch.testing.assert_close(model.evaluate(batch)[0], model.path_loss(logits, batch.targets))
    assert (model.loss(batch) - model.evaluate(batch)[0]).abs() > 0.1
    assert not [name for name in model.state_dict() if "adjustment" in name]


@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
def test_every_parameter_is_trained(make, activation):
    """DDP stops at a parameter without gradient."""
    model, batch = make(activation=activation)
    model.train().loss(batch).backward()
    assert [name for name, p in model.named_parameters() if p.grad is None] == []


@pytest.mark.parametrize("tau", [-0.1, math.inf, math.nan])
def test_adjustment_must_be_a_number_of_at_least_0(make, tau):
    with pytest.raises(ValueError, match="logit_adjustment must be at least 0"):
        make(logit_adjustment=tau)


def test_adjustment_is_tau_times_the_priors_of_the_training_split(shop: Path, monkeypatch):
    """Products at or below each node, one more for each, relative to its siblings' mean."""
    tokenizer = str(train_wordpiece(shop, 500))
    data = ProductDataModule(str(shop), tokenizer, TextOptions(max_length=8))
    data.setup("fit")
    tree = Hierarchy.from_parquet(shop / "hierarchy.parquet")
    counts = np.zeros(tree.num_nodes, dtype=int)
    for shard in (shop / "products").glob("train-*.parquet"):
        for nodes in pq.read_table(shard)["node_ids"].to_pylist():
            above = {above for node in nodes or [] for above in tree.ancestors(node)}
            counts[sorted({*(nodes or []), *above})] += 1
    assert data.label_frequencies().tolist() == counts.tolist()
    expected = []
    for node in range(tree.num_nodes):
        siblings = counts[tree.parents == tree.parents[node]]
        expected.append(0.5 * math.log((counts[node] + 1) / (siblings + 1).mean()))
    monkeypatch.setattr(ConditionalPretrainer, "data", data)
    model = ConditionalPretrainer(
        str(shop / "hierarchy.parquet"),
        tokenizer,
        BackboneOptions("tiny", vocab_size=500),
        logit_adjustment=0.5,
    )
    for stage, found in (("test", [0.0] * tree.num_nodes), ("fit", expected)):
        model.setup(stage)
        torch.testing.assert_close(model.adjustment, torch.tensor(found))
    assert max(expected) > 0.2
