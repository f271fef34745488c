"""Batches as the loader hands them to a model."""

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from data_modules.batching import BatchOptions, BatchPlan, ProductRows, TrainBatches
from data_modules.tokens import TokenStore, open_cache
from hierarchy_lm.batches import ProductBatch


@pytest.fixture
def store(dataset, tmp_path) -> TokenStore:
    random = np.random.default_rng(0)
    dataset.products(
        [
            {"title": "red shoe " * random.integers(1, 7), "node_ids": [int(random.integers(8))]}
            for _ in range(80)
        ]
    )
    return open_cache(dataset.spec(), tmp_path / "cache", "train")


def load(store: TokenStore, rows: np.ndarray, workers: int, epoch: int) -> list[ProductBatch]:
    plan = BatchPlan(store.lengths[rows], BatchOptions(tokens=100), 1)
    batches = TrainBatches(plan, 0, lambda: 0)
    batches.set_epoch(epoch)
    return list(
        DataLoader(ProductRows(store, rows), batch_size=None, sampler=batches, num_workers=workers)
    )


def same(ours: ProductBatch, theirs: ProductBatch) -> bool:
    tensors = zip(
        [*ours.tokens, *ours.targets, ours.rows],
        [*theirs.tokens, *theirs.targets, theirs.rows],
        strict=True,
    )
    return ours.loss_scale == theirs.loss_scale and all(torch.equal(a, b) for a, b in tensors)


def test_loader_workers_change_nothing(store):
    every = np.arange(len(store))
    for epoch in range(2):
        alone, helped = load(store, every, 0, epoch), load(store, every, 2, epoch)
        assert len(alone) == len(helped) > 5
        assert all(same(*pair) for pair in zip(alone, helped, strict=True))


def test_epochs_are_whole_and_different(store):
    epochs = [load(store, np.arange(len(store)), 0, epoch) for epoch in range(2)]
    rows = [[batch.rows.tolist() for batch in epoch] for epoch in epochs]
    assert rows[0] != rows[1]
    assert all(sorted(sum(epoch, [])) == list(range(80)) for epoch in rows)  # noqa: RUF017


def test_a_batch_holds_its_rows(store):
    some = np.arange(len(store))[::-3].copy()  # the labelled rows, say, in any order
    seen = []
    for batch in load(store, some, 0, 0):
        assert isinstance(batch, ProductBatch)
        assert isinstance(batch.loss_scale, float)
        rows = batch.rows.numpy()
        seen += rows.tolist()
        for number, row in enumerate(rows):
            ids, _, mask = store.tokens(np.array([row]))
            width = mask.sum()
            assert batch.tokens.input_ids[number, :width].tolist() == ids[0].tolist()
            assert batch.tokens.attention_mask[number].sum() == width
            labels = batch.targets.labels[batch.targets.documents == number]
            assert labels.tolist() == store.labels(np.array([row]))[1].tolist()
        assert batch.tokens.input_ids.shape[1] == store.lengths[rows].max()
        assert {tensor.dtype for tensor in (*batch.tokens, *batch.targets)} == {torch.int64}
    assert sorted(seen) == sorted(some.tolist())
