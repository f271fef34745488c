"""HGCLR's dropout of [CLS] in front of the head, apart from the encoder's own."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from hierarchy_lm.pretraining import HGCLRPretrainer

from .conftest import MakeDocuments
from .hgclr_model import TREE, make_batch, make_hgclr

pytestmark = pytest.mark.filterwarnings("ignore:You are trying to `self.log:UserWarning")


@pytest.fixture
def make(tree_file: str, wordpiece_folder: Path):
    """A head that shows the first numbers of what it reads."""

    def build(**contrast: float) -> HGCLRPretrainer:
        model = make_hgclr(tree_file, wordpiece_folder, gamma=0.0, **contrast)
        with torch.no_grad():
            model.head.weight.copy_(torch.eye(*model.head.weight.shape))
            model.head.bias.zero_()
        return model

    return build


def logits_of_the_loss(model, batch, monkeypatch) -> list[Tensor]:
    """Of the plain texts and of the views, which keep all words here, in each of 20 steps."""
    seen: list[Tensor] = []
    loss = model.path_loss
    with monkeypatch.context() as patch:
        patch.setattr(model, "path_loss", lambda z, targets: seen.append(z) or loss(z, targets))
        with torch.no_grad():
            for _ in range(20):
                model.loss(batch)
    assert len(seen) == 40
    return seen


@pytest.mark.parametrize("rate", [0.0, 0.8])
def test_the_head_reads_dropped_states_in_the_loss(
    make, make_documents: MakeDocuments, monkeypatch, rate
):
    batch = make_batch(make_documents)
    model = make(dropout=rate).train()
    model.backbone.eval()
    with torch.no_grad():
        whole = model.backbone(batch.tokens)[:, : TREE.num_nodes]
    found = torch.stack(logits_of_the_loss(model, batch, monkeypatch))
    kept = found != 0
    torch.testing.assert_close(found, kept * whole / (1 - rate))
    assert kept.float().mean().item() == pytest.approx(1 - rate, abs=0.06)
    assert len({tuple(z.flatten().tolist()) for z in kept}) == (40 if rate else 1)


def test_evaluation_and_prediction_drop_nothing(make, make_documents: MakeDocuments, monkeypatch):
    batch = make_batch(make_documents)
    model = make(dropout=0.8).eval()
    with torch.no_grad():
        whole = model.backbone(batch.tokens)[:, : TREE.num_nodes]
        torch.testing.assert_close(model(batch), whole)
    for logits in logits_of_the_loss(model, batch, monkeypatch):
        torch.testing.assert_close(logits, whole)
