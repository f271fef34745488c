"""The batch plan: nothing lost, nothing twice, equal steps, a budget kept."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_modules.batching import (
    BUCKET_WIDTH,
    BatchOptions,
    BatchPlan,
    EvaluationBatches,
    TrainBatches,
)

document_lengths = st.lists(st.integers(2, 40), min_size=1, max_size=120).map(np.array)
options = st.builds(BatchOptions, st.integers(1, 200), st.integers(1, 20), st.integers(0, 3))
worlds = st.integers(1, 4)


def log_normal(count: int) -> np.ndarray:
    """Title lengths: median 25, a long tail cut at 128."""
    lengths = np.random.default_rng(7).lognormal(np.log(25), 0.7, size=count)
    return np.clip(lengths.round().astype(np.int64), 3, 128)


def batches_of(plan: BatchPlan, epoch: int) -> list[list[int]]:
    return [batch.tolist() for batch in plan.epoch(epoch)]


@given(document_lengths, options, worlds, st.integers(0, 5))
def test_every_document_once_per_epoch(lengths, options, world_size, epoch):
    plan = BatchPlan(lengths, options, world_size)
    batches = batches_of(plan, epoch)
    assert len(batches) == len(plan)
    assert all(batches)
    assert sorted(row for batch in batches for row in batch) == list(range(len(lengths)))


@given(document_lengths, options, worlds)
def test_a_pure_function_of_seed_and_epoch(lengths, options, world_size):
    plans = [BatchPlan(lengths, options, world_size) for _ in range(2)]
    list(plans[0].epoch(1))  # what was drawn before does not matter
    assert batches_of(plans[0], 3) == batches_of(plans[1], 3)


def test_epochs_and_seeds_differ_but_not_their_number_of_steps():
    lengths = log_normal(3000)
    plan = BatchPlan(lengths, BatchOptions(), 1)
    other = BatchPlan(lengths, BatchOptions(seed=1), 1)
    runs = [batches_of(plan, 0), batches_of(plan, 1), batches_of(other, 0)]
    as_sets = [{frozenset(batch) for batch in run} for run in runs]
    assert {len(run) for run in runs} == {len(plan)}
    for first in range(3):
        for second in range(first):
            # Other company, not only another order; the longest few may have no choice.
            assert len(as_sets[first] & as_sets[second]) <= 1
    widths = [[lengths[batch].max() for batch in run] for run in runs[:2]]
    assert sorted(widths[0]) != widths[0]  # batches of all lengths mixed
    assert widths[0] != widths[1]


@given(document_lengths, options, worlds, st.integers(0, 2))
def test_budget(lengths, options, world_size, epoch):
    plan = BatchPlan(lengths, options, world_size)
    for batch in plan.epoch(epoch):
        size = len(batch) * lengths[batch].max()
        assert size <= options.tokens * world_size or len(batch) == 1
        for rank in range(world_size):
            own = plan.part(batch, rank).rows
            assert len(own) <= options.documents
            # A deal among ranks may leave one document more than an equal share of the tokens.
            over = lengths[own].max() if world_size > 1 else 0
            assert len(own) * lengths[own].max() <= options.tokens + over or len(own) == 1


def test_a_document_longer_than_the_budget_is_a_batch_of_its_own():
    lengths = np.array([10, 500, 10, 10, 400])
    batches = batches_of(BatchPlan(lengths, BatchOptions(tokens=64), 1), 0)
    assert sorted(map(sorted, batches)) == [[0, 2, 3], [1], [4]]


@given(document_lengths, options)
def test_lengths_in_a_batch_are_alike_where_there_is_a_choice(lengths, options):
    """Batches do not overlap by more than the bucket in which one ends and the next begins."""
    buckets = -(-lengths // BUCKET_WIDTH)
    plan = BatchPlan(lengths, options, 1)
    spans = sorted((buckets[batch].min(), buckets[batch].max()) for batch in plan.epoch(0))
    assert all(high <= low for (_, high), (low, _) in pairwise(spans))


def test_batches_are_full():
    lengths = log_normal(20_000)
    plan = BatchPlan(lengths, BatchOptions(tokens=4096, documents=4096), 1)
    padded = sum(len(batch) * int(lengths[batch].max()) for batch in plan.epoch(0))
    assert lengths.sum() / padded >= 0.9
    assert lengths.sum() / (len(plan) * 4096) >= 0.9


@pytest.mark.parametrize("count", [1, 2, 3, 100, 101])
@pytest.mark.parametrize("world_size", [1, 2, 3])
def test_equal_steps_on_every_rank_and_every_document_counts_once(count, world_size):
    plan = BatchPlan(log_normal(count), BatchOptions(tokens=200), world_size)
    counted: list[int] = []
    for rank in range(world_size):
        batches = TrainBatches(plan, rank, lambda: 0)
        batches.set_epoch(2)
        parts = list(batches)
        assert len(parts) == len(batches) == len(plan)
        assert all(len(part.rows) for part in parts)
        counted += [row for part in parts if part.loss_scale > 0 for row in part.rows.tolist()]
    assert sorted(counted) == list(range(count))


@given(document_lengths, st.integers(1, 100), st.integers(1, 10), st.integers(0, 3))
def test_two_ranks_with_half_the_budget_share_the_batches_of_one(lengths, tokens, most, epoch):
    one = BatchPlan(lengths, BatchOptions(2 * tokens, 2 * most), 1)
    two = BatchPlan(lengths, BatchOptions(tokens, most), 2)
    for alone, shared in zip(one.epoch(epoch), two.epoch(epoch), strict=True):
        parts = [two.part(shared, rank) for rank in range(2)]
        together = {row for part in parts if part.loss_scale > 0 for row in part.rows.tolist()}
        assert together == set(alone.tolist())


@given(st.integers(1, 9), st.integers(1, 4), st.integers(0, 2**32))
def test_scaled_means_average_to_the_global_mean(count, world_size, seed):
    plan = BatchPlan(np.full(count, 4), BatchOptions(4 * count, count), world_size)
    losses = np.random.default_rng(seed).normal(size=count)
    (batch,) = plan.epoch(0)
    parts = [plan.part(batch, rank) for rank in range(world_size)]
    ranks = [part.loss_scale * losses[part.rows].mean() for part in parts]
    assert np.isclose(np.mean(ranks), losses.mean())
    assert [part.loss_scale == 0 for part in parts] == [rank >= count for rank in range(world_size)]


@given(document_lengths, options, worlds)
def test_evaluation_counts_each_row_once_over_the_ranks(lengths, options, world_size):
    plan = BatchPlan(lengths, options, world_size)
    ranks = [EvaluationBatches(plan, rank) for rank in range(world_size)]
    parts = [list(rank) for rank in ranks]
    assert [len(rank) for rank in ranks] == [len(part) for part in parts]
    rows = [row for rank in parts for part in rank for row in part.rows.tolist()]
    assert sorted(rows) == list(range(len(lengths)))
    for part in (part for rank in parts for part in rank):
        assert len(part.rows) * lengths[part.rows].max() <= options.tokens * world_size or (
            len(part.rows) == 1
        )


def test_evaluation_ranks_may_have_fewer_batches():
    plan = BatchPlan(np.array([5, 50, 90]), BatchOptions(tokens=10), 2)
    assert [len(EvaluationBatches(plan, rank)) for rank in range(2)] == [3, 0]


@pytest.mark.parametrize("step", [0, 1, 7])
def test_resuming_yields_exactly_the_tail(step):
    plan = BatchPlan(log_normal(400), BatchOptions(tokens=500), 2)
    first = [step]
    whole, resumed = TrainBatches(plan, 1, lambda: 0), TrainBatches(plan, 1, lambda: first[0])
    for batches in (whole, resumed):
        batches.set_epoch(3)
    expected = [(part.rows.tolist(), part.loss_scale) for part in whole]
    assert len(expected) > 8
    assert [(part.rows.tolist(), part.loss_scale) for part in resumed] == expected[step:]
    first[0] = 0  # the next epoch starts anew
    resumed.set_epoch(4)
    assert len(list(resumed)) == len(expected)


def test_a_second_epoch_is_whole_and_different():
    plan = BatchPlan(log_normal(500), BatchOptions(tokens=500), 1)
    batches = TrainBatches(plan, 0, lambda: 0)
    epochs = []
    for epoch in range(2):
        batches.set_epoch(epoch)
        epochs.append([part.rows.tolist() for part in batches])
    assert epochs[0] != epochs[1]
    rows = [sorted(row for batch in epoch for row in batch) for epoch in epochs]
    assert rows[0] == rows[1] == list(range(500))


@pytest.mark.parametrize("wrong", [{"tokens": 0}, {"documents": 0}, {"tokens": -1}], ids=str)
def test_impossible_options(wrong):
    with pytest.raises(ValueError, match=r"batch\.tokens and batch\.documents must be positive"):
        BatchOptions(**wrong)
