"""Who is drawn as a negative, how often, and with which weight."""

import math
from collections import Counter
from itertools import combinations

import numpy as np
import pytest
import torch

from hierarchy_lm.batches import SparseTargets
from hierarchy_lm.losses import (
    BootstrapOptions,
    DHPCLoss,
    DHPCOptions,
    LabelSpace,
    NegativeOptions,
)

B, N, KEEP = 4, 12, 0.4
# Document 0: two labels; 1: one; 2: none; 3: all but one.
POSITIVES = [{1, 5}, {0}, set(), set(range(11))]
TARGETS = SparseTargets(
    *torch.tensor([(b, k) for b in range(B) for k in sorted(POSITIVES[b])]).T.contiguous()
)
COUNTS = [0, 3, 8, 15, 24, 35, 48, 1000, 3, 3, 8, 99]
PARENTS = [-1, -1, 7, 7, 7, 8, 8, 8, 8, 9, 9, 10]
VECTORS = torch.randn(N, 3, generator=torch.Generator().manual_seed(5))
LABELS = LabelSpace(torch.tensor(COUNTS), torch.tensor(PARENTS), VECTORS)

SAMPLERS = ["uniform", "bernoulli", "frequency", "confusion", "semantic"]


def make_loss(sampler, scale="unbiased", per="example", keep=KEEP, over="all", beta=1.0):
    negatives = NegativeOptions(keep, sampler, scale, per)
    return DHPCLoss(DHPCOptions(BootstrapOptions(beta, over=over), negatives), N, LABELS)


def draw(loss):
    """Weights of all terms in one draw, (B, N)."""
    if loss.options.negatives.per == "batch":
        sample = loss.sampler.use(loss.sampler.shared(TARGETS), TARGETS, B)
    else:
        sample = loss.sampler(TARGETS, B)
    return sample.dense(TARGETS, B, N).numpy()


def draws(loss, count, seed=0):
    torch.manual_seed(seed)
    return np.stack([draw(loss) for _ in range(count)])


def capped(weights, expected):
    """min(1, c w) of the given sum, c by bisection."""
    low, high = 0.0, 1e9
    for _ in range(200):
        middle = (low + high) / 2
        if sum(min(1.0, middle * w) for w in weights) < expected:
            low = middle
        else:
            high = middle
    return [min(1.0, high * w) for w in weights]


def preferred(sampler, b):
    """Weights of a document's labels as negatives, by loops."""
    siblings = {PARENTS[p] for p in POSITIVES[b]}
    if sampler == "confusion":  # the estimate starts at one half
        return [0.1 + 0.5 * (PARENTS[j] in siblings) for j in range(N)]
    cosine = torch.nn.functional.cosine_similarity(VECTORS[:, None], VECTORS[None], dim=2).tolist()
    weights = [0.5 / N] * N
    for p in POSITIVES[b]:
        total = sum(math.exp(cosine[p][i] / 0.1) for i in range(N) if i != p)
        for j in range(N):
            if j != p:
                share = math.exp(cosine[p][j] / 0.1) / total
                weights[j] += 0.5 * share / len(POSITIVES[b])
    return weights


def expected_probabilities(sampler):
    """Probability of each label as a negative of each document, by loops."""
    table = np.ones((B, N))
    for b in range(B):
        negatives = [j for j in range(N) if j not in POSITIVES[b]]
        if sampler == "uniform":
            row = [max(1, round(KEEP * len(negatives))) / len(negatives)] * len(negatives)
        elif sampler == "bernoulli":
            row = [KEEP] * len(negatives)
        elif sampler == "frequency":  # one probability for all documents
            of_all = capped([math.sqrt(count + 1) for count in COUNTS], KEEP * N)
            row = [of_all[j] for j in negatives]
        else:
            weights = preferred(sampler, b)
            row = capped([weights[j] for j in negatives], KEEP * len(negatives))
        table[b, negatives] = row
    return table


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_labels_are_drawn_with_their_probability_and_weigh_one_over_it(sampler):
    count = 1000
    weights = draws(make_loss(sampler), count)
    expected = expected_probabilities(sampler)
    frequency = (weights > 0).mean(axis=0)
    error = np.sqrt(expected * (1 - expected) / count)
    assert (np.abs(frequency - expected) <= 4.5 * error + 1e-9).all()
    drawn = weights > 0
    np.testing.assert_allclose(
        weights[drawn], np.broadcast_to(1 / expected, weights.shape)[drawn], rtol=1e-4
    )


@pytest.fixture(scope="module")
def many_labels() -> tuple[torch.Tensor, SparseTargets, LabelSpace]:
    """So many that one draw is near the mean of all; what is rare has the higher logits."""
    count, random = 800, torch.Generator().manual_seed(3)
    shares = torch.tensor([0.002, 0.0, 0.05, 0.3])
    positive = torch.rand(len(shares), count, generator=random) < shares[:, None]
    space = LabelSpace(
        torch.randint(30, 100, (count,), generator=random),
        torch.randint(count // 10, (count,), generator=random),
        torch.randn(count, 3, generator=random),
    )
    logits = torch.randn(len(shares), count, generator=random) + 1 - space.counts / 50
    return logits, SparseTargets(*positive.nonzero(as_tuple=True)), space


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("per", ["example", "batch"])
@pytest.mark.parametrize(("beta", "over"), [(1.0, "all"), (0.7, "sampled")])
def test_mean_of_the_unbiased_loss_is_the_full_loss(many_labels, sampler, per, beta, over):
    logits, targets, space = many_labels
    bootstrap = BootstrapOptions(beta, over=over)
    options = DHPCOptions(bootstrap, NegativeOptions(0.9, sampler, "unbiased", per))
    loss = DHPCLoss(options, logits.shape[1], space).eval()
    full = DHPCLoss(DHPCOptions(BootstrapOptions(beta)), logits.shape[1])(logits, targets, 0).item()
    torch.manual_seed(1)
    values = np.array([loss(logits, targets, 0).item() for _ in range(40)])
    error = values.std() / math.sqrt(len(values))
    assert 0 < error < 0.0025 * full  # else the bound below would say nothing
    assert abs(values.mean() - full) < 0.01 * full


@pytest.mark.parametrize("keep", [0.01, 0.3, 0.5, 0.77, 0.99])
def test_uniform_draws_exactly_the_share_of_each_document(keep):
    for weights in draws(make_loss("uniform", "none", keep=keep), 50):
        for b in range(B):
            negatives = [j for j in range(N) if j not in POSITIVES[b]]
            drawn = np.count_nonzero(weights[b, negatives])
            assert drawn == max(1, round(keep * len(negatives)))


def test_every_subset_of_negatives_is_equally_likely():
    # Six labels, one positive: 2 of 5 negatives, so 10 subsets, for each of three documents.
    targets = SparseTargets(torch.tensor([0, 1, 2]), torch.tensor([0, 3, 3]))
    loss = DHPCLoss(DHPCOptions(negatives=NegativeOptions(0.4, scale="none")), 6)
    torch.manual_seed(0)
    seen = [Counter(), Counter(), Counter()]
    count = 1500
    for _ in range(count):
        weights = loss.sampler(targets, 3).dense(targets, 3, 6)
        for b, positive in enumerate([0, 3, 3]):
            weights[b, positive] = 0
            seen[b][tuple(weights[b].nonzero()[:, 0].tolist())] += 1
    for b, positive in enumerate([0, 3, 3]):
        subsets = list(combinations([j for j in range(6) if j != positive], 2))
        assert set(seen[b]) == set(subsets)
        chi_square = sum((seen[b][s] - count / 10) ** 2 / (count / 10) for s in subsets)
        assert chi_square < 27.9  # 99.9 % quantile of 9 degrees of freedom


def test_documents_draw_different_negatives():
    targets = SparseTargets(torch.zeros(0, dtype=torch.int64), torch.zeros(0, dtype=torch.int64))
    loss = DHPCLoss(DHPCOptions(negatives=NegativeOptions(0.5)), 100)
    torch.manual_seed(0)
    rows = loss.sampler(targets, 10).dense(targets, 10, 100) > 0
    assert len({tuple(row.tolist()) for row in rows}) == 10
    shared = loss.sampler.use(loss.sampler.shared(targets), targets, 10)
    assert (shared.dense(targets, 10, 100) > 0).any(dim=0).sum() == 50


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("per", ["example", "batch"])
@pytest.mark.parametrize("scale", ["paper", "none"])
def test_drawn_negatives_weigh_what_the_scale_says_and_positives_one(sampler, per, scale):
    for weights in draws(make_loss(sampler, scale, per), 20):
        for b in range(B):
            assert all(weights[b, k] == 1 for k in POSITIVES[b])
            factor = (N - len(POSITIVES[b])) / (KEEP * N) if scale == "paper" else 1.0
            negatives = weights[b, [j for j in range(N) if j not in POSITIVES[b]]]
            assert set(np.round(negatives, 5)) <= {0.0, np.float32(round(factor, 5))}


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("per", ["example", "batch"])
def test_keeping_all_negatives_is_no_sampling(sampler, per):
    logits = torch.randn(B, N, generator=torch.Generator().manual_seed(4))
    torch.manual_seed(0)
    before = torch.get_rng_state()
    loss = make_loss(sampler, "paper", per, keep=1.0)(logits, TARGETS, 0)
    assert loss.item() == DHPCLoss(DHPCOptions(), N)(logits, TARGETS, 0).item()
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("per", ["example", "batch"])
@pytest.mark.parametrize("scale", ["paper", "unbiased", "none"])
@pytest.mark.parametrize("num_labels", [1, 3])
def test_documents_with_every_label_have_no_negatives_to_draw(sampler, per, scale, num_labels):
    options = DHPCOptions(negatives=NegativeOptions(KEEP, sampler, scale, per))
    labels = LabelSpace(*(values[:num_labels] for values in LABELS))
    loss = DHPCLoss(options, num_labels, labels)
    targets = SparseTargets(
        torch.arange(2).repeat_interleave(num_labels), torch.arange(num_labels).repeat(2)
    )
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, num_labels, generator=generator, dtype=torch.float64)
    logits.requires_grad_()
    torch.manual_seed(0)
    for _ in range(5):
        value = loss(logits, targets, 0)
        assert value.item() == pytest.approx(torch.nn.functional.softplus(-logits).sum().item() / 2)
        (gradient,) = torch.autograd.grad(value, logits)
        torch.testing.assert_close(gradient, (torch.sigmoid(logits) - 1) / 2)


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_the_same_seed_draws_the_same(sampler):
    loss = make_loss(sampler)
    once, again, other = draws(loss, 5, seed=7), draws(loss, 5, seed=7), draws(loss, 5, seed=8)
    assert (once == again).all()
    assert (once != other).any()


@pytest.mark.parametrize("sampler", ["frequency", "confusion", "semantic"])
def test_a_sampler_without_its_label_space_says_so(sampler):
    loss = DHPCLoss(DHPCOptions(negatives=NegativeOptions(0.5, sampler)), N)
    with pytest.raises(ValueError, match=rf"^loss.negatives.sampler: {sampler} needs .*$"):
        loss(torch.zeros(B, N), TARGETS, 0)
    loss.set_label_space(LABELS)
    loss(torch.zeros(B, N), TARGETS, 0)


def test_a_label_space_of_another_size_is_refused():
    with pytest.raises(ValueError, match="13 labels, got 12 counts"):
        DHPCLoss(DHPCOptions(), 13, LABELS)


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_checkpoint_needs_no_label_space(sampler):
    loss = make_loss(sampler)
    loss(torch.randn(B, N), TARGETS, 0)
    fresh = DHPCLoss(loss.options, N)
    fresh.load_state_dict(loss.state_dict())
    fresh.set_label_space(LABELS)
    assert (draws(loss, 3) == draws(fresh, 3)).all()


def test_confusion_follows_what_the_model_gives_to_siblings_of_the_labels():
    loss = make_loss("confusion")
    # Label 1's siblings: 0. Label 5's: 6, 7, 8. Document 1's label 0: sibling 1. Document 3 has
    # all their siblings as labels, but for label 9's sibling 10, which it has, and 11 has none.
    logits = torch.full((B, N), -20.0)
    logits[0, 0] = logits[0, 6] = 20.0
    torch.manual_seed(0)
    loss(logits, TARGETS, 0)
    estimate = loss.sampler.preferences.confusion
    moved_up, moved_down = 0.5 + 0.05 * 0.5, 0.5 - 0.05 * 0.5
    expected = [0.5] * N
    expected[0] = expected[6] = moved_up
    expected[1] = expected[7] = expected[8] = moved_down
    torch.testing.assert_close(estimate, torch.tensor(expected))
    loss.eval()(logits, TARGETS, 0)
    torch.testing.assert_close(estimate, torch.tensor(expected))
