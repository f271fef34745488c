"""A classifier's view of two token caches, against loops over their rows."""

import pickle

import numpy as np
import pytest
from torch.utils.data import DataLoader

from data_modules.batching import BatchOptions, BatchPlan, ProductRows, TrainBatches
from data_modules.node_store import NodeStore
from data_modules.tokens import TokenStore, open_cache
from hierarchy_lm.text import TextOptions

WORDS = ["red", "blue", "shoes", "cotton", "42"]
TEXT = TextOptions(max_length=24, segments="fields")
LABEL_NODES = [1, 4, 6, 7]
"""Nodes of the labels 0 to 3."""


def build(dataset, folder, name: str, count: int, seed: int) -> TokenStore:
    random = np.random.default_rng(seed)
    rows = [
        {
            "item_id": f"{name}-{n}",
            "title": " ".join(random.choice(WORDS, random.integers(0, 9))),
            "description": " ".join(random.choice(WORDS, random.integers(0, 6))) or None,
            "node_ids": random.choice(8, random.integers(0, 4), replace=False).tolist(),
            "weight": float(random.lognormal()),
        }
        for n in range(count)
    ]
    dataset.products(rows, f"{name}-00000")
    spec = dataset.spec(name, text=TEXT, weighted=True)
    return open_cache(spec, folder, name)


@pytest.fixture
def caches(dataset, tmp_path) -> tuple[TokenStore, TokenStore]:
    base = build(dataset, tmp_path / "cache", "train", 30, 0)
    return base, build(dataset, tmp_path / "cache", "validation", 12, 1)


@pytest.fixture
def label_of() -> np.ndarray:
    mapped = np.full(8, -1)
    mapped[LABEL_NODES] = np.arange(len(LABEL_NODES))
    return mapped


def slow_labels(caches, row: int) -> list[int]:
    base, copies = caches
    store, own = (base, row) if row < len(base) else (copies, row - len(base))
    _, nodes = store.labels(np.array([own]))
    return [LABEL_NODES.index(node) for node in nodes.tolist() if node in LABEL_NODES]


ORDERS = {
    "the first cache": np.arange(30),
    "the second cache": np.arange(41, 29, -1),
    "both mixed": np.random.default_rng(3).permutation(42),
    "some twice": np.array([41, 0, 41, 5, 30, 0]),
    "one of each": np.array([40, 2]),
    "one row": np.array([33]),
}


@pytest.mark.parametrize("order", ORDERS.values(), ids=ORDERS)
def test_rows_of_both_caches_in_any_order(caches, label_of, order):
    base, copies = caches
    store = NodeStore(base, label_of, copies)
    documents, labels = store.labels(order)
    ids, segments, mask = store.tokens(order)
    assert ids.shape == segments.shape == mask.shape == (len(order), store.lengths[order].max())
    assert documents.tolist() == sorted(documents.tolist())
    for place, row in enumerate(order.tolist()):
        cache, own = (base, row) if row < 30 else (copies, row - 30)
        assert labels[documents == place].tolist() == slow_labels(caches, row)
        for found, expected in zip(
            (ids, segments, mask), cache.tokens(np.array([own])), strict=True
        ):
            length = expected.shape[1]
            assert found[place, :length].tolist() == expected[0].tolist()
            assert not found[place, length:].any()  # padding is on the right, its id 0
        assert store.weights(order)[place] == cache.weights(np.array([own]))[0]
    for array in (ids, segments, mask, documents, labels):
        assert array.dtype == np.int64
    assert store.weights(order).dtype == np.float32


def test_padding_is_the_tokenizers(caches, label_of):
    base, copies = caches
    for cache in caches:
        cache.meta["pad"] = 9
    store = NodeStore(base, label_of, copies)
    short, long = np.argmin(base.lengths), np.argmax(copies.lengths)
    for rows in (np.array([short, 30 + long]), np.array([np.argmax(base.lengths), 30, short])):
        ids, _, mask = store.tokens(rows)
        assert (ids[mask == 0] == 9).all()
        assert (mask == 0).any()


def test_lengths_and_label_counts_of_all_rows(caches, label_of):
    base, copies = caches
    store = NodeStore(base, label_of, copies)
    assert len(store) == 42
    assert store.lengths.tolist() == [*base.lengths.tolist(), *copies.lengths.tolist()]
    expected = [len(slow_labels(caches, row)) for row in range(42)]
    assert store.label_counts.tolist() == expected
    assert 0 in expected
    assert max(expected) > 1


def test_without_copies_it_is_the_cache_with_other_labels(caches, label_of):
    base, _ = caches
    store = NodeStore(base, label_of)
    order = np.random.default_rng(0).permutation(30)
    for found, expected in zip(store.tokens(order), base.tokens(order), strict=True):
        assert np.array_equal(found, expected)
    documents, labels = store.labels(order)
    for place, row in enumerate(order.tolist()):
        assert labels[documents == place].tolist() == slow_labels(caches, row)
    assert store.item_ids(np.array([7, 2])).to_pylist() == ["train-7", "train-2"]


def test_rows_without_any_label(caches):
    documents, labels = NodeStore(caches[0], np.full(8, -1)).labels(np.arange(30))
    assert (len(documents), len(labels)) == (0, 0)


def test_it_travels_to_loader_processes(caches, label_of):
    """The caches travel as paths, and a spawned worker makes the same batches."""
    store = NodeStore(caches[0], label_of, caches[1])
    assert len(pickle.dumps(store)) < 2000 + 16 * len(store)
    rows = np.arange(42)
    plan = BatchPlan(store.lengths, BatchOptions(tokens=120), 1)
    batches = []
    for options in ({}, {"num_workers": 1, "multiprocessing_context": "spawn"}):
        sampler = TrainBatches(plan, 0, int)  # int() is step 0
        loader = DataLoader(ProductRows(store, rows), None, sampler=sampler, **options)
        batches.append(list(loader))
    assert len(batches[0]) == len(batches[1]) > 3
    for ours, theirs in zip(*batches, strict=True):
        assert ours.rows.tolist() == theirs.rows.tolist()
        assert ours.tokens.input_ids.tolist() == theirs.tokens.input_ids.tolist()
        assert ours.targets.labels.tolist() == theirs.targets.labels.tolist()
        assert ours.weights.tolist() == theirs.weights.tolist()
