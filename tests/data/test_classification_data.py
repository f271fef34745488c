"""The DataModules of the department and leaf classifiers, without a trainer."""

from collections import Counter
from functools import partial

import numpy as np
import pytest

from data_modules.augmentation import AugmentationOptions
from hierarchy_lm.errors import UserError

from .classification_modules import (
    LEAVES,
    NODES,
    expected_labels,
    labels_of_rows,
    make_module,
    write,
    write_splits,
)


@pytest.fixture
def make(dataset):
    return partial(make_module, dataset, write_splits(dataset))


def refusal(call) -> str:
    with pytest.raises(UserError) as caught:
        call()
    assert "\n" not in str(caught.value)
    return str(caught.value)


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
