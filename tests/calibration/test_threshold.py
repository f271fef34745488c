import math

import numpy as np
import pytest

from hierarchy_lm.calibration import Threshold, choose_threshold
from hierarchy_lm.calibration.binomial import accuracy_lower_bound, at_most, fewest_items
from hierarchy_lm.calibration.threshold import THRESHOLDS

ALPHA = 0.05


@pytest.mark.parametrize(("items", "rate"), [(1, 0.5), (29, 0.1), (60, 0.03), (200, 0.4)])
def test_the_tail_is_the_sum_of_the_binomial_terms(items, rate):
    for errors in (0, 1, items // 3, items - 1, items):
        terms = [
            math.comb(items, k) * rate**k * (1 - rate) ** (items - k) for k in range(items + 1)
        ]
        assert at_most(errors, items, rate) == pytest.approx(sum(terms[: errors + 1]), rel=1e-10)


def test_the_tail_of_a_large_sample_is_that_of_the_normal():
    # Mean 100,000, deviation 300: one and a half below, with continuity correction.
    expected = 0.5 * math.erfc((449.5 / 300) / math.sqrt(2))
    assert at_most(99_550, 1_000_000, 0.1) == pytest.approx(expected, rel=2e-3)


def test_the_lower_bound_by_hand():
    # Without an error in n, the bound p solves p^n = alpha.
    assert accuracy_lower_bound(0, 29, ALPHA) == pytest.approx(0.05 ** (1 / 29), abs=1e-9)
    assert accuracy_lower_bound(5, 5, ALPHA) == 0.0
    assert accuracy_lower_bound(0, 0, ALPHA) == 0.0
    bound = accuracy_lower_bound(4, 90, ALPHA)
    tail = sum(math.comb(90, k) * (1 - bound) ** k * bound ** (90 - k) for k in range(5))
    assert tail == pytest.approx(ALPHA, abs=1e-9)


@pytest.mark.parametrize(("target", "expected"), [(0.9, 29), (0.5, 5), (0.95, 59), (0.99, 299)])
def test_fewest_items_that_can_show_a_target(target, expected):
    assert fewest_items(target, ALPHA) == expected
    assert target**expected <= ALPHA < target ** (expected - 1)


def slow_choice(confidence, correct, target, first):
    """The search, literally: sets instead of sums, terms instead of tails."""
    chosen = None
    for threshold in THRESHOLDS:
        accepted = [
            right for stated, right in zip(confidence, correct, strict=True) if stated >= threshold
        ]
        if len(accepted) < first:
            continue
        n, wrong = len(accepted), len(accepted) - sum(accepted)
        terms = [math.comb(n, k) * (1 - target) ** k * target ** (n - k) for k in range(wrong + 1)]
        if sum(terms) > ALPHA:
            break
        chosen = (threshold, n)
    return chosen


@pytest.mark.parametrize("seed", range(5))
def test_the_search_equals_a_literal_one(seed):
    random = np.random.default_rng(seed)
    confidence = random.beta(5, 1, 110)
    correct = random.random(110) < 0.5 + 0.5 * confidence
    found = choose_threshold(confidence, correct, np.full(110, 2.5), 0.9)
    expected = slow_choice(confidence, correct.tolist(), 0.9, first=29)  # 110 // 4 is fewer
    assert (found.threshold, found.items) == (expected or (None, found.items))
    if expected:
        accepted = confidence >= found.threshold
        assert found.items == accepted.sum()
        assert found.coverage == pytest.approx(accepted.mean())
        assert found.accuracy == pytest.approx(correct[accepted].mean())
        assert found.lower_bound >= 0.9


def test_faultless_items_are_all_accepted():
    found = choose_threshold(np.linspace(0, 1, 40), np.ones(40), np.ones(40), 0.9)
    assert found == Threshold(0.0, 1.0, 1.0, pytest.approx(0.05 ** (1 / 40)), 40, "reached")


def test_a_target_out_of_reach_says_so():
    confidence, correct = np.linspace(0, 1, 400), np.arange(400) % 2 == 0
    found = choose_threshold(confidence, correct, np.ones(400), 0.9)
    assert (found.threshold, found.coverage, found.reason) == (None, 0.0, "not reachable")
    assert found.accuracy == pytest.approx(0.5, abs=0.02)  # of the strictest quarter
    assert found.lower_bound < 0.9
    assert 100 <= found.items <= 101
    assert found.cut == math.inf


def test_too_few_items_are_told_from_bad_ones():
    found = choose_threshold(np.full(28, 0.99), np.ones(28), np.ones(28), 0.9)
    assert (found.threshold, found.reason, found.items) == (None, "too few items", 28)
    assert found.accuracy == 1.0
    assert found.lower_bound == pytest.approx(0.05 ** (1 / 28))
    one_more = choose_threshold(np.full(29, 0.99), np.ones(29), np.ones(29), 0.9)
    assert one_more.reason == "reached"


@pytest.mark.parametrize("weights", [[], [0.0, 0.0]])
def test_nothing_to_choose_from(weights):
    empty = np.zeros(len(weights))
    found = choose_threshold(empty, empty, weights, 0.9)
    assert found == Threshold(None, 0.0, 0.0, 0.0, 0, "no items")


@pytest.mark.parametrize(("share_right", "reason"), [(0.95, "reached"), (0.9, "not reachable")])
@pytest.mark.parametrize("stated", [0.0, 0.5, 1.0])
def test_equal_confidences_are_accepted_together_or_not_at_all(share_right, reason, stated):
    correct = np.arange(1000) < 1000 * share_right
    found = choose_threshold(np.full(1000, stated), correct, np.ones(1000), 0.9)
    assert (found.reason, found.items) == (reason, 1000)
    assert found.coverage == float(reason == "reached")


def test_items_without_weight_do_not_count():
    confidence = np.full(80, 0.7)
    correct = np.arange(80) < 40
    found = choose_threshold(confidence, correct, correct.astype(float), 0.9)
    assert found.reason == "reached"
    assert found.lower_bound == pytest.approx(0.05 ** (1 / 40))


def test_unlucky_items_at_the_very_top_do_not_end_the_search():
    """One error among the first thirty would fail the test there; the thousand after it pass."""
    confidence = np.linspace(1, 0.5, 1000)
    correct = np.ones(1000)
    correct[[3, 17]] = 0
    found = choose_threshold(confidence, correct, np.ones(1000), 0.9)
    assert found.items == 1000


@pytest.mark.parametrize(
    ("confidence", "weights", "target", "alpha", "message"),
    [
        ([0.5], [1.0, 1.0], 0.9, 0.05, "alike"),
        ([1.5], [1.0], 0.9, 0.05, "confidence"),
        ([float("nan")], [1.0], 0.9, 0.05, "confidence"),
        ([0.5], [-1.0], 0.9, 0.05, "weights"),
        ([0.5], [1.0], 1.0, 0.05, "target"),
        ([0.5], [1.0], 0.9, 0.0, "error_probability"),
    ],
)
def test_broken_input_is_refused(confidence, weights, target, alpha, message):
    with pytest.raises(ValueError, match=message):
        choose_threshold(confidence, np.ones(len(confidence)), weights, target, alpha)
