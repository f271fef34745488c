"""HGCLR: both losses, what is trained and predicted, what the options change."""

import math
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from hierarchy_lm.backbones import BackboneOptions, create_backbone
from hierarchy_lm.batches import ProductBatch
from hierarchy_lm.errors import UserError
from hierarchy_lm.pretraining import ContrastOptions, HGCLRPretrainer

from .conftest import MakeDocuments
from .hgclr_model import CLOSED, TINY, TREE, W7, W23, make_batch, make_hgclr, words_of

pytestmark = pytest.mark.filterwarnings("ignore:You are trying to `self.log:UserWarning")


@pytest.fixture
def make(tree_file: str, wordpiece_folder: Path):
    return partial(make_hgclr, tree_file, wordpiece_folder)


@pytest.fixture
def batch(make_documents: MakeDocuments) -> ProductBatch:
    return make_batch(make_documents)


def test_the_tree_of_these_tests():
    assert TREE.paths[W7] == "w6 > w7p1"
    assert TREE.paths[W23] == "w0 > w1 > w2 w3"


# --- the loss ---


def parts_of_loss(model: HGCLRPretrainer, batch: ProductBatch, tau: float) -> tuple[float, float]:
    """BCE of both views by hand, and NT-Xent in loops."""
    torch.manual_seed(3)
    kept = model.kept_tokens(words_of(model, batch.tokens), batch.targets)
    views = [
        model.backbone(batch.tokens),
        model.positive_cls(batch.tokens, words_of(model, batch.tokens), kept),
    ]
    target = torch.zeros(3, 9)
    for document, node in CLOSED:
        target[document, node] = 1.0
    bce = sum(
        F.binary_cross_entropy_with_logits(view @ model.head.weight.T + model.head.bias, target)
        for view in views
    )
    _, first, _, _, second = model.projector
    projected = torch.cat([second(first(view).relu()) for view in views])
    rows = [row / np.linalg.norm(row) for row in projected.detach().double().numpy()]
    terms = []
    for i in range(6):
        scores = [math.exp(rows[i] @ rows[j] / tau) if j != i else 0.0 for j in range(6)]
        terms.append(-math.log(scores[(i + 3) % 6] / sum(scores)))
    return bce.item(), float(np.mean(terms))


@pytest.mark.parametrize(("tau", "official"), [(1.0, False), (0.1, False), (0.1, True)])
def test_loss_is_both_bces_and_the_weighted_contrast(make, batch, tau: float, official: bool):
    """Officially the contrast's temperature is 1 whatever `tau` says."""
    model = make(tau=tau, official=official, weight=0.7, gamma=0.2).eval()
    bce, contrast = parts_of_loss(model, batch, 1.0 if official else tau)
    torch.manual_seed(3)
    assert model.loss(batch).item() == pytest.approx(bce + 0.7 * contrast, rel=1e-4)


@pytest.mark.parametrize("contrast", [{}, {"official": True}, {"num_layers": 2}, {"max_labels": 4}])
def test_every_parameter_is_trained(make, batch, contrast):
    """DDP stops at a parameter without gradient."""
    model = make(**contrast).train()
    loss = model.training_step(batch, 0)
    assert loss.isfinite()
    loss.backward()
    assert [name for name, p in model.named_parameters() if p.grad is None] == []


def test_without_dropout_in_the_encoder_the_projector_has_its_own(make, batch):
    """ALBERT has none."""
    model = make(dropout=0.5).train()
    dropped = [module.p for module in model.projector if isinstance(module, torch.nn.Dropout)]
    assert dropped == [0.5, 0.5]
    h_cls = torch.randn(3, 32)
    assert not torch.equal(model.projector(h_cls), model.projector(h_cls))
    model.eval()
    assert torch.equal(model.projector(h_cls), model.projector(h_cls))


def test_head_and_projector_read_the_same_dropped_cls(make, batch, monkeypatch):
    model = make(dropout=0.5).train()
    read: dict[str, list[torch.Tensor]] = {"head": [], "projector": []}
    of_one, project = model.head.of_one, model.projector.forward

    def seen(name: str, call, state: torch.Tensor) -> torch.Tensor:
        read[name].append(state)
        return call(state)

    monkeypatch.setattr(model.head, "of_one", partial(seen, "head", of_one))
    monkeypatch.setattr(model.projector, "forward", partial(seen, "projector", project))
    model.loss(batch)
    for head, projector in zip(read["head"], read["projector"], strict=True):
        assert torch.equal(head, projector)
        assert 0.3 < (head == 0).float().mean() < 0.7
    assert len(read["head"]) == 2


def test_narrow_word_embeddings_are_the_space_of_the_labels(make, batch, narrow):
    model = make(narrow).train()
    assert model.positives.identities.shape == (9, 16)
    loss = model.loss(batch)
    loss.backward()
    assert loss.isfinite()


def test_runs_in_bfloat16(make, batch):
    model = make(num_layers=2).train()
    with torch.autocast("cpu", torch.bfloat16):
        loss = model.loss(batch)
    loss.backward()
    assert loss.dtype == torch.float32
    assert loss.isfinite()


def test_prediction_is_a_linear_layer_on_the_plain_texts_cls(make, batch):
    model = make().eval()
    h_cls = create_backbone(TINY, 40, 0).eval()
    h_cls.load_state_dict(model.backbone.state_dict())
    expected = h_cls(batch.tokens) @ model.head.weight.T + model.head.bias
    torch.testing.assert_close(model(batch), expected)
    found = model.predict_step(batch, 0)
    pairs = torch.nonzero(expected > 0)
    assert torch.stack([found["documents"], found["labels"]], dim=1).tolist() == pairs.tolist()


# --- options ---


@pytest.mark.parametrize(
    ("option", "value"),
    [
        *(("tau", 0.0), ("gumbel_tau", -1.0), ("max_labels", 0), ("num_layers", 0)),
        *(("num_heads", 0), ("dropout", 1.0), ("gamma", 1.0), ("weight", -0.1)),
    ],
)
def test_options_without_meaning_are_refused_by_name(option: str, value: float):
    with pytest.raises(ValueError, match=f"contrast.{option} must be"):
        replace(ContrastOptions(), **{option: value})


def test_heads_that_do_not_fit_are_one_line(make):
    with pytest.raises(UserError, match=r"^model.contrast.num_heads: 5 heads do not divide .*32"):
        make(num_heads=5)


def test_an_encoder_without_token_states_is_one_line(make):
    with pytest.raises(UserError, match=r"^model.backbone: HGCLR needs a transformer"):
        make(BackboneOptions("dnn", pretrained="none"))
