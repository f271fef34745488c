"""The paired bootstrap against scikit-learn on the same resamples, and against the normal law."""

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, f1_score

from hierarchy_lm.metrics.bootstrap import paired_bootstrap

LABELS = 5


def models(items: int, seeds: int, right: float, random: np.random.Generator) -> tuple:
    gold = random.integers(0, LABELS - 1, items)  # one label has no item
    guesses = random.integers(0, LABELS, (seeds, items))
    return gold, np.where(random.random((seeds, items)) < right, gold, guesses)


def test_scores_of_each_resample_are_those_of_scikit_learn():
    random = np.random.default_rng(1)
    gold, first = models(40, 2, 0.5, random)
    _, second = models(40, 3, 0.3, random)
    found = paired_bootstrap(gold, first, second, LABELS, resamples=50, seed=7)
    counts = np.random.default_rng(7).multinomial(40, [1 / 40] * 40, size=50)
    rows = [np.repeat(np.arange(40), count) for count in [np.ones(40, dtype=int), *counts]]

    def macro(predicted, chosen):
        kept = np.unique(gold)  # of the whole split, present in the resample or not
        return f1_score(
            gold[chosen], predicted[chosen], labels=kept, average="macro", zero_division=0
        )

    for name, score in {
        "micro": lambda p, r: accuracy_score(gold[r], p[r]),
        "macro": macro,
    }.items():
        means = [
            [np.mean([score(row, chosen) for row in model]) for chosen in rows]
            for model in (first, second)
        ]
        differences = np.subtract(means[1], means[0])
        drawn = differences[1:]
        assert found[name].observed == pytest.approx(differences[0])
        assert found[name].low == pytest.approx(np.quantile(drawn, 0.025))
        assert found[name].high == pytest.approx(np.quantile(drawn, 0.975))
        share = min((drawn <= 1e-12).mean(), (drawn >= -1e-12).mean())
        assert found[name].p_value == pytest.approx(min(1, 2 * share), abs=2 / 50)


def test_interval_is_as_wide_as_the_standard_error_says():
    random = np.random.default_rng(3)
    gold = random.integers(0, LABELS, 2000)
    first, second = (np.where(random.random((1, 2000)) < p, gold, LABELS) for p in (0.6, 0.7))
    found = paired_bootstrap(gold, first, second, LABELS + 1, resamples=2000)["micro"]
    paired = (second == gold).astype(float) - (first == gold)
    error = paired.std() / np.sqrt(2000)
    assert found.high - found.low == pytest.approx(2 * 1.96 * error, rel=0.08)
    assert found.p_value < 0.01


def test_a_model_against_itself_differs_by_nothing():
    gold, model = models(60, 2, 0.5, np.random.default_rng(0))
    for difference in paired_bootstrap(gold, model, model, LABELS, resamples=20).values():
        assert difference == (0, 0, 0, 1)
