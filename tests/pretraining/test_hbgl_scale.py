"""HBGL's first stage on a tree of 30,000 nodes: nothing of the size of the naive form."""

from typing import Any

import numpy as np
import pytest
import torch

from hierarchy_lm.backbones import create_backbone
from hierarchy_lm.hierarchy import Hierarchy
from hierarchy_lm.nn import MLMHead
from hierarchy_lm.pretraining.hbgl_labels import HBGLLabelOptions, LabelStage, Ranks

from .every_method import SMALL
from .memory import Watch
from .test_scale import C, tree  # noqa: F401

WIDTH = 32


@pytest.mark.parametrize(
    "how", [{}, {"candidates": "all"}, {"sampler": "least_visited"}, {"subtrees": 2, "copies": 2}]
)
def test_a_step_makes_nothing_larger_than_the_table_and_a_chunk(
    tree: Hierarchy,  # noqa: F811
    how: dict[str, Any],
):
    backbone = create_backbone(SMALL, 40, 0)
    assert backbone.word_embeddings.shape == (40, WIDTH)
    options = HBGLLabelOptions(**{"passes": 0.01, "subtrees": 4} | how)
    stage = LabelStage(backbone, MLMHead(backbone.hidden_size, WIDTH, 40), (2, 4), tree, options, 0)
    assert stage.steps == 1
    with Watch() as step:
        stage.learn(0.02 * torch.randn(C, WIDTH), Ranks(0, 1, lambda part: part), lambda *_: None)
    # Attention of two subtrees of up to 510 nodes, in two heads; the vectors of all nodes; scores
    # of masked nodes, 15 % and by chance a few more, never of all.
    masked = 2 * 0.2 * 510 if how.get("candidates") == "all" else 0
    assert step.largest[0] <= max(2 * 2 * 511**2, C * WIDTH, C * masked), step.largest[1]
    assert step.largest_int64[0] <= C, step.largest_int64[1]
    seen = np.flatnonzero(stage.visits)
    assert 256 <= len(seen) <= 4 * 510
