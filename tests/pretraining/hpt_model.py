"""The HPT of the tests: a small tree, a tiny encoder, three documents of different lengths."""

from pathlib import Path
from typing import Any

import torch

from hierarchy_lm.backbones import BackboneOptions
from hierarchy_lm.batches import ProductBatch, SparseTargets
from hierarchy_lm.hierarchy import Hierarchy
from hierarchy_lm.pretraining.hpt import HPTPretrainer

from .conftest import MakeDocuments

TREE = Hierarchy.from_paths(
    [("w0", "w1p3", "w3"), ("w0", "w1p3", "w4"), ("w0", "w5"), ("w6", "w7", "w8"), ("w9",)]
)
SIZES = [3, 3, 3]
CLOSED = [(0, 0), (0, 1), (0, 3), (0, 6), (1, 0), (1, 4), (2, 2)]
TARGETS = SparseTargets(*torch.tensor(CLOSED).T.contiguous())
TINY = BackboneOptions("tiny")


def make_hpt(
    tree_file: str, wordpiece_folder: Path, backbone: BackboneOptions = TINY, **options: Any
) -> HPTPretrainer:
    """In evaluation mode."""
    torch.manual_seed(0)
    model = HPTPretrainer(tree_file, str(wordpiece_folder), backbone, **options)
    with torch.no_grad():  # else equal positions and zero biases would hide mistakes
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return model.eval()


def make_batch(make_documents: MakeDocuments) -> ProductBatch:
    """With the targets of these tests."""
    made = make_documents([97, 0, 582], longest=20)
    assert len(set(made.tokens.attention_mask.sum(1).tolist())) == 3
    return made._replace(targets=TARGETS)
