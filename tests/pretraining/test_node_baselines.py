"""The modules that SST is compared with (Table IV), against plain PyTorch on small trees."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from data_modules.products import ProductDataModule
from data_modules.wordpiece import train_wordpiece
from hierarchy_lm.backbones import BackboneOptions
from hierarchy_lm.batches import ProductBatch, SparseTargets, TokenBatch
from hierarchy_lm.hierarchy import Hierarchy
from hierarchy_lm.pretraining.multi_label import MultiLabelPretrainer
from hierarchy_lm.pretraining.multi_task import MultiTaskPretrainer
from hierarchy_lm.pretraining.node_only import NodeOnlyPretrainer
from hierarchy_lm.pretraining.sst import SSTPretrainer
from hierarchy_lm.text import TextOptions

TREE = Hierarchy.from_paths([("A", "B", "C"), ("A", "B", "D"), ("A", "E"), ("F", "G", "H"), ("I",)])
A, F_, I, AB, AE, FG, ABC, ABD, FGH = range(9)  # noqa: E741
# Two paths; one that ends above the leaves; a single root.
LINKED = [[ABC, FG], [AB], [I]]
CLOSED = [(0, A), (0, F_), (0, AB), (0, FG), (0, ABC), (1, A), (1, AB), (2, I)]
TARGETS = SparseTargets(*torch.tensor(CLOSED).T.contiguous())
LEVELS = [(0, 3), (3, 6), (6, 9)]


@pytest.fixture(scope="module")
def tokenizer(shop: Path) -> str:
    return str(train_wordpiece(shop, 500))


@pytest.fixture
def make(tokenizer, tree_file):
    def build(kind: type, hierarchy: str = tree_file, **options: Any):
        torch.manual_seed(0)
        return kind(hierarchy, tokenizer, BackboneOptions("tiny"), **options)

    return build


def logits() -> torch.Tensor:
    return 2 * torch.randn(3, 9, generator=torch.Generator().manual_seed(1))


def dense(pairs: list[tuple[int, int]]) -> torch.Tensor:
    target = torch.zeros(3, 9)
    for document, node in pairs:
        target[document, node] = 1.0
    return target


def test_the_tree_of_these_tests():
    assert TREE.paths[AB] == "A > B"
    assert TREE.paths[FGH] == "F > G > H"
    assert TREE.level_offsets.tolist() == [0, 3, 6, 9]


def test_multi_label_loss_is_the_mean_bce_over_all_nodes_of_the_paths(make):
    model = make(MultiLabelPretrainer)
    expected = F.binary_cross_entropy_with_logits(logits(), dense(CLOSED))
    torch.testing.assert_close(model.path_loss(logits(), TARGETS), expected)


def test_multi_task_loss_is_that_of_sst(make):
    target = dense(CLOSED)
    expected = sum(
        F.binary_cross_entropy_with_logits(logits()[:, a:b], target[:, a:b]) for a, b in LEVELS
    )
    for kind in (MultiTaskPretrainer, SSTPretrainer):
        model = make(kind, node_reduction="mean")
        torch.testing.assert_close(model.path_loss(logits(), TARGETS), expected)


def test_node_only_loss_is_the_bce_of_the_most_specific_nodes(make):
    model = make(NodeOnlyPretrainer, node_reduction="mean")
    ends = [(d, node) for d, nodes in enumerate(LINKED) for node in nodes]
    expected = F.binary_cross_entropy_with_logits(logits(), dense(ends))
    torch.testing.assert_close(model.path_loss(logits(), TARGETS), expected)


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_node_only_among_leaves_ignores_all_other_nodes(make, reduction):
    """AB and FG are no leaves: document 1 has no target, and learns to stay silent."""
    model = make(NodeOnlyPretrainer, nodes="leaves", node_reduction=reduction)
    leaves = [I, AE, ABC, ABD, FGH]
    target = dense([(0, ABC), (2, I)])[:, leaves]
    expected = F.binary_cross_entropy_with_logits(logits()[:, leaves], target)
    if reduction == "sum":
        expected = expected * len(leaves)
    masked = logits().masked_fill(~model.competing, -math.inf).requires_grad_()
    loss = model.path_loss(masked, TARGETS)
    torch.testing.assert_close(loss.detach(), expected)
    loss.backward()
    assert masked.grad is not None
    assert masked.grad[:, [A, F_, AB, FG]].abs().max() == 0


def test_cross_entropy_spreads_the_target_over_the_nodes_of_a_product(make):
    model = make(NodeOnlyPretrainer, loss="ce")
    z = logits().double()
    q = z.softmax(dim=1)
    expected = -(
        0.5 * (q[0, ABC].log() + q[0, FG].log()) + q[1, AB].log() + q[2, I].log()
    ) / 3  # fmt: skip
    torch.testing.assert_close(model.path_loss(z, TARGETS), expected)


def test_cross_entropy_among_leaves_leaves_out_what_has_none(make):
    model = make(NodeOnlyPretrainer, loss="ce", nodes="leaves")
    z = logits().double()
    masked = z.masked_fill(~model.competing, -math.inf).requires_grad_()
    q = z[:, [I, AE, ABC, ABD, FGH]].softmax(dim=1)
    loss = model.path_loss(masked, TARGETS)
    torch.testing.assert_close(loss, -(q[0, 2].log() + q[2, 0].log()) / 3)
    loss.backward()
    assert masked.grad is not None
    assert masked.grad.isfinite().all()
    assert masked.grad[1].abs().max() == 0


def test_a_node_is_as_probable_as_the_best_below_it(make):
    model = make(NodeOnlyPretrainer)
    z = torch.tensor([[-3.0, -4.0, 1.0, -2.0, -5.0, -1.0, 2.0, -6.0, -7.0]])
    #         A    F     I    AB   AE    FG    ABC  ABD   FGH
    expected = [2.0, -1.0, 1.0, 2.0, -5.0, -1.0, 2.0, -6.0, -7.0]
    assert model.node_logits(z).tolist() == [expected]
    assert z[0, A] == -3.0  # the loss may still need them


def test_under_cross_entropy_a_node_is_as_probable_as_all_below_it_together(make):
    model = make(NodeOnlyPretrainer, loss="ce")
    z = logits().double()
    q = z.softmax(dim=1)
    below = {A: [A, AB, AE, ABC, ABD], F_: [F_, FG, FGH], I: [I], AB: [AB, ABC, ABD]}
    found = torch.sigmoid(model.node_logits(z))
    for node, nodes in below.items():
        torch.testing.assert_close(found[:, node], q[:, nodes].sum(dim=1))
    torch.testing.assert_close(found[:, :3].sum(dim=1), torch.ones(3).double())


def batch_of(size: int, rows: list[int]) -> ProductBatch:
    ids = torch.randint(5, 100, (size, 6), generator=torch.Generator().manual_seed(2))
    tokens = TokenBatch(ids, torch.zeros_like(ids), torch.ones_like(ids))
    return ProductBatch(tokens, TARGETS, torch.tensor(rows), torch.ones(size), 1.0)


def test_prediction_is_whole_paths(make):
    model = make(NodeOnlyPretrainer).eval()
    with torch.no_grad():
        model.head.weight.zero_()
        model.head.bias.fill_(-5.0)
        model.head.bias[[ABD, FG]] = 1.0
    found = model.predict_step(batch_of(3, [0, 1, 2]), 0)
    assert found["labels"].view(3, -1).tolist() == [[A, F_, AB, FG, ABD]] * 3
    torch.testing.assert_close(found["scores"], torch.full((15,), 1 / (1 + math.exp(-1.0))))


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        (NodeOnlyPretrainer, {}),
        (NodeOnlyPretrainer, {"loss": "ce", "nodes": "leaves"}),
        (MultiLabelPretrainer, {}),
        (MultiTaskPretrainer, {}),
        (MultiTaskPretrainer, {"projection": True}),
    ],
)
def test_every_parameter_is_trained(make, kind, options):
    """DDP stops at a parameter without gradient."""
    model = make(kind, **options).train()
    loss = model.loss(batch_of(3, [0, 1, 2]))
    assert loss.isfinite()
    loss.backward()
    assert [name for name, p in model.named_parameters() if p.grad is None] == []


@pytest.mark.parametrize("kind", [NodeOnlyPretrainer, MultiLabelPretrainer, MultiTaskPretrainer])
def test_heads_read_cls_directly(make, kind):
    model = make(kind).eval()
    batch = batch_of(3, [0, 1, 2])
    h_cls = model.backbone(batch.tokens)
    for node in range(9):
        expected = h_cls @ model.head.weight[node] + model.head.bias[node]
        torch.testing.assert_close(model(batch)[:, node], expected)


def test_one_drawn_path_is_trained_and_all_are_evaluated(make, monkeypatch):
    """Document 0 ends at ABC and at FG; over the rows both are drawn."""
    monkeypatch.setenv("PL_GLOBAL_SEED", "3")
    model = make(SSTPretrainer, path_mode="sample_one").eval()
    whole = dense(CLOSED)
    one = {end: whole.clone() for end in (ABC, FG)}
    one[ABC][0, [F_, FG]] = 0
    one[FG][0, [A, AB, ABC]] = 0
    seen = set()
    for row in range(12):
        batch = batch_of(3, [row, 1, 2])
        z = model(batch)
        losses = {
            end: sum(
                F.binary_cross_entropy_with_logits(z[:, a:b], t[:, a:b]) for a, b in LEVELS
            ).item()
            for end, t in (one | {"all": whole}).items()
        }
        found = model.loss(batch).item()
        assert found == model.loss(batch).item()
        (end,) = (end for end, loss in losses.items() if found == pytest.approx(loss, rel=1e-6))
        seen.add(end)
        assert model.evaluate(batch)[0].item() == pytest.approx(losses["all"], rel=1e-6)
    assert seen == {ABC, FG}


def test_observed_nodes_are_those_where_a_training_path_ends(shop, tokenizer):
    data = ProductDataModule(str(shop), tokenizer, TextOptions(max_length=8))
    data.setup("fit")
    tree = Hierarchy.from_parquet(shop / "hierarchy.parquet")
    expected = np.zeros(tree.num_nodes, dtype=bool)
    for leaf in ("Rakes", "Hoses", "Pots", "Seeds"):
        expected[tree.node_of(f"Home: Garden > {leaf}")] = True
    for leaf in ("Novels", "Atlases", "Comics"):
        expected[tree.node_of(f"123 > {leaf}")] = True
    for leaf in ("Boots", "Sandals", "Loafers"):
        expected[tree.node_of(f'Größe & "Co" #1 > {leaf}')] = True
    expected[tree.node_of("Vouchers > Gift Cards")] = True
    expected[[tree.node_of(f"Rare > {leaf}") for leaf in ("Stamps", "Coins")]] = True
    expected[tree.node_of("Home: Garden")] = True  # "garden things" is linked to no leaf
    assert data.linked_nodes().tolist() == expected.tolist()
