"""Scores of resampled label sets against scikit-learn on the drawn rows, repeated as drawn."""

import numpy as np
import pytest
from sklearn.metrics import f1_score

from hierarchy_lm.metrics.bootstrap import Outcomes, Pairs, resampled_scores

ITEMS, LABELS, RESAMPLES = 30, 9, 20
OFFSETS = [0, 2, 5, 9]


def pairs(hot):
    return Pairs(*np.nonzero(hot))


def run(random):
    gold, predicted = random.random((2, ITEMS, LABELS)) < [[[0.3]], [[0.25]]]
    gold[:, 4] = False  # a label without a positive
    gold[0], predicted[1] = False, False  # items without gold, or without an answer
    weights = random.choice([0.5, 1.0, 3.0], ITEMS)
    return gold, predicted, weights


def as_outcomes(gold, predicted, weights):
    return Outcomes(pairs(gold), pairs(predicted), weights, LABELS, OFFSETS)


def f1(average, columns=slice(None)):
    def score(gold, predicted, weights):
        return f1_score(gold[:, columns], predicted[:, columns], average=average, zero_division=0)

    return score


def accuracy(gold, predicted, weights):
    right = [any(map(min, row, guess)) for row, guess in zip(gold, predicted, strict=True)]
    return np.average(right, weights=weights)


@pytest.mark.parametrize(
    ("metric", "expected"),
    [
        ("accuracy", accuracy),
        ("micro_f1", f1("micro")),
        ("micro_f1_L1", f1("micro", slice(0, 2))),
        ("micro_f1_L3", f1("micro", slice(5, 9))),
        ("macro_f1", f1("macro")),
        ("macro_f1_supported", f1("macro", [0, 1, 2, 3, 5, 6, 7, 8])),
        ("weighted_f1", f1("weighted")),
    ],
)
def test_scores_of_label_sets_are_those_of_scikit_learn(metric, expected):
    random = np.random.default_rng(5)
    runs = [run(random) for _ in range(2)]
    found = resampled_scores([as_outcomes(*one) for one in runs], metric, RESAMPLES, seed=3)
    counts = np.random.default_rng(3).multinomial(ITEMS, [1 / ITEMS] * ITEMS, size=RESAMPLES)
    rows = [np.repeat(np.arange(ITEMS), count) for count in [np.ones(ITEMS, dtype=int), *counts]]
    means = [np.mean([expected(*(part[r] for part in one)) for one in runs]) for r in rows]
    assert found == pytest.approx(means)


@pytest.mark.parametrize("metric", ["loss", "micro_f1_L4", "micro_f1_L1x"])
def test_a_score_that_items_cannot_give_is_refused(metric):
    one = as_outcomes(*run(np.random.default_rng(0)))
    with pytest.raises(ValueError, match="no paired bootstrap"):
        resampled_scores([one], metric, 2)
