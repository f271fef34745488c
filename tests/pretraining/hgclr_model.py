"""The HGCLR of the tests: a small tree, a tiny encoder, three documents with their nodes."""

from pathlib import Path
from typing import Any

import torch

from hierarchy_lm.backbones import BackboneOptions
from hierarchy_lm.batches import ProductBatch, SparseTargets, TokenBatch
from hierarchy_lm.hierarchy import Hierarchy
from hierarchy_lm.pretraining import ContrastOptions, HGCLRPretrainer

from .conftest import MakeDocuments

TREE = Hierarchy.from_paths(
    [("w0", "w1", "w2 w3"), ("w0", "w1", "w4"), ("w0", "w5"), ("w6", "w7p1", "w8"), ("w9",)]
)
W0, W6, W9, W1, W5, W7, W23, W4, W8 = range(9)
CLOSED = [(0, W0), (0, W6), (0, W1), (0, W7), (0, W23), (1, W0), (1, W1), (2, W9)]
TARGETS = SparseTargets(*torch.tensor(CLOSED).T.contiguous())
TINY = BackboneOptions("tiny", pretrained="none")


def make_hgclr(
    tree_file: str, wordpiece_folder: Path, backbone: BackboneOptions = TINY, **contrast: Any
) -> HGCLRPretrainer:
    torch.manual_seed(0)
    options = ContrastOptions(**contrast)
    return HGCLRPretrainer(tree_file, str(wordpiece_folder), backbone, options)


def make_batch(make_documents: MakeDocuments) -> ProductBatch:
    """With the targets of these tests."""
    return make_documents([0, 1, 2], longest=12)._replace(targets=TARGETS)


def words_of(model: HGCLRPretrainer, tokens: TokenBatch) -> torch.Tensor:
    return model.backbone.word_embeddings[tokens.input_ids]
