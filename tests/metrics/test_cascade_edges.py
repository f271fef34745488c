"""Cascade metrics on hand-computed cases, empty input and over two ranks."""

import copy
import socket

import pytest
import torch
import torch.multiprocessing as mp
from torch import Tensor

from hierarchy_lm.batches import SparseTargets
from hierarchy_lm.metrics import CascadeMetrics, CascadeOutcome

# 0 A; 1 B; 2 A > c; 3 A > d; 4 B > e; 5 A > c > f; 6 A > c > g
PARENTS = torch.tensor([-1, -1, 0, 0, 1, 2, 2])
OFFSETS = [0, 2, 5, 7]
STATES = [
    "counts",
    "totals",
    "levels",
    "departments",
    "confidence_bins",
    "reliability_leaf",
    "reliability_department",
]


def new_metric() -> CascadeMetrics:
    return CascadeMetrics(PARENTS, OFFSETS)


def outcome_of(department, leaf, confidence=None, weight=None) -> CascadeOutcome:
    ones = [1.0] * len(leaf)
    stated = torch.tensor(confidence or ones)
    return CascadeOutcome(
        torch.tensor(department, dtype=torch.int64),
        torch.tensor(leaf, dtype=torch.int64),
        *[stated] * 3,
        torch.tensor(weight or ones),
    )


def gold_of(*items: list[int]) -> SparseTargets:
    pairs = [(item, node) for item, nodes in enumerate(items) for node in nodes]
    return SparseTargets(*torch.tensor(pairs, dtype=torch.int64).reshape(-1, 2).unbind(1))


def scores_of(metric: CascadeMetrics) -> dict[str, float]:
    return {name: value.item() for name, value in metric.compute().items()}


def test_hierarchical_f1_by_hand():
    # Predicted {A, c, f} of gold {A, c, g}: 2 of 3 and 3. Predicted {B, e} of gold {A, d}: 0.
    metric = new_metric()
    metric.update(outcome_of([0, 1], [5, 4]), gold_of([0, 2, 6], [0, 3]))
    scores = scores_of(metric)
    assert scores["hierarchical_precision"] == pytest.approx(2 / 5)
    assert scores["hierarchical_recall"] == pytest.approx(2 / 5)
    assert scores["hierarchical_f1"] == pytest.approx(2 / 5)


def test_all_scores_of_two_items_by_hand():
    # Item 0 (weight 3) is right. Item 1 (weight 1), gold B > e, has no leaf and another department.
    metric = new_metric()
    metric.update(
        outcome_of([0, 0], [5, -1], confidence=[0.75, 0.25], weight=[3.0, 1.0]),
        gold_of([0, 2, 5], [1, 4]),
    )
    assert scores_of(metric) == pytest.approx(
        {
            "department_accuracy": 0.75,
            "leaf_accuracy": 0.75,
            "department_accuracy_items": 0.5,
            "leaf_accuracy_items": 0.5,
            "coverage_at_0.90": 0.75,
            "ece": 0.75 * 0.25 + 0.25 * 0.25,
            "ece_department": 0.75 * 0.25 + 0.25 * 0.25,
            "accuracy_L1": 0.75,
            "accuracy_L2": 0.75,
            "accuracy_L3": 1.0,
            "hierarchical_precision": 3 / 4,
            "hierarchical_recall": 3 / 5,
            "hierarchical_f1": 2 / 3,
            # Level 1: F1 of A is 2/3 (two predictions, one gold), of B 0. Level 2: 1 and 0.
            "weighted_f1_L1": 1 / 3,
            "macro_f1_L1": 1 / 3,
            "weighted_f1_L2": 1 / 2,
            "macro_f1_L2": 1 / 2,  # d occurs nowhere
            "weighted_f1_L3": 1.0,
            "macro_f1_L3": 1.0,
            "mean_weighted_f1": (1 / 3 + 1 / 2 + 1) / 3,
        }
    )


@pytest.mark.parametrize(
    ("leaf", "gold", "right"),
    [
        (5, [0, 2, 5], True),
        (2, [0, 2, 5], False),  # an inner node above the gold leaf
        (5, [0, 2], False),  # below a path that stops early
        (2, [0, 2], True),  # exactly where the path stops
        (3, [0, 2, 3, 5], True),  # the second of two paths
        (0, [0], True),  # a department without anything below
        (-1, [0], False),
    ],
)
def test_a_leaf_is_right_on_a_most_specific_gold_node(leaf, gold, right):
    metric = new_metric()
    metric.update(outcome_of([0], [leaf]), gold_of(gold))
    assert scores_of(metric)["leaf_accuracy"] == float(right)
    assert scores_of(metric)["department_accuracy"] == 1.0


def test_items_without_gold_change_nothing():
    with_gold, with_more = new_metric(), new_metric()
    with_gold.update(outcome_of([0], [5], [0.4]), gold_of([0, 2, 6]))
    with_more.update(outcome_of([1, 0, 0], [4, 5, -1], [0.9, 0.4, 0.2]), gold_of([], [0, 2, 6], []))
    assert scores_of(with_more) == scores_of(with_gold)
    for name in STATES:
        assert torch.equal(getattr(with_more, name), getattr(with_gold, name))


def test_nothing_counted_scores_zero_not_nan():
    metric = new_metric()
    metric.update(outcome_of([], []), gold_of())
    assert set(scores_of(metric).values()) == {0.0}
    assert metric.curve().coverage.max() == 0
    assert metric.per_department().leaf_accuracy.isnan().all()


def test_levels_without_gold_do_not_pull_the_mean_down():
    metric = new_metric()
    metric.update(outcome_of([1], [4]), gold_of([1, 4]))
    assert scores_of(metric)["weighted_f1_L3"] == 0.0
    assert scores_of(metric)["mean_weighted_f1"] == 1.0


def test_an_unreachable_accuracy_covers_nothing():
    metric = new_metric()
    metric.update(outcome_of([0, 0], [5, 6], [0.9, 0.8]), gold_of([0, 2, 6], [0, 2, 6]))
    assert scores_of(metric)["leaf_accuracy"] == 0.5
    assert scores_of(metric)["coverage_at_0.90"] == 0.0


def test_nan_confidence_is_accepted_last():
    metric = new_metric()
    metric.update(outcome_of([0, 0], [5, 6], [float("nan"), 0.2]), gold_of([0, 2, 6], [0, 2, 6]))
    assert scores_of(metric)["coverage_at_0.90"] == 0.5
    assert scores_of(metric)["ece"] == pytest.approx((0.0 + 0.8) / 2)


@pytest.mark.parametrize("target", [0.0, 1.1])
def test_a_target_that_is_no_share_is_refused(target):
    with pytest.raises(ValueError, match="target_accuracy"):
        CascadeMetrics(PARENTS, OFFSETS, target)


def test_offsets_of_another_tree_are_refused():
    with pytest.raises(ValueError, match="level_offsets end at 5 of 7 nodes"):
        CascadeMetrics(PARENTS, [0, 2, 5])


def random_batch(seed: int, num_items: int = 40) -> tuple[CascadeOutcome, SparseTargets]:
    generator = torch.Generator().manual_seed(seed)
    paths = [[0, 3], [1, 4], [0, 2, 5], [0, 2, 6], [0, 2], [], [0, 1, 2, 4, 5]]
    picks = torch.randint(len(paths), (num_items,), generator=generator).tolist()
    leaf = torch.tensor([3, 4, 5, 6])[torch.randint(4, (num_items,), generator=generator)]
    department = (leaf == 4).long()
    draw = torch.rand(4, num_items, generator=generator)
    outcome = CascadeOutcome(department, torch.where(draw[0] < 0.1, -1, leaf), *draw)
    return outcome, gold_of(*[paths[pick] for pick in picks])


def test_summed_states_of_two_halves_equal_one_pass():
    parts = [random_batch(0), random_batch(1, 13)]
    whole, merged = new_metric(), new_metric()
    for part in parts:
        whole.update(*part)
        half = new_metric()
        half.update(*part)
        for name in STATES:
            setattr(merged, name, getattr(merged, name) + getattr(half, name))
    merged._update_count = 2
    assert sorted(whole._defaults) == sorted(STATES)
    assert scores_of(merged) == pytest.approx(scores_of(whole), abs=1e-6)


def test_memory_does_not_grow_with_the_items():
    metric = new_metric()
    sizes = [getattr(metric, name).shape for name in STATES]
    for seed in range(3):
        metric.update(*random_batch(seed))
    assert [getattr(metric, name).shape for name in STATES] == sizes
    assert metric.confidence_bins.shape == (4, 10_001)


def test_reset_forgets_and_keeps_the_tree():
    metric, fresh = new_metric(), new_metric()
    metric.update(*random_batch(0))
    metric.reset()
    for each in (metric, fresh):
        each.update(*random_batch(1))
    assert scores_of(metric) == scores_of(fresh)
    assert scores_of(copy.deepcopy(metric)) == scores_of(fresh)


def _on_one_rank(rank: int, port: int, results: "mp.SimpleQueue[dict[str, Tensor]]") -> None:
    torch.distributed.init_process_group(
        "gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=2
    )
    metric = new_metric()
    if rank == 0:  # uneven: two batches here, one there
        metric.update(*random_batch(0))
        metric.update(*random_batch(1, 13))
    else:
        metric.update(*random_batch(2))
    results.put(scores_of(metric))
    torch.distributed.destroy_process_group()


@pytest.mark.ddp
def test_two_processes_compute_what_one_does():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    context = mp.get_context("spawn")
    results = context.SimpleQueue()
    mp.spawn(_on_one_rank, args=(port, results), nprocs=2)
    whole = new_metric()
    for seed, size in [(0, 40), (1, 13), (2, 40)]:
        whole.update(*random_batch(seed, size))
    expected = pytest.approx(scores_of(whole), abs=1e-6)
    assert [results.get(), results.get()] == [expected, expected]
