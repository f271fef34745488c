"""HiAGM as a whole: both forms and variants against their formulas."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from hierarchy_lm.backbones import BackboneOptions
from hierarchy_lm.batches import ProductBatch, SparseTargets
from hierarchy_lm.errors import UserError
from hierarchy_lm.hierarchy import Hierarchy
from hierarchy_lm.pretraining import HiAGMPretrainer

TREE = Hierarchy.from_paths([("a", "b", "c"), ("a", "b", "d"), ("a", "e"), ("f", "g")])
GOLD = [[0, 2, 5], [1, 4], [0, 2, 3]]
FORMS = [("shared", "tp"), ("official", "tp"), ("official", "la")]


@pytest.fixture
def make(tree_file: str, wordpiece_folder: Path):
    def build(**options: Any) -> HiAGMPretrainer:
        torch.manual_seed(0)
        backbone = BackboneOptions("tiny", pretrained="none")
        model = HiAGMPretrainer(
            tree_file, str(wordpiece_folder), backbone, **{"width": 6, **options}
        )
        return model.double().eval()

    return build


@pytest.fixture
def batch(make_documents) -> ProductBatch:
    pairs = [(row, node) for row, nodes in enumerate(GOLD) for node in nodes]
    return make_documents([3, 8, 11])._replace(
        targets=SparseTargets(*torch.tensor(pairs).T.contiguous())
    )


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def test_shared_form_scores_the_passed_features_of_every_product_and_node(make, batch):
    model = make()
    parts = model.propagation
    with torch.no_grad():
        for parameter in parts.parameters():
            parameter.normal_(std=0.5)
        found = model(batch).numpy()
        h_cls = model.backbone(batch.tokens)
        text = parts.text(h_cls).numpy()
        nodes, heads, bias = (
            value.numpy() for value in (parts.nodes, model.head.weight, model.head.bias)
        )
        w, b, up, down = (
            value.numpy()
            for value in (parts.gcn.gates, parts.gcn.gate_bias, parts.gcn.up, parts.gcn.down)
        )
        e_in, e_out = parts.gcn.up_bias.numpy(), parts.gcn.down_bias.numpy()
    roots = TREE.level_sizes[0]
    for n in range(3):
        z = text[n] + nodes  # (C, d)
        for c in range(TREE.num_nodes):
            heard = sum(
                (up[j - roots] * z[j] for j in range(roots, 7) if TREE.parents[j] == c), e_in[c]
            )
            told = e_out[c] + (down[c - roots] * z[TREE.parents[c]] if c >= roots else 0)
            passed = sigmoid(z[c] @ w[:, 0] + b[c, 0]) * heard
            passed = passed + sigmoid(z[c] @ w[:, 1] + b[c, 1]) * told
            passed = passed + sigmoid(z[c] @ w[:, 2]) * z[c]
            assert found[n, c] == pytest.approx(passed @ heads[c] + bias[c], rel=1e-9)


def test_children_are_summed_in_the_official_form_and_averaged_in_ours(make):
    assert make(form="official").propagation.gcn.up.tolist() == [1.0] * 5
    # Of a: b and e; of f: g; of b: c and d.
    assert make().propagation.gcn.up.tolist() == [0.5, 0.5, 1.0, 0.5, 0.5]


def test_official_text_propagation_flattens_all_nodes_into_every_logit(make, batch):
    model = make(form="official")
    with torch.no_grad():
        flat = model.propagation(model.backbone(batch.tokens))
        assert flat.shape == (3, 7 * 6)
        expected = flat @ model.head.weight.T + model.head.bias
        torch.testing.assert_close(model(batch), expected)


def test_official_label_attention_reads_all_tokens(make, batch):
    model = make(form="official", variant="la")
    with torch.no_grad():
        states = model.backbone.hidden_states(batch.tokens)
        flat = model.propagation(states, batch.tokens.attention_mask)
        torch.testing.assert_close(model(batch), flat @ model.head.weight.T + model.head.bias)


@pytest.mark.parametrize(("form", "variant"), FORMS)
def test_loss_is_the_bce_and_the_regularisation(make, batch, form, variant):
    model = make(form=form, variant=variant, recursive_weight=0.1)
    with torch.no_grad():
        target = batch.targets.dense(3, 7).double()
        bce = F.binary_cross_entropy_with_logits(model(batch), target).item()
        found = model.loss(batch).item()
        w = model.head.weight.numpy()
        evaluated, _ = model.evaluate(batch)
    edges = [(p, c) for c, p in enumerate(TREE.parents.tolist()) if p >= 0]
    apart = sum(((w[p] - w[c]) ** 2).sum() for p, c in edges)
    assert found == pytest.approx(bce + 0.1 * 0.5 * apart, rel=1e-6)
    assert evaluated.item() == pytest.approx(bce, rel=1e-6)


@pytest.mark.parametrize(("form", "variant"), FORMS)
def test_every_parameter_learns(make, batch, form, variant):
    model = make(form=form, variant=variant)
    model.loss(batch).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None or "backbone" in name, name


def test_official_dropout_of_logits_is_in_training_only(make, batch):
    model, ours = make(logit_dropout=0.5), make()
    with torch.no_grad():
        whole = model(batch)
        assert torch.equal(whole, ours(batch))
        for trained in (model, ours):
            trained.train()
            trained.backbone.eval()
        assert torch.equal(ours(batch), whole)
        dropped = model(batch)
    left = dropped != 0
    assert 0 < left.double().mean() < 1
    torch.testing.assert_close(dropped[left], 2 * whole[left])


def test_edges_start_at_the_shares_of_the_training_data(make):
    class Data:
        num_labels, max_length, num_segments = 7, 40, 2

        def label_frequencies(self):
            return np.array([10, 2, 6, 2, 2, 0, 0])

    class Trainer:
        datamodule = Data()

    for form, variant in FORMS:
        model = make(form=form, variant=variant)
        model._trainer = Trainer()
        model.setup("fit")
        assert model.propagation.gcn.down.tolist() == pytest.approx([0.75, 0.25, 1, 0.5, 0.5])


def test_label_attention_of_the_shared_form_is_refused(make):
    with pytest.raises(UserError, match=r"variant: la .* use variant: tp"):
        make(variant="la")


def test_official_form_refuses_a_large_tree_in_one_line(wordpiece_folder, tmp_path):
    Hierarchy.from_paths([("a", f"b{n}") for n in range(600)]).to_parquet(tmp_path / "tree.parquet")
    with pytest.raises(UserError, match=r"601 nodes.*use form: shared") as refused:
        HiAGMPretrainer(
            str(tmp_path / "tree.parquet"),
            str(wordpiece_folder),
            BackboneOptions("tiny", pretrained="none"),
            form="official",
        )
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    "options", [{"width": 0}, {"recursive_weight": -1.0}, {"logit_dropout": 1.0}]
)
def test_numbers_out_of_range_are_refused(make, options):
    with pytest.raises(ValueError, match="logit_dropout"):
        make(**options)
