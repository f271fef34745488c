"""The DataModules on a dataset folder, without a trainer."""

import logging

import numpy as np
import pytest

from data_modules.batching import BatchOptions, BatchPlan
from data_modules.datasets import dataset_path, find_dataset
from data_modules.products import ProductDataModule
from data_modules.tasks import TaskDataModule
from hierarchy_lm.dataset import TaskInfo
from hierarchy_lm.errors import UserError
from hierarchy_lm.text import TextOptions

SPLITS = ("train", "validation", "test")
TEXT = TextOptions(max_length=16)
ROWS = [{"title": f"red shoe {n}", "node_ids": [n % 8] if n % 5 else []} for n in range(40)]
LENGTHS, FEW = np.array([4, 5]), BatchOptions(tokens=80)


@pytest.fixture
def products(dataset) -> ProductDataModule:
    for split in SPLITS:
        dataset.products(ROWS, f"{split}-00000")
    folder = dataset.finish()
    return ProductDataModule(str(folder), dataset.vocabulary.source, TEXT, BatchOptions(tokens=80))


def rows_of(loader) -> list[int]:
    return [row for batch in loader for row in batch.rows.tolist()]


def refusal(make) -> str:
    with pytest.raises(UserError) as caught:
        make()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_training_and_evaluation_leave_out_rows_without_a_node(products):
    products.setup("fit")
    labelled = [n for n in range(40) if n % 5]
    loader = products.train_dataloader()
    assert sorted(rows_of(loader)) == labelled
    assert products.num_train_batches == len(list(loader)) > 1
    assert sorted(rows_of(products.val_dataloader())) == labelled
    products.setup("test")
    assert sorted(rows_of(products.test_dataloader())) == labelled


def test_prediction_covers_every_row(products):
    products.setup("predict")
    rows = rows_of(products.predict_dataloader())
    assert sorted(rows) == list(range(40))
    assert products.item_ids(np.array([3, 1])).to_pylist() == ["item-3", "item-1"]


def test_prediction_of_all_splits_covers_every_row_of_each(products):
    module = ProductDataModule(
        str(products.source.folder.parent),
        products.vocabulary.source,
        TEXT,
        BatchOptions(tokens=80),
        predict_split="all",
    )
    module.setup("predict")
    rows = rows_of(module.predict_dataloader())
    assert sorted(rows) == list(range(3 * 40))
    expected = sorted(f"item-{n}" for n in range(40) for _ in SPLITS)
    assert sorted(module.item_ids(np.array(rows)).to_pylist()) == expected


def test_more_processes_than_rows_are_refused_on_all_of_them(products, monkeypatch):
    """A rank without a batch would not come to where the others wait for it."""
    products.setup("predict")
    monkeypatch.setattr(products, "_plan", lambda split, rows: BatchPlan(LENGTHS, FEW, 3))
    message = refusal(products.predict_dataloader)
    assert "2 rows at most" in message
    assert "3 processes" in message


def test_targets_are_closed_under_ancestors(products):
    products.setup("fit")
    parents = products.source.hierarchy.parents
    for batch in products.val_dataloader():
        for document, row in enumerate(batch.rows.tolist()):
            expected, node = [], row % 8
            while node >= 0:
                expected.append(node)
                node = int(parents[node])
            found = batch.targets.labels[batch.targets.documents == document].tolist()
            assert found == sorted(expected)


def test_cache_stays_in_the_folder_or_goes_where_it_is_told(products, dataset, tmp_path):
    products.setup("fit")
    assert len(list((dataset.path / ".cache/products").glob("*/meta.json"))) == 2
    ProductDataModule(
        str(dataset.path), dataset.vocabulary.source, TEXT, cache_dir=str(tmp_path / "caches")
    ).setup("test")
    (meta,) = (tmp_path / "caches").rglob("meta.json")
    assert meta.parent.parent == tmp_path / "caches" / "toy" / "products"


def test_no_row_has_a_label(dataset):
    for split in SPLITS:
        dataset.products([{"title": "red"}], f"{split}-00000")
    module = ProductDataModule(str(dataset.finish()), dataset.vocabulary.source, TEXT)
    module.setup("fit")
    assert refusal(module.train_dataloader).endswith("no row of the train split has a label")


def test_rows_without_a_label_are_left_out_and_told_once(dataset, caplog):
    for split in SPLITS:
        rows = [{"title": f"red {row}", "node_ids": [row % 2] * (row % 3 > 0)} for row in range(9)]
        dataset.products(rows, f"{split}-00000")
    module = ProductDataModule(str(dataset.finish()), dataset.vocabulary.source, TEXT)
    with caplog.at_level(logging.INFO):
        module.setup("fit")
        for _ in range(2):
            assert sorted(rows_of(module.train_dataloader())) == [1, 2, 4, 5, 7, 8]
            assert sorted(rows_of(module.val_dataloader())) == [1, 2, 4, 5, 7, 8]
    messages = [record.getMessage() for record in caplog.records]
    for split in ("train", "validation"):
        assert messages.count(f"{split}: 3 rows without a label are left out") == 1


def test_missing_split(dataset):
    dataset.products(ROWS)
    module = ProductDataModule(str(dataset.finish()), dataset.vocabulary.source, TEXT)
    message = refusal(lambda: module.setup("fit"))
    assert message.startswith(f"{dataset.path / 'products'}: the validation split is empty")


def test_descriptions_missing_everywhere_and_empty_texts(dataset, make_table):
    table = make_table([{"title": None, "node_ids": [1]}, {"title": "", "node_ids": [2]}])
    for split in SPLITS:
        dataset.write(table, f"{split}-00000")
    module = ProductDataModule(str(dataset.finish()), dataset.vocabulary.source, TEXT)
    module.setup("fit")
    (batch,) = module.train_dataloader()
    assert batch.tokens.input_ids.tolist() == [[2, 3], [2, 3]]


def test_unknown_dataset(tmp_path):
    message = refusal(lambda: find_dataset(str(tmp_path / "nowhere")))
    assert message.startswith(f"dataset '{tmp_path / 'nowhere'}': no such folder")
    assert dataset_path("some/folder").as_posix() == "some/folder"


def test_folder_that_is_no_dataset(tmp_path):
    message = refusal(lambda: ProductDataModule(str(tmp_path), "unused"))
    assert message.startswith(f"{tmp_path}: no dataset.json there")


def test_unknown_task(dataset):
    dataset.products(ROWS)
    message = refusal(lambda: TaskDataModule(str(dataset.finish()), "nothing", "unused"))
    assert message.startswith(f"{dataset.path / 'tasks' / 'nothing'}: no task.json there")


def task_module(dataset, kind: str, labels: list[list[int]], pair: bool = False) -> TaskDataModule:
    info = TaskInfo("shelf", kind, ["top", "bottom"], pair)
    rows = [{"title": "red", "query": "blue", "label_ids": ids} for ids in labels]
    dataset.task(info, rows, SPLITS)
    return TaskDataModule(str(dataset.finish()), "shelf", dataset.vocabulary.source, TEXT)


def test_task_rows_in_order_of_their_labels(dataset):
    module = task_module(dataset, "multiclass", [[0], [1], [1]])
    module.setup("fit")
    (batch,) = module.val_dataloader()
    assert batch.targets.documents.tolist() == [0, 1, 2]
    assert [batch.targets.labels[batch.rows == row].item() for row in range(3)] == [0, 1, 1]


def test_query_stands_before_the_product(dataset):
    module = task_module(dataset, "binary", [[0]], pair=True)
    module.setup("test")
    (batch,) = module.test_dataloader()
    ids = [dataset.vocabulary.tokenizer.token_to_id(word) for word in ("blue", "red")]
    assert batch.tokens.input_ids.tolist() == [[2, ids[0], 3, ids[1], 3]]
    assert batch.tokens.token_type_ids.tolist() == [[0, 0, 0, 1, 1]]


def test_multilabel_rows_without_a_label_take_part(dataset):
    module = task_module(dataset, "multilabel", [[], [1, 0, 1], [0]])
    module.setup("fit")
    assert sorted(rows_of(module.train_dataloader())) == [0, 1, 2]
    (batch,) = module.val_dataloader()
    assert len(batch.targets.labels) == 3


@pytest.mark.parametrize("kind", ["multiclass", "binary"])
@pytest.mark.parametrize(("labels", "count"), [([], 0), ([0, 1], 2)])
def test_exactly_one_label(dataset, kind, labels, count):
    module = task_module(dataset, kind, [[0], labels, [1]])
    assert refusal(lambda: module.setup("fit")) == (
        f"{dataset.path / 'tasks' / 'shelf'}: train item 'item-1' has {count} labels, "
        f"a {kind} task needs exactly one"
    )


def test_rows_to_predict_need_no_label(dataset):
    module = task_module(dataset, "multiclass", [[], []])
    module.setup("predict")
    assert sorted(rows_of(module.predict_dataloader())) == [0, 1]


def test_label_out_of_range(dataset):
    module = task_module(dataset, "multiclass", [[0], [2]])
    file = dataset.path / "tasks/shelf/train-00000.parquet"
    assert refusal(lambda: module.setup("fit")).startswith(
        f"{file}: row 1: label_ids holds 2, but ids go from 0 to 1"
    )
