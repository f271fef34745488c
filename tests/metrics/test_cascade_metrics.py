"""Cascade metrics against scikit-learn and slow loops over items."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from sklearn.metrics import accuracy_score, f1_score

from hierarchy_lm.batches import SparseTargets
from hierarchy_lm.hierarchy import Hierarchy
from hierarchy_lm.metrics import CascadeMetrics, CascadeOutcome

TREE = Hierarchy.from_paths(
    [
        *(("Food", a, b) for a in ("Tea", "Cheese") for b in ("Green", "Blue", "Mild")),
        *(("Home", a) for a in ("Lamps", "Chairs", "Tables")),
        ("Home", "Beds", "Double"),
        ("Gifts",),
    ]
)


class Case:
    """Random answers and gold as plain Python, one entry per item."""

    def __init__(self, seed: int, num_items: int = 120, single_full_path: bool = False):
        random = np.random.default_rng(seed)
        leaves = np.flatnonzero(TREE.is_leaf)
        if single_full_path:
            leaves = leaves[TREE.levels[leaves] == TREE.depth]
        self.gold = [
            set() if not single_full_path and random.random() < 0.1 else closed(random, leaves)
            for _ in range(num_items)
        ]
        if not single_full_path:  # some paths stop above a leaf, some items have two paths
            self.gold[::5] = [nodes and {min(nodes)} for nodes in self.gold[::5]]
            self.gold[1::5] = [nodes | closed(random, leaves) for nodes in self.gold[1::5]]
        self.leaf = random.choice(leaves, num_items)
        for item in range(0, num_items, 2):  # half of the answers agree with gold
            tips = most_specific(self.gold[item])
            self.leaf[item] = min(tips) if tips else self.leaf[item]
        self.department = np.array([[*TREE.ancestors(leaf), leaf][0] for leaf in self.leaf])
        if not single_full_path:
            self.leaf[3::7] = -1
        # On the centres of the metric's bins, so that binning loses nothing.
        self.confidence = (random.integers(0, 10_000, num_items) + 0.5) / 10_000
        self.p_department = random.random(num_items)
        self.weight = random.exponential(size=num_items)

    def batches(self, *ends: int) -> list[tuple[CascadeOutcome, SparseTargets]]:
        return [self.rows(start, end) for start, end in pairwise([0, *ends, len(self.gold)])]

    def rows(self, start: int, end: int) -> tuple[CascadeOutcome, SparseTargets]:
        fields = (self.department, self.leaf, self.p_department, self.p_department)
        tensors = [torch.as_tensor(f[start:end]) for f in (*fields, self.confidence, self.weight)]
        pairs = [(i, n) for i, nodes in enumerate(self.gold[start:end]) for n in sorted(nodes)]
        documents, labels = torch.tensor(pairs, dtype=torch.int64).reshape(-1, 2).unbind(1)
        return CascadeOutcome(*tensors), SparseTargets(documents, labels)

    def path(self, item: int) -> set[int]:
        node = int(self.leaf[item] if self.leaf[item] >= 0 else self.department[item])
        return {*TREE.ancestors(node), node}

    def rated(self) -> list[int]:
        return [item for item, gold in enumerate(self.gold) if gold]

    def dense(self) -> tuple[np.ndarray, np.ndarray]:
        gold = np.zeros((len(self.rated()), TREE.num_nodes), dtype=int)
        predicted = np.zeros_like(gold)
        for row, item in enumerate(self.rated()):
            gold[row, list(self.gold[item])] = 1
            predicted[row, list(self.path(item))] = 1
        return gold, predicted

    def leaf_is_right(self, item: int) -> bool:
        return int(self.leaf[item]) in most_specific(self.gold[item])

    def department_is_right(self, item: int) -> bool:
        return int(self.department[item]) in self.gold[item]


def closed(random: np.random.Generator, leaves: np.ndarray) -> set[int]:
    leaf = int(random.choice(leaves))
    return {*TREE.ancestors(leaf), leaf}


def most_specific(gold: set[int]) -> set[int]:
    return {node for node in gold if not any(TREE.parents[other] == node for other in gold)}


def metric_of(*batches: tuple[CascadeOutcome, SparseTargets], target: float = 0.9):
    metric = new_metric(target)
    for outcome, targets in batches:
        metric.update(outcome, targets)
    return metric


def new_metric(target: float = 0.9) -> CascadeMetrics:
    offsets = [int(offset) for offset in TREE.level_offsets]
    return CascadeMetrics(torch.from_numpy(TREE.parents), offsets, target)


def scores_of(metric: CascadeMetrics) -> dict[str, float]:
    return {name: value.item() for name, value in metric.compute().items()}


def share(values: list[bool], weights: list[float]) -> float:
    return sum(w for v, w in zip(values, weights, strict=True) if v) / sum(weights)


def slow_ece(stated: list[float], right: list[bool], weights: list[float]) -> float:
    error = 0.0
    for k in range(15):
        inside = [i for i, s in enumerate(stated) if k / 15 <= s < (k + 1) / 15]
        gap = sum(weights[i] * (right[i] - stated[i]) for i in inside)
        error += abs(gap) / sum(weights)
    return error


@pytest.mark.parametrize("seed", range(6))
def test_accuracies_equal_loops_over_the_items(seed):
    case = Case(seed)
    scores = scores_of(metric_of(*case.batches(50, 51)))
    rated = case.rated()
    weights = [float(case.weight[i]) for i in rated]
    department = [case.department_is_right(i) for i in rated]
    leaf = [case.leaf_is_right(i) for i in rated]
    assert 0 < sum(leaf) < sum(department) < len(rated)
    expected = {
        "department_accuracy": share(department, weights),
        "leaf_accuracy": share(leaf, weights),
        "department_accuracy_items": accuracy_score([True] * len(rated), department),
        "leaf_accuracy_items": accuracy_score([True] * len(rated), leaf),
        "ece": slow_ece([case.confidence[i] for i in rated], leaf, weights),
        "ece_department": slow_ece([case.p_department[i] for i in rated], department, weights),
    }
    for level in range(1, TREE.depth + 1):
        on_level = set(np.flatnonzero(TREE.levels == level).tolist())
        with_gold = [i for i in rated if case.gold[i] & on_level]
        right = [bool(case.path(i) & case.gold[i] & on_level) for i in with_gold]
        expected[f"accuracy_L{level}"] = share(right, [float(case.weight[i]) for i in with_gold])
    assert {name: scores[name] for name in expected} == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("single_full_path", [False, True])
def test_level_f1_equals_scikit_learn_on_multi_hot_columns(seed, single_full_path):
    case = Case(seed, single_full_path=single_full_path)
    scores = scores_of(metric_of(*case.batches(50)))
    gold, predicted = case.dense()
    weighted = []
    for level, (start, end) in enumerate(pairwise(TREE.level_offsets), start=1):
        y, p = gold[:, start:end], predicted[:, start:end]
        weighted.append(f1_score(y, p, average="weighted", zero_division=0))
        occurring = np.flatnonzero((y + p).any(axis=0))
        macro = f1_score(y, p, average="macro", labels=occurring, zero_division=0)
        assert scores[f"weighted_f1_L{level}"] == pytest.approx(weighted[-1], abs=1e-6)
        assert scores[f"macro_f1_L{level}"] == pytest.approx(macro, abs=1e-6)
    assert scores["mean_weighted_f1"] == pytest.approx(np.mean(weighted), abs=1e-6)


def test_level_f1_equals_scikit_learn_on_one_label_per_item():
    """The challenge's own computation: one string per item and level."""
    case = Case(0, single_full_path=True)
    scores = scores_of(metric_of(*case.batches()))
    for level in range(TREE.depth):
        y = [sorted(gold)[level] for gold in case.gold]
        p = [sorted(case.path(item))[level] for item in case.rated()]
        weighted, macro = (f1_score(y, p, average=a) for a in ("weighted", "macro"))
        assert scores[f"weighted_f1_L{level + 1}"] == pytest.approx(weighted, abs=1e-6)
        assert scores[f"macro_f1_L{level + 1}"] == pytest.approx(macro, abs=1e-6)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("target", [0.3, 0.5, 0.625, 0.9])
def test_coverage_at_accuracy_equals_a_loop_over_all_thresholds(seed, target):
    case = Case(seed, num_items=60)
    scores = scores_of(metric_of(*case.batches(30), target=target))
    rated = case.rated()
    total = sum(case.weight[i] for i in rated)
    best = 0.0
    for threshold in sorted({case.confidence[i] for i in rated}):
        kept = [i for i in rated if case.confidence[i] >= threshold]
        weight = sum(case.weight[i] for i in kept)
        if sum(case.weight[i] for i in kept if case.leaf_is_right(i)) >= target * weight:
            best = max(best, weight / total)
    name = {0.3: "0.30", 0.5: "0.50", 0.625: "0.625", 0.9: "0.90"}[target]
    assert scores[f"coverage_at_{name}"] == pytest.approx(best, abs=1e-6)


@pytest.mark.parametrize("seed", range(2))
def test_curve_equals_a_loop_over_thresholds(seed):
    case = Case(seed)
    curve = metric_of(*case.batches(7)).curve()
    rated = case.rated()
    total = sum(case.weight[i] for i in rated)
    for step in (0, 1, 2_500, 5_000, 9_500):
        kept = [i for i in rated if case.confidence[i] >= step / 10_000]
        right = [i for i in kept if case.leaf_is_right(i)]
        weight = sum(case.weight[i] for i in kept)
        assert curve.threshold[step].item() == step / 10_000
        assert curve.items[step].item() == len(kept)
        assert curve.correct_items[step].item() == len(right)
        assert curve.coverage[step].item() == pytest.approx(weight / total)
        accuracy = sum(case.weight[i] for i in right) / weight
        assert curve.accuracy[step].item() == pytest.approx(accuracy)
    assert curve.accuracy[-1].isnan()
    assert curve.coverage[-1] == 0


@pytest.mark.parametrize("seed", range(3))
def test_departments_equal_loops_over_their_items(seed):
    case = Case(seed)
    found = metric_of(*case.batches(60)).per_department()
    for root in range(int(TREE.level_offsets[1])):
        own = [i for i in case.rated() if root in case.gold[i]]
        weights = [float(case.weight[i]) for i in own]
        department = share([case.department_is_right(i) for i in own], weights)
        leaf = share([case.leaf_is_right(i) for i in own], weights)
        assert found.items[root].item() == len(own)
        assert found.weight[root].item() == pytest.approx(sum(weights))
        assert found.department_accuracy[root].item() == pytest.approx(department)
        assert found.leaf_accuracy[root].item() == pytest.approx(leaf)
        assert found.error_weight[root].item() == pytest.approx(sum(weights) * (1 - leaf))
