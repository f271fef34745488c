"""HBGL's loss, against a pass for each step, and which parts its gradient reaches."""

import math
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import Tensor

from hierarchy_lm.backbones import EmbeddedTokens
from hierarchy_lm.pretraining import HBGLPretrainer

from .conftest import MASK, SEP
from .hbgl_model import CLOSED, DEPTHS, TREE, C, L, T, batch, make_hbgl, slow_states


@pytest.fixture
def make(tree_file: str, wordpiece_folder: Path):
    return partial(make_hbgl, tree_file, wordpiece_folder)


def true_nodes(document: int, step: int) -> list[int]:
    return [n for d, n in CLOSED if d == document and TREE.levels[n] == step + 1]


def bce(logit: Tensor, due: bool) -> float:
    return math.log1p(math.exp(float(logit))) - float(logit) * due


@pytest.mark.parametrize("restrict", [True, False])
@pytest.mark.parametrize("reduction", ["mean", "sum", "positives"])
def test_the_loss_is_that_of_loops_over_steps_documents_and_candidates(make, restrict, reduction):
    """Each step in a pass of its own, given the true nodes of those before."""
    options = {"restrict_level": restrict, "node_reduction": reduction}
    model = make(spread=0.1, true_mask_prob=0.0, **options)
    expected = 0.0
    with torch.no_grad():
        for step in range(L + 1):
            given = [[true_nodes(document, n) for n in range(step)] for document in range(3)]
            states = slow_states(model, given)
            logits = states @ model.labels.weight.T + model.labels.bias
            stops = states @ model.backbone.word_embeddings[SEP] + model.mlm_head.bias[SEP]
            for document, depth in enumerate(DEPTHS):
                among = [n for n in range(C) if not restrict or TREE.levels[n] == step + 1]
                due = true_nodes(document, step)
                terms = [bce(logits[document, n], n in due) for n in among]
                terms.append(bce(stops[document], step == depth))
                divisor = {"mean": len(terms), "sum": 1, "positives": max(1, len(due))}
                expected += sum(terms) / divisor[reduction] / 3 if step <= depth else 0.0
        assert float(model.loss(batch())) == pytest.approx(expected, rel=2e-5)


def test_the_loss_of_evaluation_is_that_of_the_joint_pass_without_masked_true_blocks(make):
    for restrict in (True, False):
        model = make(spread=0.1, restrict_level=restrict, true_mask_prob=0.0)
        with torch.no_grad():
            loss, predicted = model.evaluate(batch())
            torch.testing.assert_close(loss, model.loss(batch()), atol=1e-5, rtol=1e-5)
        found = model.predict_step(batch(), 0)
        assert predicted.labels.tolist() == found["labels"].tolist()
        logits = model(batch())
        assert logits.shape == (3, C)


def test_true_blocks_are_masked_by_seed_epoch_and_row(make, monkeypatch):
    monkeypatch.setenv("PL_GLOBAL_SEED", "3")
    model = make()
    seen: list[EmbeddedTokens] = []
    encode = model.backbone.encode
    monkeypatch.setattr(model.backbone, "encode", lambda t: seen.append(t) or encode(t))

    def masked(rows: tuple[int, ...]) -> list[list[bool]]:
        model.loss(batch(rows))
        true = seen[-1].embeddings[:, T : T + L]
        return (true == model.backbone.word_embeddings[MASK]).all(dim=2).tolist()

    drawn = [masked((3 * n, 3 * n + 1, 3 * n + 2)) for n in range(60)]
    assert masked((0, 1, 2)) == drawn[0]
    assert masked((2, 0, 1)) == [drawn[0][2], drawn[0][0], drawn[0][1]]
    share = torch.tensor(drawn).float().mean()
    assert share == pytest.approx(0.5, abs=4 * 0.5 / 540**0.5)


def gradient(model: HBGLPretrainer) -> dict[str, Tensor]:
    model.zero_grad()
    model.loss(batch()).backward()
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("restrict", [True, False])
def test_every_parameter_is_trained(make, restrict):
    """DDP stops at a parameter without gradient."""
    model = make(restrict_level=restrict).train()
    assert gradient(model).keys() == dict(model.named_parameters()).keys()


def test_true_blocks_pass_no_gradient_on_unless_asked(make):
    known = {"true_mask_prob": 0.0, "spread": 0.1}
    cut, whole = (gradient(make(true_block_grad=on, **known)) for on in (False, True))
    assert not torch.equal(cut["labels.weight"], whole["labels.weight"])
    assert torch.equal(cut["labels.bias"], whole["labels.bias"])
    model, fixed = make(**known), make(**known)
    constant = fixed._sums
    fixed._sums = lambda *cells: constant(*cells).detach()
    for name, value in gradient(model).items():
        assert torch.equal(value, gradient(fixed)[name])


def test_a_different_share_of_masked_true_blocks_gives_another_loss(make):
    losses = {make(spread=0.1, true_mask_prob=p).loss(batch()).item() for p in (0.0, 0.5, 1.0)}
    assert len(losses) == 3


def test_official_candidates_give_another_loss_of_the_same_states(make):
    ours, official = (make(spread=0.1, restrict_level=on) for on in (True, False))
    assert ours.loss(batch()).item() != pytest.approx(official.loss(batch()).item(), rel=1e-3)
