"""Importance of items: from the column ``weight`` through the token cache into the batches."""

import numpy as np
import pyarrow as pa
import pytest

from data_modules.batching import BatchOptions
from data_modules.products import ProductDataModule
from data_modules.tasks import TaskDataModule
from data_modules.tokens import open_cache
from hierarchy_lm.dataset import TaskInfo
from hierarchy_lm.errors import UserError
from hierarchy_lm.text import TextOptions

TEXT = TextOptions(max_length=16)
SPLITS = ("train", "validation")


def refusal(make) -> str:
    with pytest.raises(UserError) as caught:
        make()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def weighted_table(make_table, weights: pa.Array) -> pa.Table:
    table = make_table([{"title": f"red {n}", "node_ids": [1]} for n in range(len(weights))])
    return table.set_column(table.schema.get_field_index("weight"), "weight", weights)


def test_batches_carry_the_weights_of_their_rows(dataset):
    weights = np.random.default_rng(0).lognormal(size=30).astype(np.float32)
    rows = [
        {"title": "red " * (n % 7), "node_ids": [n % 8], "weight": float(weight)}
        for n, weight in enumerate(weights)
    ]
    for split in SPLITS:
        dataset.products(rows, f"{split}-00000", row_group_size=4)
    batch = BatchOptions(tokens=40)
    module = ProductDataModule(str(dataset.finish()), dataset.vocabulary.source, TEXT, batch)
    module.setup("fit")
    for loader in (module.train_dataloader(), module.val_dataloader()):
        batches = list(loader)
        assert len(batches) > 2
        for batch in batches:
            assert batch.weights.dtype.is_floating_point
            assert batch.weights.tolist() == weights[batch.rows.numpy()].tolist()


def test_tasks_have_no_importance(dataset):
    info = TaskInfo("shelf", "multiclass", ["top", "bottom"])
    dataset.task(info, [{"title": "red", "label_ids": [0]}] * 3, SPLITS)
    module = TaskDataModule(str(dataset.finish()), "shelf", dataset.vocabulary.source, TEXT)
    module.setup("fit")
    (batch,) = module.val_dataloader()
    assert batch.weights.tolist() == [1.0, 1.0, 1.0]


def test_a_null_weight_is_one_and_zero_is_allowed(dataset, make_table, tmp_path):
    weights = pa.array([0.0, None, 2.5], pa.float64())
    dataset.write(weighted_table(make_table, weights))
    store = open_cache(dataset.spec(weighted=True), tmp_path / "cache", "train")
    assert store.weights(np.array([2, 0, 1, 2])).tolist() == [2.5, 0.0, 1.0, 2.5]


def test_a_column_of_nulls_alone(dataset, make_table, tmp_path):
    dataset.write(weighted_table(make_table, pa.nulls(3)))
    store = open_cache(dataset.spec(weighted=True), tmp_path / "cache", "train")
    assert store.weights(np.arange(3)).tolist() == [1.0, 1.0, 1.0]


@pytest.mark.parametrize("wrong", ["nan", "inf", "-0.5"])
def test_a_bad_weight_names_file_and_row(dataset, make_table, tmp_path, wrong):
    weights = pa.array([1.0] * 5 + [float(wrong), -1.0], pa.float32())
    file = dataset.write(weighted_table(make_table, weights), row_group_size=2)
    message = refusal(lambda: open_cache(dataset.spec(weighted=True), tmp_path / "cache", "train"))
    assert message == (
        f"{file}: row 5: weight is {wrong}, but importance is a finite number of at least 0"
    )


def test_a_bad_weight_is_counted_from_the_files_start(dataset, make_table, tmp_path, monkeypatch):
    monkeypatch.setattr("data_modules.encoding.ROWS_PER_JOB", 2)
    weights = pa.array([1.0] * 7 + [-2.0], pa.float32())
    dataset.write(weighted_table(make_table, weights), row_group_size=2)
    spec = dataset.spec(weighted=True)
    assert "row 7: weight is -2.0" in refusal(lambda: open_cache(spec, tmp_path / "c", "train"))


def test_a_weight_that_only_single_precision_cannot_hold_is_refused(dataset, make_table, tmp_path):
    dataset.write(weighted_table(make_table, pa.array([1.0, 1e300], pa.float64())))
    spec = dataset.spec(weighted=True)
    assert "row 1: weight is inf" in refusal(lambda: open_cache(spec, tmp_path / "c", "train"))


def test_products_without_the_column_are_refused_at_once(dataset, make_table):
    file = dataset.write(make_table([{"title": "red", "node_ids": [1]}]).drop_columns("weight"))
    module = ProductDataModule(str(dataset.finish()), dataset.vocabulary.source, TEXT)
    message = refusal(lambda: module.setup("fit"))
    assert message.startswith(f"{file}: no column 'weight'; it has 'item_id', 'title'")


def test_weights_of_another_type_are_refused(dataset, make_table):
    table = weighted_table(make_table, pa.array(["heavy"]))
    file = dataset.write(table)
    module = ProductDataModule(str(dataset.finish()), dataset.vocabulary.source, TEXT)
    message = refusal(lambda: module.setup("fit"))
    assert message == f"{file}: column 'weight' is string, expected float"
