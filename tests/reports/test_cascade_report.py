"""The figures of a report against hand-made values, scikit-learn and slow loops."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sklearn.calibration import calibration_curve
from sklearn.metrics import accuracy_score

from hierarchy_lm.dataset import DatasetInfo, write_json
from hierarchy_lm.errors import UserError
from hierarchy_lm.hierarchy import Hierarchy
from hierarchy_lm.reports.cascade_data import read_evaluation
from hierarchy_lm.reports.cascade_figures import (
    by_department,
    coverage_curve,
    judge,
    reliability,
    thin,
)
from hierarchy_lm.reports.cascade_mistakes import (
    confused_siblings,
    contradicted_labels,
    read_titles,
)
from hierarchy_lm.reports.cascade_scores import score
from hierarchy_lm.reports.cascade_slider import slider
from hierarchy_lm.reports.texts import gain, share

from ..conftest import seal

TREE = Hierarchy.from_paths(
    [
        ("Garden", "Hoses", "Long"),
        ("Garden", "Hoses", "Short"),
        ("Garden", "Pots"),
        ("Toys", "Balls"),
        ("Toys", "Dolls"),
        ("Vouchers",),
    ]
)
GARDEN, TOYS = 0, 1
HOSES = TREE.node_of("Garden > Hoses")
LONG, SHORT = TREE.node_of("Garden > Hoses > Long"), TREE.node_of("Garden > Hoses > Short")
POTS, BALLS, DOLLS = (
    TREE.node_of(f"{p}") for p in ("Garden > Pots", "Toys > Balls", "Toys > Dolls")
)

#  id    weight gold            department leaf   confidence decision
ITEMS = [
    ("a", 4.0, [LONG], GARDEN, LONG, 0.95, "leaf"),
    ("b", 1.0, [LONG], GARDEN, SHORT, 0.90, "leaf"),  # confused siblings
    ("c", 2.0, [BALLS], TOYS, BALLS, 0.80, "leaf"),
    ("d", 1.0, [BALLS], GARDEN, POTS, 0.80, "department"),  # wrong department
    ("e", 1.0, [HOSES], GARDEN, SHORT, 0.60, "department"),  # label ends above the leaves
    ("f", 1.0, [DOLLS, POTS], GARDEN, POTS, 0.40, "department"),  # two paths
    ("g", 2.0, [DOLLS], TOYS, -1, 0.99, "abstain"),  # no leaf, so no confidence in one
    ("h", 8.0, [], TOYS, DOLLS, 0.97, "leaf"),  # no label
]


def columns(items):
    names = ("item_id", "weight", "gold", "department", "leaf", "confidence", "decision")
    table = dict(zip(names, map(list, zip(*items, strict=True)), strict=True))
    return {**table, "p_department": [1.0] * len(items), "p_leaf": table["confidence"]}


@pytest.fixture
def small(tmp_path, write_cascade):
    return read_evaluation(write_cascade(tmp_path / "dhpc", TREE, columns(ITEMS)), "test")


def random_items(n, seed=0):
    rng = np.random.default_rng(seed)
    leaves = np.array([LONG, SHORT, POTS, BALLS, DOLLS])
    root = dict(zip(leaves.tolist(), [GARDEN] * 3 + [TOYS] * 2, strict=True))
    items = []
    for number in range(n):
        gold, leaf = rng.choice(leaves, 2, p=[0.3, 0.3, 0.2, 0.1, 0.1]).tolist()
        confidence = float(np.float32(rng.choice(np.arange(1, 1000)) / 1000))
        weight = float(np.float32(rng.gamma(1.0)))
        row = (f"i{number}", weight, [gold], root[leaf], leaf, confidence, "leaf")
        items.append(row if confidence < rng.random() else (*row[:3], root[gold], gold, *row[5:]))
    return items


@pytest.fixture
def large(tmp_path, write_cascade):
    folder = write_cascade(tmp_path / "large", TREE, columns(random_items(3000)))
    return read_evaluation(folder, "test")


def test_accuracies_are_weighted_and_leave_unlabelled_items_out(small):
    scores = score(small, "dhpc")
    # Labelled weight 12; department wrong for d; leaf right for a, c, f.
    assert scores.department_accuracy == pytest.approx(11 / 12)
    assert scores.leaf_accuracy == pytest.approx(7 / 12)


def test_accuracies_agree_with_scikit_learn(large):
    scores = score(large, "large")
    gold = large.gold  # one each
    expected = accuracy_score(gold, large.leaf, sample_weight=large.weight)
    assert scores.leaf_accuracy == pytest.approx(expected)
    root = [TREE.ancestors(node)[0] for node in gold.tolist()]
    expected = accuracy_score(root, large.department, sample_weight=large.weight)
    assert scores.department_accuracy == pytest.approx(expected)


def test_curve_accepts_equal_confidences_together(small):
    curve = coverage_curve(small, judge(small))
    np.testing.assert_allclose(curve.threshold, np.float32([0.95, 0.9, 0.8, 0.6, 0.4]))
    np.testing.assert_allclose(curve.coverage, np.array([4, 5, 8, 9, 10]) / 12)
    np.testing.assert_allclose(curve.accuracy, [1, 4 / 5, 6 / 8, 6 / 9, 7 / 10])
    assert curve.items.tolist() == [1, 2, 4, 5, 6]


def test_curve_agrees_with_counting_at_every_threshold(large):
    curve = coverage_curve(large, judge(large))
    right = large.leaf == large.gold
    assert len(curve.threshold) == len(set(large.confidence.tolist()))
    for index in range(0, len(curve.threshold), 37):
        accepted = large.confidence >= curve.threshold[index]
        weight = large.weight[accepted]
        assert curve.items[index] == accepted.sum()
        assert curve.coverage[index] == pytest.approx(weight.sum() / large.weight.sum())
        assert curve.accuracy[index] == pytest.approx(
            accuracy_score(right[accepted], np.ones(len(weight)), sample_weight=weight)
        )


def test_coverage_at_accuracy_is_the_largest_that_reaches_it(small):
    curve = coverage_curve(small, judge(small))
    at = {target: curve.index_of_accuracy(target) for target in (0.7, 0.75, 0.8, 0.9, 1.0)}
    # Coverage 10/12 has 0.7 again although 9/12 falls below it.
    assert at == {0.7: 4, 0.75: 2, 0.8: 1, 0.9: 0, 1.0: 0}
    assert curve.index_of_accuracy(1.01) is None


def test_a_threshold_accepts_what_reaches_it(small):
    curve = coverage_curve(small, judge(small))
    assert curve.index_of_threshold(0.7) == 2  # a, b, c, d
    assert curve.index_of_threshold(0.0) == 4
    assert curve.index_of_threshold(0.96) is None


def test_thinning_keeps_ends_and_wanted_points_and_is_even(large):
    curve = coverage_curve(large, judge(large))
    points = thin(curve, 50, [3, 77])
    assert len(points) <= 50
    assert {0, 3, 77, len(curve.coverage) - 1} <= set(points.tolist())
    assert np.diff(curve.coverage[points]).max() < 0.05
    assert (np.diff(points) > 0).all()


def test_reliability_agrees_with_scikit_learn(large):
    right = large.leaf == large.gold
    # scikit-learn puts a value on an edge into the lower bin: 0.2, 0.4, ... are left out.
    keep = ~np.isin(np.round(large.confidence * 15, 4), np.arange(16))
    weight = np.where(keep, 1.0, 0.0)
    bins = reliability(replace(large, weight=weight), judge(large))
    accuracy, confidence = calibration_curve(right[keep], large.confidence[keep], n_bins=15)
    np.testing.assert_allclose(bins.accuracy, accuracy)
    np.testing.assert_allclose(bins.confidence, confidence)


def test_calibration_error_by_hand(small):
    # Bins of width 1/15: g without a leaf has confidence 0 and is wrong, gap 0.
    # [.4, .467) f; [.6, .667) e; [.8, .867) c, d; [.867, .933) b; [.933, 1] a.
    gaps = [1 * (1 - 0.4), 1 * 0.6, 3 * abs(2 / 3 - 0.8), 1 * 0.9, 4 * 0.05]
    bins = reliability(small, judge(small))
    assert bins.error == pytest.approx(sum(gaps) / 12, abs=1e-6)
    assert bins.items.tolist() == [1, 0, 0, 0, 0, 0, 1, 0, 0, 1, 0, 0, 2, 1, 1]


def test_departments_by_importance_with_errors_split(small):
    found = by_department(small, judge(small))
    # Garden: a, b, e, f; Toys: c, d, f, g. f counts in both, so the weights sum to 13.
    assert found.node.tolist() == [GARDEN, TOYS]
    assert found.items.tolist() == [4, 4]
    np.testing.assert_allclose(found.importance, [7 / 13, 6 / 13])
    np.testing.assert_allclose(found.department_accuracy, [1, 5 / 6])
    np.testing.assert_allclose(found.leaf_accuracy, [5 / 7, 3 / 6])
    np.testing.assert_allclose(found.routing_error, [0, 1 / 6])
    np.testing.assert_allclose(found.leaf_error, [2 / 7, 2 / 6])
    np.testing.assert_allclose(found.loss, [2 / 13, 3 / 13])


def test_losses_of_the_departments_sum_to_the_error(large):
    scores = score(large, "large")
    assert scores.departments.loss.sum() == pytest.approx(1 - scores.leaf_accuracy)


def test_confused_siblings_share_the_parent(small):
    (pair,), total = confused_siblings(small, judge(small), 10)
    assert (pair.gold, pair.predicted, pair.items, pair.labelled) == (LONG, SHORT, 1, 2)
    assert (pair.importance, pair.examples, total) == (1.0, ["b"], 1)


def test_confused_siblings_agree_with_a_loop(large):
    slow = {}
    for row, (gold, leaf) in enumerate(zip(large.gold.tolist(), large.leaf.tolist(), strict=True)):
        if gold != leaf and TREE.parents[gold] == TREE.parents[leaf]:
            slow.setdefault((gold, leaf), []).append(row)
    pairs, total = confused_siblings(large, judge(large), 3)
    weights = {pair: large.weight[rows].sum() for pair, rows in slow.items()}
    first = sorted(weights, key=weights.get, reverse=True)[:3]
    assert [(pair.gold, pair.predicted) for pair in pairs] == first
    assert total == len(slow)
    for pair in pairs:
        rows = slow[pair.gold, pair.predicted]
        assert pair.items == len(rows)
        best = sorted(rows, key=lambda row: -large.confidence[row])[:3]
        assert pair.examples == [f"i{row}" for row in best]


def test_contradicted_labels_by_confidence(small):
    found, total = contradicted_labels(small, judge(small), 10)
    # e stays below its label and f is right on one path: neither is a contradiction.
    assert [(one.item_id, one.gold, one.predicted) for one in found] == [
        ("b", [LONG], SHORT),
        ("d", [BALLS], POTS),
    ]
    assert total == 2
    assert found[0].confidence == pytest.approx(0.9)
    assert contradicted_labels(small, judge(small), 1)[0] == found[:1]


def test_slider_shows_what_counting_gives(tmp_path, write_cascade):
    calibration = {"target_accuracy": 0.9, "leaf_threshold": 0.7321, "departments": {}}
    own = columns(random_items(3000))
    folder = write_cascade(tmp_path / "own", TREE, own, calibration=calibration)
    other = write_cascade(tmp_path / "other", TREE, columns(random_items(3000, seed=1)))
    evaluation, baseline = read_evaluation(folder, "test"), read_evaluation(other, "test")
    steps = slider(score(evaluation, "own"), score(baseline, "other"))
    assert 100 < len(steps.steps) <= 500
    right = evaluation.leaf == evaluation.gold
    for step in steps.steps[::25]:
        accepted = evaluation.confidence >= step.threshold
        weight = evaluation.weight
        assert step.left == (~accepted).sum()
        assert step.coverage == pytest.approx(weight[accepted].sum() / weight.sum())
        assert step.accuracy == pytest.approx(np.average(right[accepted], weights=weight[accepted]))
    assert [s.threshold for s in steps.steps] == sorted(s.threshold for s in steps.steps)
    assert steps.steps[steps.calibrated].threshold == 0.7321
    assert steps.start == steps.calibrated == steps.marks["calibrated threshold"]


def test_slider_compares_at_the_same_coverage(tmp_path, write_cascade):
    swapped = [list(item) for item in ITEMS]
    swapped[0][5] = 0.2  # the heavy right item comes last
    own = read_evaluation(write_cascade(tmp_path / "own", TREE, columns(ITEMS)), "test")
    other = read_evaluation(write_cascade(tmp_path / "other", TREE, columns(swapped)), "test")
    steps = slider(score(own, "own"), score(other, "other")).steps
    # Baseline's weights in its order: b 1 wrong; c, d 3; e; f; a. Coverage 4/12 is met by b, c, d.
    assert steps[-1].coverage == pytest.approx(4 / 12)
    assert steps[-1].baseline == pytest.approx(2 / 4)
    assert steps[0].baseline == pytest.approx(7 / 10)


def test_titles_come_from_the_split_of_the_dataset(tmp_path):
    products = tmp_path / "products"
    products.mkdir()
    for number, split in enumerate(["test", "test", "train"]):
        ids = [f"{number}a", f"{number}b"]
        table = pa.table({"item_id": ids, "title": [f"title {number}", None]})
        pq.write_table(table, products / f"{split}-{number:05d}.parquet")
    write_json(tmp_path / "dataset.json", DatasetInfo("data", "by hand", "none", ""))
    seal(tmp_path)
    wanted = ["0a", "1a", "1b", "2a"]
    assert read_titles(str(tmp_path), "test", wanted) == {"0a": "title 0", "1a": "title 1"}
    assert read_titles(str(tmp_path / "gone"), "test", wanted) is None
    assert read_titles("", "test", wanted) is None
    (products / "test-00001.parquet").rename(products / "test-00002.parquet")
    with pytest.raises(UserError, match="test-00002"):
        read_titles(str(tmp_path), "test", wanted)


def test_gain_has_a_sign_and_no_minus_zero():
    assert gain(0.91231, 0.9) == "+0.0123"
    assert gain(0.9, 0.91231) == "-0.0123"
    assert gain(0.90001, 0.90002) == "+0.0000"
    assert gain(None, 0.9) == gain(float("nan"), 0.9) == share(None) == "–"
