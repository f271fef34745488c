"""The classifiers' training items: so many drawn of each leaf, and augmented copies."""

from collections import Counter
from functools import partial

import numpy as np
import pytest

from data_modules.augmentation import AugmentationOptions
from data_modules.sampling import SamplingOptions

from .classification_modules import (
    LEAVES,
    NODES,
    expected_labels,
    labels_of_rows,
    make_module,
    write_splits,
)


@pytest.fixture
def make(dataset):
    return partial(make_module, dataset, write_splits(dataset))


def contents(loader) -> list[tuple]:
    return [
        (batch.rows.tolist(), batch.tokens.input_ids.tolist(), *map(list, batch.targets))
        for batch in loader
    ]


def test_prediction_of_the_training_split_has_no_copies(make):
    module = make("Clothing", augmentation=AugmentationOptions(0.5), predict_split="train")
    module.setup("fit")
    module.setup("predict")
    rows = np.array(sorted(labels_of_rows(module.predict_dataloader())))
    assert rows.tolist() == list(range(len(NODES)))
    assert module.item_ids(rows).to_pylist() == [f"train-{n}" for n in rows]


def test_departments_take_so_many_items_of_every_node_a_path_ends_at(make):
    module = make(sampling=SamplingOptions(per_leaf=4))
    module.setup("fit")
    report = module.sampling_report().to_pydict()
    available = Counter(node for ids in NODES for node in ids)
    paths = module.hierarchy.paths
    # Most specific only: an item of [2, 7] is no less one of 2, which is not above 7.
    assert report["leaf"] == [paths[node] for node in sorted(available)]
    assert report["available"] == [available[node] for node in sorted(available)]
    assert report["drawn"] == [4] * len(available)
    rows = labels_of_rows(module.train_dataloader())
    assert len(rows) == len(module.drawn.items)
    drawn = Counter(node for row in rows for node in NODES[row])
    assert all(drawn[node] >= 4 for node in available)
    assert labels_of_rows(module.val_dataloader()) == expected_labels(None)


def test_leaves_take_so_many_items_of_their_own_leaves_alone(make):
    """An item with a leaf of another department as well is not drawn once more for that."""
    module = make("Clothing", sampling=SamplingOptions(per_leaf=2))
    module.setup("fit")
    report = module.sampling_report().to_pydict()
    assert report["leaf"] == [module.hierarchy.paths[node] for node in LEAVES["Clothing"]]
    assert report["available"] == [12, 12, 18]
    assert report["drawn"] == [2, 2, 2]
    rows = labels_of_rows(module.train_dataloader())
    assert 3 <= len(rows) <= 6
    assert set(rows) <= set(expected_labels("Clothing"))


def test_another_seed_draws_other_items(make):
    drawn = []
    for seed in (0, 0, 1):
        module = make(sampling=SamplingOptions(per_leaf=3, seed=seed))
        module.setup("fit")
        drawn.append(sorted(labels_of_rows(module.train_dataloader())))
    assert drawn[0] == drawn[1] != drawn[2]


def test_oversampling_repeats_small_leaves(make):
    module = make("Clothing", sampling=SamplingOptions(per_leaf=30, oversample=True))
    module.setup("fit")
    times = Counter(row for batch in module.train_dataloader() for row in batch.rows.tolist())
    assert sum(times.values()) == 90
    assert set(times) == set(expected_labels("Clothing"))
    per_label = module.label_frequencies()
    assert per_label.sum() == sum(
        count * len(expected_labels("Clothing")[row]) for row, count in times.items()
    )


@pytest.mark.parametrize("mode", ["add", "replace"])
def test_augmented_copies_are_added_or_replace(make, dataset, mode):
    """Half of each leaf's items: 6, 6 and 9, of which items with two leaves may be drawn twice."""
    module = make("Clothing", augmentation=AugmentationOptions(0.5, mode))
    module.setup("fit")
    split = len(NODES)
    originals = expected_labels("Clothing")
    found = labels_of_rows(module.train_dataloader())
    copies = {row: labels for row, labels in found.items() if row >= split}
    assert 12 <= len(copies) <= 21
    kept = {row for row in found if row < split}
    weights = {
        row: weight
        for batch in module.train_dataloader()
        for row, weight in zip(batch.rows.tolist(), batch.weights.tolist(), strict=True)
    }
    sources = {row: round(weights[row] - 0.5) for row in copies}  # a weight names its item
    assert len(set(sources.values())) == len(copies)
    for row, source in sources.items():
        assert copies[row] == originals[source]
    expected = set(originals) - (set(sources.values()) if mode == "replace" else set())
    assert kept == expected
    shirts = dataset.vocabulary.tokenizer.token_to_id("shirt")
    of_shirts = [row for row, labels in copies.items() if 0 not in labels]
    assert of_shirts
    for batch in module.train_dataloader():
        for place, row in enumerate(batch.rows.tolist()):
            if row in of_shirts:
                assert shirts in batch.tokens.input_ids[place].tolist()
                assert not batch.tokens.token_type_ids[place].any()  # the title alone is left
    assert labels_of_rows(module.val_dataloader()) == originals


def test_a_label_too_small_for_a_copy_is_no_error(make):
    """At 0.01 even 18 items give none: training goes on with the items alone."""
    module = make("Clothing", augmentation=AugmentationOptions(0.01))
    module.setup("fit")
    assert labels_of_rows(module.train_dataloader()) == expected_labels("Clothing")


@pytest.mark.parametrize("department", [None, "Clothing"])
def test_a_second_module_makes_the_same_batches(make, department):
    """What a resumed run rests on: draw, copies and shuffle are functions of the options."""
    options = {
        "sampling": SamplingOptions(per_leaf=5),
        "augmentation": AugmentationOptions(0.5),
    }
    runs = []
    for _ in range(2):
        module = make(department, **options)
        module.setup("fit")
        loader = module.train_dataloader()
        epochs = []
        for epoch in range(2):
            loader.sampler.set_epoch(epoch)
            epochs.append(contents(loader))
        runs.append(epochs)
    assert str(runs[0]) == str(runs[1])
    assert str(runs[0][0]) != str(runs[0][1])
