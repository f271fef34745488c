import numpy as np
import pytest

from hierarchy_lm.calibration import ValidationItems, choose_thresholds


def items_of(num_items: int = 400, seed: int = 0) -> ValidationItems:
    random = np.random.default_rng(seed)
    p_department, p_leaf = random.beta(9, 0.6, (2, num_items))
    department_correct = random.random(num_items) < p_department
    return ValidationItems(
        random.choice([3, 7], num_items),
        np.full(num_items, 20),
        department_correct,
        department_correct & (random.random(num_items) < p_leaf),
        p_department,
        p_department * p_leaf,
        np.ones(num_items),
    )


def test_departments_have_thresholds_of_their_own():
    items = items_of(2000)
    items.leaf_correct[items.department == 3] = False
    chosen = choose_thresholds(items, [3, 5, 7], 0.9)
    assert list(chosen.by_department) == [3, 5, 7]
    assert chosen.by_department[3].leaf.reason == "not reachable"
    assert chosen.by_department[5].leaf.reason == "no items"
    assert chosen.by_department[5].department.reason == "no items"
    assert chosen.by_department[7].leaf.reason == "reached"
    alone = ValidationItems._make(column[items.department == 7] for column in items)
    assert chosen.by_department[7] == choose_thresholds(alone, [], 0.9).overall


def test_the_department_is_rated_on_what_the_leaf_turned_away():
    items = items_of(2000)
    leaf, department = choose_thresholds(items, [], 0.9).overall
    assert leaf.threshold is not None
    assert department.threshold is not None
    turned_away = items.confidence < leaf.threshold
    backed_off = turned_away & (items.p_department >= department.threshold)
    assert department.items == backed_off.sum()
    assert department.accuracy == pytest.approx(items.department_correct[backed_off].mean())
    assert department.coverage == pytest.approx(backed_off.sum() / turned_away.sum())


def test_items_without_a_leaf_are_never_accepted_and_count_in_the_coverage():
    count = 200
    yes, one = np.ones(count, dtype=bool), np.ones(count)
    leaf = np.where(np.arange(count) < 150, 4, -1)
    confidence = np.where(leaf < 0, 0.0, 0.9)
    items = ValidationItems(np.zeros(count, np.int64), leaf, yes, leaf >= 0, one, confidence, one)
    found = choose_thresholds(items, [], 0.9).overall
    assert (found.leaf.threshold, found.leaf.coverage, found.leaf.items) == (0.0, 0.75, 150)
    assert (found.department.threshold, found.department.items) == (0.0, 50)


def test_an_empty_split_has_no_thresholds():
    items = ValidationItems._make(column[:0] for column in items_of())
    chosen = choose_thresholds(items, [3], 0.9)
    for threshold in (*chosen.overall, *chosen.by_department[3]):
        assert (threshold.threshold, threshold.reason, threshold.items) == (None, "no items", 0)
