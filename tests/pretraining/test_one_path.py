"""`path_mode: sample_one` of the methods whose loss of their own takes the training targets."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn import functional as F

from hierarchy_lm.batches import ProductBatch, SparseTargets
from hierarchy_lm.pretraining import (
    ConditionalPretrainer,
    ContrastOptions,
    HBGLPretrainer,
    HGCLRPretrainer,
    HiMatchPretrainer,
    HPTPretrainer,
)
from hierarchy_lm.pretraining.base import HierarchyPretrainer
from hierarchy_lm.pretraining.masking import MaskingOptions

from .conftest import fake_trainer
from .hbgl_model import CLOSED, TREE, C, T, batch
from .hgclr_model import TINY

pytestmark = pytest.mark.filterwarnings("ignore:You are trying to `self.log:UserWarning")

# The first document's nodes: two paths of different depths.
PATHS = {"deep": [0, 3, 6], "short": [2, 5]}
ALL = {**PATHS, "both": [0, 2, 3, 5, 6]}
MASKING = MaskingOptions(share=0.5)
METHODS = [
    pytest.param(HBGLPretrainer, {"true_mask_prob": 0.0}, id="hbgl"),
    pytest.param(HBGLPretrainer, {"true_mask_prob": 0.0, "restrict_level": False}, id="hbgl all"),
    pytest.param(HPTPretrainer, {"joint_mlm": "words", "masking": MASKING}, id="hpt words"),
    pytest.param(HPTPretrainer, {"joint_mlm": "all", "masking": MASKING}, id="hpt all"),
    pytest.param(HGCLRPretrainer, {"contrast": ContrastOptions(gamma=0.3)}, id="hgclr"),
    pytest.param(ConditionalPretrainer, {"activation": "softmax"}, id="softmax"),
    pytest.param(ConditionalPretrainer, {"activation": "sigmoid"}, id="sigmoid"),
]
ROWS = [(row, 0) for row in range(8)]
EPOCHS = [(5, epoch) for epoch in range(8)]


@pytest.fixture
def make(tree_file: str, wordpiece_folder: Path):
    def build(kind: type[HierarchyPretrainer], **options: Any) -> HierarchyPretrainer:
        """With the same weights for the same kind, and without dropout."""
        torch.manual_seed(0)
        model = kind(tree_file, str(wordpiece_folder), TINY, **options)
        with torch.no_grad():  # so that every input shows in the loss
            for parameter in model.parameters():
                parameter.add_(0.1 * torch.randn_like(parameter))
        return model.eval()

    return build


def only(first: list[int]) -> SparseTargets:
    """Targets of three documents, of which the first has these nodes."""
    pairs = [(0, node) for node in first] + [pair for pair in CLOSED if pair[0] > 0]
    return SparseTargets(*torch.tensor(pairs).T.contiguous())


def training_loss(model: HierarchyPretrainer, given: ProductBatch, epoch: int) -> float:
    """As on one rank, in an epoch."""
    model._trainer = fake_trainer(epoch)
    torch.manual_seed(3)
    with torch.no_grad():
        return model.training_step(given, 0).item()


def test_the_tree_of_these_tests():
    for path in PATHS.values():
        assert TREE.parents[path].tolist() == [-1, *path[:-1]]
    assert only(ALL["both"]).labels.tolist() == batch().targets.labels.tolist()


@pytest.mark.parametrize("draws", [ROWS, EPOCHS], ids=["rows", "epochs"])
@pytest.mark.parametrize(("kind", "options"), METHODS)
def test_training_is_that_of_targets_cut_to_the_drawn_path(make, kind, options, draws):
    """In all that the loss is made of: of HBGL true blocks and stop symbols, of HGCLR the view."""
    drawing, union = make(kind, path_mode="sample_one", **options), make(kind, **options)
    seen = set()
    for row, epoch in draws:
        given = batch((row, 11, 12))
        losses = {
            name: training_loss(union, given._replace(targets=only(nodes)), epoch)
            for name, nodes in ALL.items()
        }
        found = training_loss(drawing, given, epoch)
        assert found == training_loss(drawing, given, epoch)
        (name,) = (name for name, loss in losses.items() if found == pytest.approx(loss, rel=1e-6))
        seen.add(name)
    assert seen == set(PATHS)


@pytest.mark.parametrize(("kind", "options"), METHODS)
def test_evaluation_is_on_all_paths(make, kind, options):
    losses = []
    for path_mode in ("sample_one", "union"):
        model = make(kind, path_mode=path_mode, **options)
        with torch.no_grad():
            losses.append([model.evaluate(batch((row, 11, 12)))[0].item() for row in range(4)])
    assert losses[0] == losses[1]


def test_hbgl_shows_the_true_blocks_of_the_drawn_path(make, monkeypatch):
    """And a third block of nothing behind the shorter path."""
    model = make(HBGLPretrainer, path_mode="sample_one", true_mask_prob=0.0)
    seen = []
    encode = model.backbone.encode
    monkeypatch.setattr(model.backbone, "encode", lambda t: seen.append(t) or encode(t))
    vectors, found = model.labels.weight, set()
    for row in range(8):
        training_loss(model, batch((row, 11, 12)), 0)
        blocks = seen[-1].embeddings[0, T : T + TREE.depth]
        for name, path in PATHS.items():
            expected = torch.zeros_like(blocks)
            expected[: len(path)] = vectors[path]
            if torch.allclose(blocks, expected, atol=1e-6):
                found.add(name)
                break
        else:
            pytest.fail("these blocks are of no path")
    assert found == set(PATHS)


def test_the_classifier_of_himatch_learns_the_drawn_path_alone(make):
    """Its companions keep away from all paths, so that no cut of the targets gives its loss."""
    fair, alone = (
        make(HiMatchPretrainer, path_mode="sample_one", cls_weight=weight) for weight in (1.0, 0.0)
    )
    seen = set()
    for row in range(8):
        given = batch((row, 11, 12))
        found = training_loss(fair, given, 0) - training_loss(alone, given, 0)
        with torch.no_grad():
            logits = fair(given)
        losses = {
            name: F.binary_cross_entropy_with_logits(logits, only(nodes).dense(3, C)).item()
            for name, nodes in ALL.items()
        }
        (name,) = (name for name, loss in losses.items() if found == pytest.approx(loss, rel=1e-4))
        seen.add(name)
    assert seen == set(PATHS)
