"""The HBGL of the tests: a small tree, three documents, and a whole pass for each step."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from hierarchy_lm.backbones import BackboneOptions
from hierarchy_lm.batches import ProductBatch, SparseTargets, TokenBatch
from hierarchy_lm.hierarchy import Hierarchy
from hierarchy_lm.pretraining import HBGLPretrainer
from hierarchy_lm.pretraining.hbgl_blocks import behind, label_tokens, text_tokens

from .conftest import CLS, MASK, SEP, SIZE

TREE = Hierarchy.from_paths(
    [("w1", "w2", "w3 w4"), ("w1", "w2", "w5"), ("w1", "w6"), ("w7", "w8", "w9"), ("w10p1p2",)]
)
OFFSETS = [0, 3, 6, 9]
L, C, T = 3, 9, 7
# Two paths; one that ends above the leaves; a single root.
CLOSED = [(0, 0), (0, 2), (0, 3), (0, 5), (0, 6), (1, 0), (1, 3), (2, 1)]
TARGETS = SparseTargets(*torch.tensor(CLOSED).T.contiguous())
DEPTHS = [3, 2, 1]
LENGTHS = [7, 5, 6]
TINY = BackboneOptions("tiny", pretrained="none")


def make_hbgl(
    tree_file: str,
    wordpiece_folder: Path,
    spread: float = 0.0,
    backbone: BackboneOptions = TINY,
    **options: Any,
) -> HBGLPretrainer:
    """In evaluation mode."""
    torch.manual_seed(0)
    model = HBGLPretrainer(tree_file, str(wordpiece_folder), backbone, **options)
    if spread:  # so that greedy decoding predicts many nodes, and different ones
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(spread * torch.randn_like(parameter))
    return model.eval()


def batch(rows: tuple[int, ...] = (0, 1, 2)) -> ProductBatch:
    ids = torch.randint(5, SIZE, (3, T), generator=torch.Generator().manual_seed(2))
    places, lengths = torch.arange(T), torch.tensor(LENGTHS)[:, None]
    ids = ids.masked_fill(places >= lengths, 0).masked_fill(places == lengths - 1, SEP)
    ids[:, 0] = CLS
    tokens = TokenBatch(ids, torch.zeros_like(ids), (places < lengths).long())
    return ProductBatch(tokens, TARGETS, torch.tensor(rows), torch.ones(3), 1.0)


def slow_states(model: HBGLPretrainer, true: list[list[list[int]]]) -> Tensor:
    """States of the masked blocks of the next step, given nodes by document and step, uncached."""
    text = text_tokens(model.backbone, batch().tokens)
    rows = [
        torch.stack([model.labels.weight[nodes].sum(dim=0) for nodes in steps])
        if steps
        else torch.zeros(0, model.labels.weight.shape[1])
        for steps in true
    ]
    mask = model.backbone.word_embeddings[MASK]
    labels = label_tokens(torch.stack(rows), mask, text)
    return model.mlm_head.transform(model.backbone.encode(behind(text, labels))[:, -1])


@torch.no_grad()
def assert_decoding_is_that_of_whole_passes(model: HBGLPretrainer) -> None:
    """Cached decoding finds the nodes and logits of a pass of its own for every step."""
    restrict = model.restrict_level
    model.labels.bias += 1.5  # so that no document stops at once
    model.mlm_head.bias[SEP] -= 2.0
    text = text_tokens(model.backbone, batch().tokens)
    found = model._greedy(text, model._read(text))
    true: list[list[list[int]]] = [[], [], []]
    chosen: list[set[int]] = [set(), set(), set()]
    active = [True] * 3
    steps = L if restrict else L + 1
    for step in range(steps):
        states = slow_states(model, true)
        logits = states @ model.labels.weight.T + model.labels.bias
        stops = states @ model.backbone.word_embeddings[SEP] + model.mlm_head.bias[SEP]
        among = range(OFFSETS[step], OFFSETS[step + 1]) if restrict else range(C)
        for document in range(3):
            high = [n for n in among if logits[document, n] > 0 and active[document]]
            new = set(high) - chosen[document]
            assert logits[document, sorted(new)].tolist() == pytest.approx(
                found.logits[document, sorted(new)].tolist(), abs=1e-5
            )
            chosen[document] |= new
            true[document].append(high)
            active[document] &= bool(stops[document] <= 0)
    assert [set(torch.nonzero(row)[:, 0].tolist()) for row in found.chosen] == chosen
    assert sum(map(len, chosen)) > 5
    assert chosen[0] != chosen[1] != chosen[2]
