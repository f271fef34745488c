"""The DataModules of the department and leaf classifiers, without a trainer."""

from collections import Counter

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data_modules.augmentation import AugmentationOptions
from data_modules.batching import BatchOptions
from data_modules.classification import DepartmentDataModule, LeafDataModule
from data_modules.sampling import SamplingOptions
from hierarchy_lm.dataset import PRODUCT_SCHEMA
from hierarchy_lm.errors import UserError
from hierarchy_lm.text import TextOptions

# Ids:  0 Clothing   1 Shoes
#       2 Clothing/Men   3 Clothing/Women   4 Shoes/Accessories
#       5 Clothing/Men/Accessories   6 Clothing/Men/Shirts   7 Clothing/Women/Shirts
NODES: list[list[int]] = [[5], [6], [7], [4], [0], [2], [], [5, 4], [6, 7], [1], [2, 7]] * 6
TEXT = TextOptions(max_length=16, segments="fields")
BATCH = BatchOptions(tokens=200, documents=6)
TREE_ROOT = {0: 0, 1: 1, 2: 0, 3: 0, 4: 1, 5: 0, 6: 0, 7: 0}
LEAVES = {"Clothing": [5, 6, 7], "Shoes": [4]}


def write(dataset, nodes: list[list[int]], split: str, truth: list[list[int]] | None = None):
    rows = [
        {
            "item_id": f"{split}-{n}",
            "title": f"red cotton shoes {n}",
            "description": "blue" if n % 2 else None,
            "node_ids": ids,
            "weight": 0.5 + n,
        }
        for n, ids in enumerate(nodes)
    ]
    file = dataset.products(rows, f"{split}-00000", row_group_size=10)
    if truth is not None:
        table = pq.read_table(file).append_column(
            "true_node_ids", pa.array(truth, PRODUCT_SCHEMA.field("node_ids").type)
        )
        dataset.write(table, f"{split}-00000")


@pytest.fixture
def folder(dataset):
    for split in ("train", "validation", "test"):
        write(dataset, NODES, split)
    return dataset.finish()


@pytest.fixture
def make(folder, dataset):
    def build(department: str | None = None, **options):
        settings = {"text": TEXT, "batch": BATCH, "sampling": SamplingOptions()} | options
        source = dataset.vocabulary.source
        if department is None:
            return DepartmentDataModule(str(folder), source, **settings)
        return LeafDataModule(str(folder), department, source, **settings)

    return build


def refusal(call) -> str:
    with pytest.raises(UserError) as caught:
        call()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def labels_of_rows(loader) -> dict[int, list[int]]:
    """Labels of each row; a row met twice fails."""
    found: dict[int, list[int]] = {}
    for batch in loader:
        for place, row in enumerate(batch.rows.tolist()):
            assert row not in found
            found[row] = batch.targets.labels[batch.targets.documents == place].tolist()
    return found


def expected_labels(department: str | None, nodes=NODES) -> dict[int, list[int]]:
    found = {}
    for row, ids in enumerate(nodes):
        if department is None:
            labels = sorted({TREE_ROOT[node] for node in ids})
        else:
            labels = [at for at, leaf in enumerate(LEAVES[department]) if leaf in ids]
        if labels:
            found[row] = labels
    return found


def contents(loader) -> list[tuple]:
    return [
        (batch.rows.tolist(), batch.tokens.input_ids.tolist(), *map(list, batch.targets))
        for batch in loader
    ]


@pytest.mark.parametrize("department", [None, "Clothing", "Shoes"])
def test_rows_take_part_with_their_labels(make, department):
    """Departments count a path that stops anywhere; leaves only one that ends at a leaf."""
    module = make(department)
    module.setup("fit")
    expected = expected_labels(department)
    assert module.num_labels == (2 if department is None else len(LEAVES[department]))
    assert labels_of_rows(module.train_dataloader()) == expected
    assert labels_of_rows(module.val_dataloader()) == expected
    assert module.num_train_batches == len(list(module.train_dataloader())) > 1
    module.setup("test")
    assert labels_of_rows(module.test_dataloader()) == expected
    counts = Counter(label for labels in expected.values() for label in labels)
    assert module.label_frequencies().tolist() == [counts[n] for n in range(module.num_labels)]


def test_batches_carry_weights(make):
    module = make("Clothing")
    module.setup("fit")
    for batch in module.train_dataloader():
        assert batch.weights.tolist() == [0.5 + row for row in batch.rows.tolist()]


def test_prediction_covers_every_row_even_of_other_departments(make):
    module = make("Shoes")
    module.setup("predict")
    found = labels_of_rows(module.predict_dataloader())
    assert sorted(found) == list(range(len(NODES)))
    ids = module.item_ids(np.array([3, 0])).to_pylist()
    assert ids == ["test-3", "test-0"]


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


@pytest.fixture
def truth(dataset):
    """Splits whose true nodes are those of the row's neighbour."""
    true = [*NODES[1:], NODES[0]]
    for split in ("train", "validation", "test"):
        write(dataset, NODES, split, true)
    return true


@pytest.mark.parametrize("department", [None, "Clothing"])
@pytest.mark.parametrize("rate", [0.0, 0.3])
def test_evaluation_can_read_the_truth_and_training_never_does(make, truth, department, rate):
    module = make(department, label_column="true_node_ids", augmentation=AugmentationOptions(rate))
    module.setup("fit")
    module.setup("test")
    found = labels_of_rows(module.train_dataloader())
    trained = {row: labels for row, labels in found.items() if row < len(NODES)}
    assert trained == expected_labels(department)
    assert (len(found) > len(trained)) == (rate > 0)
    for loader in (module.val_dataloader(), module.test_dataloader()):
        assert labels_of_rows(loader) == expected_labels(department, truth)


def test_truth_that_is_not_there_is_one_line(make):
    module = make(label_column="true_node_ids")
    assert "no column 'true_node_ids'" in refusal(lambda: module.setup("test"))


def test_a_true_node_out_of_range_is_one_line(make, dataset):
    write(dataset, NODES, "test", [[8]] * len(NODES))
    module = make(label_column="true_node_ids")
    assert "true_node_ids holds 8, but ids go from 0 to 7" in refusal(lambda: module.setup("test"))


@pytest.mark.parametrize("rate", [0.0, 0.5])
def test_a_department_without_a_training_item_is_one_line(make, dataset, rate):
    write(dataset, [[5], [4], []], "validation")
    write(dataset, [[5], [1], [], [0]] * 5, "train")  # Shoes' only path stops above its leaf
    module = make("Shoes", augmentation=AugmentationOptions(rate))
    module.setup("fit")
    message = refusal(module.train_dataloader)
    assert message == (
        f"{dataset.path / 'products'}: no item of the train split has one of the 1 labels "
        "('Shoes > Accessories' to 'Shoes > Accessories')"
    )
    assert refusal(lambda: module.num_train_batches) == message
    assert len(labels_of_rows(module.val_dataloader())) == 1


def test_a_department_without_a_test_item_is_one_line(make, dataset):
    write(dataset, [[5], []], "test")
    module = make("Shoes")
    module.setup("test")
    assert "no item of the test split has one of" in refusal(module.test_dataloader)


def test_an_unknown_department_is_one_line(make):
    message = refusal(lambda: make("Toys"))
    assert message == "the tree has no department 'Toys'; it has Clothing, Shoes ..."


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
