"""A step of HBGL's first stage as a whole, against one subtree and one masked node at a time."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from hierarchy_lm.backbones import Backbone
from hierarchy_lm.hierarchy import Hierarchy
from hierarchy_lm.nn import MLMHead
from hierarchy_lm.pretraining import hbgl
from hierarchy_lm.pretraining.hbgl_graphs import batch_graphs
from hierarchy_lm.pretraining.hbgl_labels import HBGLLabelOptions, LabelStage
from hierarchy_lm.pretraining.hbgl_subtrees import Subtree

from .conftest import CLS, MASK, fake_trainer
from .hbgl_model import make_hbgl
from .test_hbgl_graphs import TREE, WHOLE, A, Aa, Ab, Ac, Bd, Masked, mask, slow_terms
from .test_hbgl_labels import ALONE, first_vectors, stage

# Of the tree's inner node a the only child is left out: here it is a leaf, with b beside it.
CUT = Subtree(np.array([A, Aa, Ab]), np.array([-1, 0, 0]))
CASES = [
    Masked(WHOLE, mask(A, Ab, Ac, Bd), {A: {A}, Ab: {Ab, Ac}, Ac: {Ab, Ac}, Bd: {Bd}}),
    Masked(CUT, mask(Aa, Ab, of=CUT), {1: {1, 2}, 2: {1, 2}}),
]
SUBTREES, MASKS = [case.subtree for case in CASES], [case.mask for case in CASES]


def attended(subtree: Subtree, both_ways: bool) -> Tensor:
    """Whom [CLS] (0) and the nodes (from 1 on) attend to, one link at a time."""
    size = len(subtree.nodes) + 1
    links = torch.zeros(size, size, dtype=torch.bool)
    for child, above in enumerate(subtree.parents.tolist(), start=1):
        links[above + 1, child] = True
        if both_ways:
            links[child, above + 1] = True
    for row in range(size):
        if not links[row].any():
            links[row] = True
    return links


def slow_states(
    parts: tuple[Backbone, MLMHead], table: Tensor, case: Masked, both_ways: bool
) -> Tensor:
    """States of one subtree's nodes behind Hugging Face's own forward pass and MLM head."""
    (backbone, head), subtree = parts, case.subtree
    words = backbone.encoder.get_input_embeddings().weight
    rows = [words[CLS]]
    for place, node in enumerate(subtree.nodes.tolist()):
        rows.append(words[MASK] if case.mask[place] else table[node])
    blocked = torch.where(attended(subtree, both_ways), 0.0, -1e9).double()
    depths = [0, *(len(TREE.paths[node].split(" > ")) for node in subtree.nodes)]
    states = backbone.encoder(
        inputs_embeds=torch.stack(rows)[None],
        attention_mask=blocked[None, None],
        position_ids=torch.tensor([depths]),
    ).last_hidden_state[0, 1:]
    return head.norm(F.gelu(head.dense(states)))


@pytest.fixture
def parts(encoder):
    for part in encoder:
        part.double().eval()
    torch.manual_seed(2)
    for parameter in encoder[0].parameters():  # far from even attention
        torch.nn.init.normal_(parameter, std=0.3)
    return encoder


@pytest.mark.parametrize("loss", ["bce", "ce"])
@pytest.mark.parametrize("candidates", ["subtree", "all"])
def test_a_step_is_that_of_single_subtrees_and_nodes(parts, monkeypatch, loss, candidates):
    table = 30 * first_vectors(parts).double()
    made = stage(parts, loss=loss, candidates=candidates, chunk=1, passes=1.0)
    with torch.no_grad():
        found = float(made.loss(table, batch_graphs(SUBTREES, MASKS)))
        states = [slow_states(parts, table, case, loss == "bce") for case in CASES]
        terms = list(slow_terms(CASES, states, table, loss, candidates == "all"))
    assert found == pytest.approx(sum(sum(each) for each in terms), rel=1e-6)
    reported: list[float] = []
    monkeypatch.setattr(made, "_draw", lambda step: (SUBTREES, MASKS))
    made.learn(table, ALONE, lambda step, value: reported.append(value))
    assert reported[0] == pytest.approx(float(np.mean(np.concatenate(terms))), rel=1e-6)


def test_dropout_is_on_in_the_stage_if_it_is_in_the_module(encoder, monkeypatch):
    backbone, head = encoder
    modes: list[bool] = []
    encode = backbone.encode
    monkeypatch.setattr(backbone, "encode", lambda t: modes.append(backbone.training) or encode(t))
    backbone.train(), head.train()
    stage(encoder).learn(first_vectors(encoder), ALONE, lambda step, loss: None)
    assert modes
    assert all(modes)


def test_a_node_that_no_subtree_has_keeps_its_vector(encoder, monkeypatch):
    """No decay, unlike the encoder's own optimizer."""
    before = first_vectors(encoder)
    made = stage(encoder, passes=1.0)
    monkeypatch.setattr(made, "_draw", lambda step: ([CUT], [MASKS[1]]))
    after = made.learn(before, ALONE, lambda step, loss: None)
    moved = (after != before).any(dim=1)
    assert moved.nonzero()[:, 0].tolist() == [A, Aa, Ab]


def test_ancestors_come_along_where_asked(encoder):
    tree = Hierarchy.from_paths([("A", "a", f"leaf {n}") for n in range(6)])
    tops = {}
    for asked in (False, True):
        how = HBGLLabelOptions(subtrees=60, min_nodes=3, max_nodes=4, include_ancestors=asked)
        made = LabelStage(*encoder, (CLS, MASK), tree, how, 0)
        subtrees, _ = made._draw(0)
        tops[asked] = {int(node) for s in subtrees for node in s.nodes[s.parents < 0]}
    assert tops == {False: {0, 1}, True: {0}}


def test_the_module_gives_its_own_parts_to_the_stage(
    tree_file: str, wordpiece_folder: Path, monkeypatch
):
    model = make_hbgl(tree_file, wordpiece_folder)
    model._trainer = fake_trainer()
    seen: list[LabelStage] = []

    def run(trainer: object, made: LabelStage, vectors: Tensor) -> Tensor:
        seen.append(made)
        return vectors + 1

    monkeypatch.setattr(hbgl, "run_label_stage", run)
    before = model.labels.weight.detach().clone()
    model._learn_labels()
    (made,) = seen
    assert made.specials == (CLS, MASK)
    assert (made.backbone, made.head) == (model.backbone, model.mlm_head)
    assert made.options is model.label_options
    assert torch.equal(model.labels.weight, before + 1)
