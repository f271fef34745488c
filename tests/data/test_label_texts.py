"""Texts with labels hold the rows that the encoders' DataModules hold, in the same order."""

import numpy as np
import pytest

from data_modules.label_texts import TextDataset
from data_modules.products import ProductDataModule
from data_modules.tasks import TaskDataModule
from hierarchy_lm.dataset import TaskInfo
from hierarchy_lm.errors import UserError
from hierarchy_lm.text import TextOptions

# Two paths, a path that ends above the leaves, no node at all.
ROWS = [
    {"title": "Shirt  for\nhim", "bullet_points": ["blue", None, "XL"], "node_ids": [7, 6]},
    {"description": "unknown", "node_ids": []},
    {"title": "Trousers", "description": "long", "node_ids": [2], "weight": 0.5},
    {"node_ids": [4]},
]
PAIR = TaskInfo("relevance", "multiclass", ["no", "yes"], pair=True)


def test_products_are_those_of_the_encoders(dataset, tokenizer_folder):
    for split in ("train", "validation"):
        dataset.products(ROWS, f"{split}-00000", row_group_size=1)
        dataset.products(ROWS[2:], f"{split}-00001")
    folder = str(dataset.finish())
    data = TextDataset(folder)
    assert (data.kind, data.num_labels) == ("multilabel", dataset.retail.num_nodes)
    rows = data.read("train")
    assert rows.texts == ["Shirt for him blue XL", "Trousers long", "", "Trousers long", ""]
    assert rows.weights.tolist() == [1.0, 0.5, 1.0, 0.5, 1.0]
    encoders = ProductDataModule(folder, str(tokenizer_folder), TextOptions(max_length=16))
    encoders.setup("fit")
    kept = np.flatnonzero(encoders.stores["train"].label_counts)
    documents, labels = encoders.stores["train"].labels(kept)
    assert rows.documents.tolist() == documents.tolist()
    assert rows.labels.tolist() == labels.tolist()
    assert rows.item_ids.equals(encoders.item_ids(kept, "train"))
    assert labels[documents == 0].tolist() == [0, 2, 3, 6, 7]  # closed under ancestors


def test_a_query_comes_first_and_fields_can_be_chosen(dataset, tokenizer_folder):
    rows = [
        {"query": "a shirt", "title": "Shirt", "description": "long", "label_ids": [1]},
        {"query": "tie", "title": "Shoe", "label_ids": [0]},
    ]
    dataset.task(PAIR, rows, ("train", "validation"))
    folder = str(dataset.finish())
    assert TextDataset(folder, "relevance").read("train").texts == [
        "a shirt Shirt long",
        "tie Shoe",
    ]
    found = TextDataset(folder, "relevance", ["title"]).read("train")
    assert found.texts == ["a shirt Shirt", "tie Shoe"]
    encoders = TaskDataModule(
        folder, "relevance", str(tokenizer_folder), TextOptions(max_length=16)
    )
    encoders.setup("fit")
    documents, labels = encoders.stores["train"].labels(np.arange(2))
    assert (found.documents.tolist(), found.labels.tolist()) == (
        documents.tolist(),
        labels.tolist(),
    )


@pytest.mark.parametrize(
    ("labels", "words"),
    [([0, 1], "item 'item-0' has 2 labels"), ([], "has 0 labels"), ([2], "label_ids holds 2")],
)
def test_wrong_labels_are_named(dataset, labels, words):
    dataset.task(PAIR, [{"query": "q", "title": "t", "label_ids": labels}])
    data = TextDataset(str(dataset.finish()), "relevance")
    with pytest.raises(UserError, match=words):
        data.read("train")


def test_a_split_without_a_node_is_refused(dataset):
    dataset.products([{"title": "unknown", "node_ids": []}])
    data = TextDataset(str(dataset.finish()))
    with pytest.raises(UserError, match="no row of the train split has a label"):
        data.read("train")
