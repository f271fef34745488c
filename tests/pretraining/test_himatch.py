"""HiMatch as a whole: its loss and logits against NumPy, both forms, both sources of features."""

from functools import partial
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from hierarchy_lm.backbones import BackboneOptions
from hierarchy_lm.batches import ProductBatch
from hierarchy_lm.errors import UserError
from hierarchy_lm.hierarchy import Hierarchy
from hierarchy_lm.losses.matching import MatchingOptions
from hierarchy_lm.node_names import tokenize_names
from hierarchy_lm.pretraining import HiMatchPretrainer
from hierarchy_lm.training import EncoderTraining
from hierarchy_lm.vocabulary import Vocabulary

from .conftest import MakeDocuments
from .himatch_model import GOLD, TREE, make_batch, make_himatch, slow_matching, standardised


@pytest.fixture
def make(tree_file: str, wordpiece_folder: Path):
    return partial(make_himatch, tree_file, wordpiece_folder)


@pytest.fixture
def batch(make_documents: MakeDocuments) -> ProductBatch:
    return make_batch(make_documents)


def vectors(model: HiMatchPretrainer, batch: ProductBatch) -> tuple[np.ndarray, np.ndarray]:
    """Unit vectors of texts and labels."""
    _, features = model.text_features(batch)
    return (
        model.text_vectors(features).numpy(),
        model.label_vectors(model.node_states()).numpy(),
    )


@pytest.mark.parametrize("distance", ["sse", "mse"])
@pytest.mark.parametrize("margin_mode", ["relation", "path_distance"])
@pytest.mark.parametrize("sizes", [{}, {"margin": 0.9, "parent_slack": 0.4}])
def test_loss_is_that_of_the_drawn_nodes(make, batch, distance, margin_mode, sizes):
    options = MatchingOptions(distance, margin_mode, num_positives=2, **sizes)
    model = make(matching=options)
    with torch.no_grad():
        found, _ = model.evaluate(batch)
        texts, labels = vectors(model, batch)
        drawn = model._draw(batch.targets, batch, 0, -1)
    assert drawn.documents.tolist() == [0, 0, 1, 1, 2, 2]
    expected = slow_matching(texts, labels, drawn, options)
    assert found.item() == pytest.approx(expected, rel=1e-5)


def test_alignment_alone_trains_neither_scale_nor_bias_the_fair_variant_both(make, batch):
    alone, fair = make(), make(cls_weight=1.0)
    for model in (alone, fair):
        model.loss(batch).backward()
    assert [p.grad for p in alone.head.parameters()] == [None, None]
    assert all(p.grad.abs().max() > 0 for p in fair.head.parameters())
    for model in (alone, fair):
        for name, parameter in model.named_parameters():
            if parameter.requires_grad and "backbone" not in name:
                assert parameter.grad is not None, name


def test_the_fair_variant_adds_the_bce_of_scaled_cosines(make, batch):
    alone, fair = make(), make(cls_weight=0.5)
    with torch.no_grad():
        logits = fair(batch)
        texts, labels = vectors(fair, batch)
        both, matching = fair.loss(batch), alone.loss(batch)
    expected = 20 * texts @ labels.T + fair.head.bias.detach().numpy()
    np.testing.assert_allclose(logits.numpy(), expected, atol=1e-6)
    target = batch.targets.dense(3, TREE.num_nodes).double()
    bce = F.binary_cross_entropy_with_logits(logits, target)
    assert (both - matching).item() == pytest.approx(0.5 * bce.item(), rel=1e-5)


def test_names_bring_the_mean_of_their_word_embeddings_and_no_gradient(make, batch, wordpiece):
    model = make(node_features="name_emb")
    table = model.backbone.word_embeddings.detach().numpy()
    features = model.features(model.backbone)
    ids = [wordpiece.tokenizer.encode(name, add_special_tokens=False).ids for name in TREE.names]
    expected = standardised(np.stack([table[pieces].mean(axis=0) for pieces in ids]))
    np.testing.assert_allclose(features.numpy(), expected, atol=1e-9)
    assert not features.requires_grad


def test_names_bring_their_cls_as_it_was_at_the_last_refresh(make, wordpiece: Vocabulary):
    model = make(node_features="name_cls").train()
    model.features.refresh(model.backbone)
    assert model.backbone.training
    first = model.features(model.backbone).clone()
    names = tokenize_names(TREE, wordpiece, specials=True)
    encoder = model.backbone.encoder.eval()
    with torch.no_grad():
        expected = [
            encoder(names.ids[start:end][None]).last_hidden_state[0, 0].numpy()
            for start, end in pairwise(names.offsets.tolist())
        ]
    np.testing.assert_allclose(first.numpy(), standardised(np.stack(expected)), atol=1e-6)
    with torch.no_grad():
        model.backbone.word_embeddings.mul_(2)
    assert torch.equal(model.features(model.backbone), first)
    model.features.refresh(model.backbone)
    assert not torch.equal(model.features(model.backbone), first)
    assert "features.cls" in model.state_dict()  # a resumed run goes on with it


def test_random_features_are_learnt(make, batch):
    model = make(node_features="random")
    model.loss(batch).backward()
    assert model.features.vectors.grad.abs().max() > 0


def test_evaluation_computes_the_labels_once_and_not_after_they_changed(make, batch):
    model = make()
    with torch.no_grad():
        before = model(batch)
        assert torch.equal(model(batch), before)
        model.graph.inputs.weight.normal_()
        model.train()
        model.eval()
        assert not torch.equal(model(batch), before)


def test_official_form_classifies_by_a_map_of_all_nodes_features(make, batch):
    model = make(form="official", cls_weight=1.0)
    assert model.propagation.features.weight.shape == (
        TREE.num_nodes * 300,
        model.backbone.hidden_size,
    )
    with torch.no_grad():
        features = model.propagation(model.backbone(batch.tokens))
        expected = features @ model.head.weight.T + model.head.bias
        torch.testing.assert_close(model(batch), expected)
    assert model.head.weight.shape == (TREE.num_nodes, TREE.num_nodes * 300)
    model.loss(batch).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None or "backbone" in name, name


def test_edges_of_the_official_form_start_at_the_shares_of_the_training_data(make):
    class Data:
        num_labels, max_length, num_segments = TREE.num_nodes, 40, 2

        def label_frequencies(self):
            counts = {"w0": 10, "w0 > w1": 6, "w0 > w4": 2, "w0 > w1 > w2": 2, "w0 > w1 > w3 w7": 2}
            return np.array([counts.get(path, 1) for path in TREE.paths])

    class Trainer:
        datamodule = Data()

    model = make(form="official")
    model._trainer = Trainer()
    model.setup("fit")
    shares = {"w1": 0.75, "w4": 0.25, "w8": 1, "w2": 0.5, "w3 w7": 0.5, "w5": 1}
    expected = [shares[name] for name in TREE.names if name not in ("w0", "w6")]
    for gcn in (model.propagation.gcn, model.graph):
        assert gcn.down.tolist() == pytest.approx(expected)


def test_official_form_refuses_a_large_tree_in_one_line(wordpiece_folder, tmp_path):
    Hierarchy.from_paths([("a", f"b{n}") for n in range(600)]).to_parquet(tmp_path / "tree.parquet")
    with pytest.raises(UserError, match=r"601 nodes.*use form: shared") as refused:
        HiMatchPretrainer(
            str(tmp_path / "tree.parquet"),
            str(wordpiece_folder),
            BackboneOptions("tiny", pretrained="none"),
            form="official",
        )
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("options", [{"cls_weight": -1.0}, {"refresh_every": 0}])
def test_numbers_out_of_range_are_refused(make, options):
    with pytest.raises(ValueError, match="cls_weight"):
        make(**options)


def test_a_path_drawn_for_the_epoch_gives_the_label_but_all_paths_are_gold(make, batch):
    model = make(path_mode="sample_one")
    for epoch in range(6):
        drawn = model._draw(model._train_targets(batch), batch, 0, epoch)
        for n, document in enumerate(drawn.documents.tolist()):
            label, _, sibling, other = drawn.nodes[:, n].tolist()
            assert label in GOLD[document]
            assert not {sibling, other} & set(GOLD[document])


@pytest.mark.parametrize("filter_gold", [True, False])
def test_siblings_are_gold_where_they_officially_may(make, batch, filter_gold: bool):
    """Of the last document w1's sibling is w4, and both are its nodes."""
    model = make(matching=MatchingOptions(filter_gold=filter_gold))
    found = {
        int(sibling) in GOLD[document]
        for epoch in range(20)
        for drawn in [model._draw(model._train_targets(batch), batch, 0, epoch)]
        for document, sibling in zip(drawn.documents.tolist(), drawn.nodes[2], strict=True)
    }
    assert found == ({False} if filter_gold else {False, True})


def test_names_are_encoded_at_the_start_and_again_when_due(make, batch, monkeypatch):
    model = make(node_features="name_cls", refresh_every=3)
    steps = [0, 0, 1, 1, 2, 2, 3, 3, 4]  # with two batches to a step
    refreshed = []
    monkeypatch.setattr(EncoderTraining, "on_train_batch_start", lambda *_: None)
    monkeypatch.setattr(HiMatchPretrainer, "global_step", property(lambda _: steps[place]))
    monkeypatch.setattr(model.features, "refresh", lambda _: refreshed.append(place))
    for place in range(len(steps)):
        model.on_train_batch_start(batch, place)
    assert refreshed == [0, 6]
