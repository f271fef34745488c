"""Resampling leaf by leaf against slow loops over sets."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_modules.sampling import SamplingOptions, draw

# Leaves of each item; an item may have several, or none.
catalogues = st.lists(st.sets(st.integers(0, 5), max_size=3), min_size=1, max_size=60)
seeds = st.integers(0, 50)


def pairs(catalogue: list[set[int]]) -> tuple[np.ndarray, np.ndarray]:
    flat = [(item, leaf) for item, leaves in enumerate(catalogue) for leaf in sorted(leaves)]
    columns = np.array(flat, dtype=np.int64).reshape(-1, 2)
    return columns[:, 0], columns[:, 1]


def by_leaf(catalogue: list[set[int]]) -> dict[int, set[int]]:
    found: dict[int, set[int]] = {}
    for item, leaves in enumerate(catalogue):
        for leaf in leaves:
            found.setdefault(leaf, set()).add(item)
    return dict(sorted(found.items()))


def single(sizes: list[int]) -> list[set[int]]:
    """Items of one leaf each."""
    return [{leaf} for leaf, size in enumerate(sizes) for _ in range(size)]


@given(catalogues, st.integers(1, 8), seeds)
def test_every_leaf_gives_as_many_as_it_can_without_replacement(catalogue, per_leaf, seed):
    found = draw(*pairs(catalogue), SamplingOptions(per_leaf, seed=seed))
    leaves = by_leaf(catalogue)
    assert found.leaves.tolist() == list(leaves)
    assert found.available.tolist() == [len(items) for items in leaves.values()]
    assert found.drawn.tolist() == [min(per_leaf, len(items)) for items in leaves.values()]
    drawn = found.items.tolist()
    assert drawn == sorted(set(drawn))
    assert len(drawn) <= found.drawn.sum()
    for items, count in zip(leaves.values(), found.drawn, strict=True):
        assert len(items & set(drawn)) >= count  # more where another leaf drew them too


@given(catalogues, st.integers(1, 8), seeds)
def test_the_draw_is_what_one_lottery_over_all_items_says(catalogue, per_leaf, seed):
    """Each leaf takes its items with the lowest tickets; the tickets are the seed's."""
    items, leaves = pairs(catalogue)
    if len(items) == 0:
        return
    tickets = np.random.default_rng(seed).permutation(int(items.max()) + 1)
    expected = {
        item
        for owned in by_leaf(catalogue).values()
        for item in sorted(owned, key=lambda item: tickets[item])[:per_leaf]
    }
    found = draw(items, leaves, SamplingOptions(per_leaf, seed=seed))
    assert found.items.tolist() == sorted(expected)


@given(catalogues, st.integers(1, 8), seeds, st.booleans(), st.randoms())
def test_the_draw_depends_on_the_seed_and_the_pairs_alone(
    catalogue, per_leaf, seed, oversample, random
):
    items, leaves = pairs(catalogue)
    order = list(range(len(items)))
    random.shuffle(order)
    np.random.seed(seed)  # the global generator has no say
    options = SamplingOptions(per_leaf, oversample, seed)
    first = draw(items, leaves, options)
    second = draw(items[order], leaves[order], options)
    for ours, theirs in zip(first, second, strict=True):
        assert ours.tolist() == theirs.tolist()


@given(catalogues, st.integers(1, 30), seeds)
def test_oversampling_reaches_the_size_evenly(catalogue, per_leaf, seed):
    found = draw(*pairs(catalogue), SamplingOptions(per_leaf, oversample=True, seed=seed))
    leaves = by_leaf(catalogue)
    assert found.drawn.tolist() == [per_leaf] * len(leaves)
    assert len(found.items) == per_leaf * len(leaves)
    times = Counter(found.items.tolist())
    for item, owners in enumerate(catalogue):
        sizes = [len(leaves[leaf]) for leaf in owners]
        fewest = sum(per_leaf // size for size in sizes)
        most = sum(-(-per_leaf // size) for size in sizes)
        assert fewest <= times[item] <= most


@given(catalogues, seeds)
def test_without_a_size_every_item_with_a_leaf_is_taken_once(catalogue, seed):
    found = draw(*pairs(catalogue), SamplingOptions(seed=seed))
    assert found.items.tolist() == [item for item, leaves in enumerate(catalogue) if leaves]
    assert found.drawn.tolist() == found.available.tolist()


def test_another_seed_draws_others():
    items, leaves = pairs(single([1000, 1000]))
    first, second = (draw(items, leaves, SamplingOptions(100, seed=seed)) for seed in (0, 1))
    assert first.drawn.tolist() == second.drawn.tolist() == [100, 100]
    shared = len(set(first.items.tolist()) & set(second.items.tolist()))
    assert 2 <= shared <= 50  # 20 expected of two independent draws of a tenth


def test_every_item_of_a_leaf_is_as_likely():
    items, leaves = pairs(single([8, 3]))
    times = np.zeros(11)
    for seed in range(2000):
        times[draw(items, leaves, SamplingOptions(2, seed=seed)).items] += 1
    # Standard deviations of the frequencies: 0.0097 and 0.0105.
    np.testing.assert_allclose(times[:8] / 2000, 2 / 8, atol=0.05)
    np.testing.assert_allclose(times[8:] / 2000, 2 / 3, atol=0.05)


def test_an_item_of_two_leaves_is_drawn_for_either():
    """Leaf 1's only item is there, whatever leaf 0 drew."""
    catalogue = [{0} for _ in range(50)] + [{0, 1}]
    for seed in range(20):
        found = draw(*pairs(catalogue), SamplingOptions(3, seed=seed))
        assert 50 in found.items
        assert len(found.items) in (3, 4)


def test_nothing_to_draw_from():
    found = draw(*pairs([set()]), SamplingOptions(3))
    assert [len(part) for part in found] == [0, 0, 0, 0]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"per_leaf": 0}, "sampling.per_leaf must be at least 1, got 0"),
        ({"oversample": True}, "sampling.oversample needs sampling.per_leaf, the size to reach"),
    ],
)
def test_bad_options_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        SamplingOptions(**options)
