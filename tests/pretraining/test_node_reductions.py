"""`node_reduction` of the modules that train on all nodes at once, against plain BCE."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from hierarchy_lm.losses import NodeReduction
from hierarchy_lm.pretraining import (
    ContrastOptions,
    HGCLRPretrainer,
    HiAGMPretrainer,
    HiMatchPretrainer,
    MultiLabelPretrainer,
)
from hierarchy_lm.pretraining.base import HierarchyPretrainer

from .hbgl_model import CLOSED, TREE, C, batch
from .hgclr_model import TINY, words_of

pytestmark = pytest.mark.filterwarnings("ignore:You are trying to `self.log:UserWarning")

NODES_OF_DOCUMENTS = [5, 2, 1]
REDUCTIONS = ["mean", "sum", "positives"]
# Nothing but the BCE of the two views.
CONTRAST = ContrastOptions(weight=0.0, gamma=0.3)
METHODS = [
    pytest.param(MultiLabelPretrainer, {}, id="multi-label"),
    pytest.param(HiAGMPretrainer, {"recursive_weight": 0.0}, id="hiagm shared"),
    pytest.param(HiAGMPretrainer, {"recursive_weight": 0.0, "form": "official"}, id="hiagm"),
    pytest.param(HiMatchPretrainer, {"cls_weight": 1.0}, id="himatch shared"),
    pytest.param(HiMatchPretrainer, {"cls_weight": 1.0, "form": "official"}, id="himatch"),
    pytest.param(HGCLRPretrainer, {"contrast": CONTRAST}, id="hgclr"),
]


@pytest.fixture
def make(tree_file: str, wordpiece_folder: Path):
    def build(kind: type[HierarchyPretrainer], **options: Any) -> HierarchyPretrainer:
        torch.manual_seed(0)
        model = kind(tree_file, str(wordpiece_folder), TINY, **options)
        return model.eval()

    return build


def reduced(logits: Tensor, reduction: NodeReduction) -> float:
    """Mean over documents of the sum of their terms over C, over their own nodes, or over 1."""
    target = torch.zeros(3, C)
    for document, node in CLOSED:
        target[document, node] = 1.0
    total = 0.0
    for row, own, count in zip(logits, target, NODES_OF_DOCUMENTS, strict=True):
        assert own.sum() == count
        terms = F.binary_cross_entropy_with_logits(row, own, reduction="sum").item()
        total += terms / {"mean": C, "sum": 1, "positives": count}[reduction]
    return total / 3


def logits_of(model: HierarchyPretrainer) -> list[Tensor]:
    """Of the text, and of the second view if the method has one."""
    tokens = batch().tokens
    if not isinstance(model, HGCLRPretrainer):
        return [model(batch())]
    words = words_of(model, tokens)
    torch.manual_seed(3)
    kept = model.kept_tokens(words, batch().targets)
    h_cls = [model.backbone(tokens), model.positive_cls(tokens, words, kept)]
    return [state @ model.head.weight.T + model.head.bias for state in h_cls]


def bce(model: HierarchyPretrainer, loss: Tensor, evaluation: bool) -> float:
    """What remains of a loss without the matching's part."""
    if not isinstance(model, HiMatchPretrainer):
        return loss.item()
    given = batch()
    drawn = model._draw(given.targets, given, 0, -1 if evaluation else 0)
    texts = model.text_vectors(model.text_features(given)[1])
    return (loss - model._match(texts, model.node_states()[drawn.nodes], drawn)[0]).item()


@pytest.mark.parametrize(("kind", "options"), METHODS)
def test_the_loss_is_reduced_as_asked_for_in_training_and_evaluation(make, kind, options):
    assert TREE.num_nodes == C
    trained = {}
    for reduction in REDUCTIONS:
        model = make(kind, node_reduction=reduction, **options)
        with torch.no_grad():
            logits = logits_of(model)
            torch.manual_seed(3)
            trained[reduction] = bce(model, model.loss(batch()), False)
            evaluated = bce(model, model.evaluate(batch())[0], True)
        expected = [reduced(view, reduction) for view in logits]
        assert trained[reduction] == pytest.approx(sum(expected), rel=1e-4)
        assert evaluated == pytest.approx(expected[0], rel=1e-4)
    assert trained["mean"] < 0.5 * trained["positives"] < 0.5 * trained["sum"]
