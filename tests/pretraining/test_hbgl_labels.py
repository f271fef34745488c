"""HBGL's first stage: what learns, in how many steps, on how many ranks."""

import numpy as np
import pytest
import torch
from torch import Tensor

from hierarchy_lm.backbones import Backbone, EmbeddedTokens
from hierarchy_lm.errors import UserError
from hierarchy_lm.hierarchy import Hierarchy
from hierarchy_lm.nn import MLMHead
from hierarchy_lm.pretraining.hbgl_graphs import batch_graphs
from hierarchy_lm.pretraining.hbgl_labels import HBGLLabelOptions, LabelStage, Ranks

from .conftest import CLS, MASK
from .test_hbgl_graphs import BELOW, TREE, WHOLE, Ab, Ac, mask

ALONE = Ranks(0, 1, lambda part: part)


def stage(encoder: tuple[Backbone, MLMHead], seed: int = 0, **options) -> LabelStage:
    how = HBGLLabelOptions(**{"passes": 8.0, "subtrees": 4, "mask_ratio": 0.5, **options})
    return LabelStage(*encoder, (CLS, MASK), TREE, how, seed)


def first_vectors(encoder: tuple[Backbone, MLMHead]) -> Tensor:
    return 0.02 * torch.randn(7, encoder[0].word_embeddings.shape[1])


def learn(encoder: tuple[Backbone, MLMHead], ranks: Ranks = ALONE, **options) -> Tensor:
    torch.manual_seed(1)
    vectors = first_vectors(encoder)
    return stage(encoder, **options).learn(vectors, ranks, lambda step, loss: None)


def test_positions_are_depths_and_masked_nodes_look_like_mask(encoder, monkeypatch):
    backbone, _ = encoder
    seen: list[EmbeddedTokens] = []
    encode = backbone.encode
    monkeypatch.setattr(backbone, "encode", lambda tokens: seen.append(tokens) or encode(tokens))
    table = first_vectors(encoder)
    stage(encoder).loss(table, batch_graphs([WHOLE, BELOW], [mask(Ab), mask(of=BELOW)]))
    (tokens,) = seen
    words = backbone.word_embeddings
    assert tokens.positions.tolist()[0] == [0, 1, 1, 2, 2, 2, 2, 3]
    assert tokens.positions.tolist()[1][:4] == [0, 1, 2, 2]  # the true depth in a part as well
    assert torch.equal(tokens.embeddings[0, 0], words[CLS])
    assert torch.equal(tokens.embeddings[0, 1 + Ab], words[MASK])
    assert torch.equal(tokens.embeddings[0, 1 + Ac], table[Ac])
    assert torch.equal(tokens.embeddings[1, 3], table[Ac])
    assert tokens.segments.unique().tolist() == [0]


def test_only_the_vectors_of_the_nodes_learn(encoder):
    before = [parameter.clone() for module in encoder for parameter in module.parameters()]
    torch.manual_seed(1)
    vectors = first_vectors(encoder)
    learnt = stage(encoder).learn(vectors, ALONE, lambda step, loss: None)
    assert not learnt.requires_grad
    assert (learnt != vectors).any(dim=1).all()
    after = [parameter for module in encoder for parameter in module.parameters()]
    assert all(map(torch.equal, before, after))
    assert all(parameter.requires_grad and parameter.grad is None for parameter in after)


def test_steps_follow_from_visits_and_the_loss_falls(encoder):
    losses: list[float] = []
    made = stage(encoder, passes=400.0, lr=1e-2)
    assert made.steps == 100  # 400 visits of 7 nodes, 4 x 7 in a step
    made.learn(first_vectors(encoder), ALONE, lambda step, loss: losses.append(loss))
    assert len(losses) == 100
    assert sum(losses[-10:]) < 0.9 * sum(losses[:10])
    assert made.coverage() == (400.0, 400.0, 1.0, 0.0)


def test_coverage_counts_nodes_with_less_than_a_sixth_of_the_visits(encoder):
    made = stage(encoder, passes=300.0)
    made.visits[:] = [49, 50, 51, 0, 300, 600, 700]
    assert made.coverage() == (0.0, 51.0, pytest.approx(6 / 7), pytest.approx(2 / 7))


def test_the_same_seed_gives_the_same_vectors_and_leaves_the_generator_alone(encoder):
    torch.manual_seed(5)
    expected = torch.rand(3)
    one = learn(encoder)
    assert torch.equal(one, learn(encoder))
    assert not torch.equal(one, learn(encoder, seed=1))
    torch.manual_seed(1)
    vectors = first_vectors(encoder)
    torch.manual_seed(5)
    stage(encoder).learn(vectors, ALONE, lambda step, loss: None)
    assert torch.equal(torch.rand(3), expected)


def test_memory_but_not_the_result_depends_on_the_chunk(encoder):
    for module in encoder:
        module.eval()  # each chunk has dropout of its own
    encoder[0].double(), encoder[1].double()
    torch.manual_seed(1)
    vectors = first_vectors(encoder).double()
    found = [
        stage(encoder, chunk=chunk).learn(vectors, ALONE, lambda step, loss: None)
        for chunk in (1, 3, 4)
    ]
    for other in found[1:]:
        torch.testing.assert_close(other, found[0], atol=1e-9, rtol=0)


def test_half_precision_does_not_lose_the_gradients_of_many_candidates(encoder):
    """With 1.2 million terms, each score's part in the mean is below what float16 can tell."""
    for module in encoder:
        module.eval()
    tree = Hierarchy.from_paths([("A", f"leaf {n}") for n in range(4000)])
    how = HBGLLabelOptions(
        1, subtrees=40, min_nodes=15, max_nodes=15, mask_ratio=0.5, candidates="all"
    )
    torch.manual_seed(1)
    vectors = 0.02 * torch.randn(tree.num_nodes, encoder[0].word_embeddings.shape[1])
    gradients: list[Tensor] = []
    for half in (False, True):
        ranks = Ranks(0, 1, lambda part: gradients.append(part.flatten()) or part)
        made = LabelStage(*encoder, (CLS, MASK), tree, how, 0)
        made.steps = 1
        with torch.autocast("cpu", torch.float16, enabled=half):
            made.learn(vectors, ranks, lambda step, loss: None)
    whole, _, rounded, _ = gradients
    assert (whole / whole.norm() - rounded / rounded.norm()).norm() < 0.005


def test_a_gradient_that_is_not_finite_ends_the_stage(encoder):
    before = torch.full((7, encoder[0].word_embeddings.shape[1]), 1e38)
    with pytest.raises(UserError, match="gradient of step 0 is not finite"):
        stage(encoder).learn(before, ALONE, lambda step, loss: None)


def test_only_the_generators_in_use_are_put_back(encoder, monkeypatch):
    """Without a list every visible GPU is woken and asked for its state."""
    seen: list[list[torch.device]] = []
    fork = torch.random.fork_rng
    monkeypatch.setattr(torch.random, "fork_rng", lambda d=None: seen.append(d) or fork(d))
    learn(encoder)
    assert seen == [[]]


def test_two_ranks_learn_what_one_does(encoder):
    """Each takes every second chunk; their sums meet in the other's."""
    encoder[0].double(), encoder[1].double()
    torch.manual_seed(1)
    vectors = first_vectors(encoder).double()
    parts: list[list[Tensor]] = [[], []]

    def note(rank: int) -> Ranks:
        return Ranks(rank, 2, lambda part: parts[rank].append(part.clone()) or part)

    how = {"passes": 1.0, "chunk": 1}  # one step
    one: list[Tensor] = []
    alone = Ranks(0, 1, lambda part: one.append(part.clone()) or part)
    stage(encoder, **how).learn(vectors, alone, lambda step, loss: None)
    for rank in (0, 1):
        stage(encoder, **how).learn(vectors, note(rank), lambda step, loss: None)
    gradient, loss = (a + b for a, b in zip(*parts, strict=True))
    torch.testing.assert_close(gradient, one[0], atol=1e-12, rtol=0)
    torch.testing.assert_close(loss, one[1])


@pytest.mark.parametrize(
    "change",
    [
        {"official_bug": True},
        {"loss": "ce"},
        {"lr": 1e-2},
        {"candidates": "all", "min_nodes": 3, "max_nodes": 4},
        {"final_mask_ratio": 0.9},
        {"copies": 2, "subtrees": 2},
        {"min_nodes": 2, "max_nodes": 3},
    ],
)
def test_every_option_changes_what_is_learnt(encoder, change):
    plain = {
        key: change[key] for key in ("min_nodes", "max_nodes") if len(change) == 3 and key in change
    }
    assert not torch.equal(learn(encoder, **plain), learn(encoder, **change))


def test_copies_of_a_subtree_have_its_nodes_and_masks_of_their_own(encoder):
    made = stage(encoder, subtrees=6, copies=3, min_nodes=5, max_nodes=7)
    subtrees, masks = made._draw(0)
    assert len(subtrees) == len(masks) == 18
    different = 0
    for start in range(0, 18, 3):
        first, *others = subtrees[start : start + 3]
        assert all(other.nodes.tolist() == first.nodes.tolist() for other in others)
        assert {len(mask) for mask in masks[start : start + 3]} == {len(first.nodes)}
        different += len({tuple(mask.tolist()) for mask in masks[start : start + 3]})
    assert different > 15  # a mask for each subtree would make 6
    assert len({tuple(subtree.nodes.tolist()) for subtree in subtrees}) > 1
    expected = sum(np.isin(np.arange(7), subtree.nodes) for subtree in subtrees)
    assert made.visits.tolist() == expected.tolist()


def test_copies_count_as_visits(encoder):
    """8 visits of 7 nodes, in steps of 2 x 2 x 7."""
    assert stage(encoder, subtrees=2, copies=2).steps == 2
    assert stage(encoder, subtrees=2).steps == 4


def test_visiting_the_least_visited_first_evens_the_visits_out(encoder):
    """A third of the nodes a draw: by growth alone, x is last and seldom reached."""
    least = {}
    for sampler in ("growth", "least_visited"):
        made = stage(encoder, sampler=sampler, min_nodes=2, max_nodes=3, subtrees=140, passes=1.0)
        made._draw(0)
        least[sampler] = made.coverage().least
    assert least["least_visited"] > 1.5 * least["growth"]


def test_the_mask_ratio_grows_in_a_line(encoder):
    grown = stage(encoder, mask_ratio=0.15, final_mask_ratio=0.45, passes=400.0)
    assert grown._mask_ratio(0) == pytest.approx(0.15)
    assert grown._mask_ratio(50) == pytest.approx(0.30)
    assert grown._mask_ratio(100) == pytest.approx(0.45)
    assert stage(encoder)._mask_ratio(3) == 0.5


@pytest.mark.parametrize(
    "options",
    [
        {"passes": -1.0},
        {"lr": 0.0},
        {"subtrees": 0},
        {"min_nodes": 9, "max_nodes": 8},
        {"mask_ratio": 1.0},
    ],
)
def test_impossible_options_are_refused(options):
    with pytest.raises(ValueError, match="labels"):
        HBGLLabelOptions(**options)
