"""Every way into a dataset looks at its files; where it lies does not matter."""

import shutil

import numpy as np
import pytest

from data_modules.classification import DepartmentDataModule, LeafDataModule
from data_modules.datasets import find_dataset
from data_modules.label_texts import TextDataset
from data_modules.products import ProductDataModule
from data_modules.sample import SampleOptions, write_sample
from data_modules.tasks import TaskDataModule
from data_modules.texts import TextDataModule
from hierarchy_lm.errors import UserError

from ..conftest import as_older_release

TASK = "product_categorisation"
WAYS = {
    "products": lambda folder, words: ProductDataModule(folder, words),
    "texts": lambda folder, words: TextDataModule(folder, words),
    "departments": lambda folder, words: DepartmentDataModule(folder, words),
    "leaves": lambda folder, words: LeafDataModule(folder, "largest", words),
    "task": lambda folder, words: TaskDataModule(folder, TASK, words),
    "task with nodes": lambda folder, words: TaskDataModule(folder, TASK, words, node_text="leaf"),
    "plain texts": lambda folder, words: TextDataset(folder),
    "plain texts of a task": lambda folder, words: TextDataset(folder, TASK),
}


@pytest.fixture(scope="module")
def sample(tmp_path_factory):
    folder = tmp_path_factory.mktemp("samples") / "sample"
    write_sample(folder, SampleOptions(items=200, nodes=40, depth=3, task_items=60))
    return folder


@pytest.fixture
def copy(sample, tmp_path):
    return shutil.copytree(sample, tmp_path / "copy")


@pytest.mark.parametrize("way", WAYS)
def test_a_missing_shard_is_refused_by_every_way(copy, tokenizer_folder, way):
    WAYS[way](str(copy), str(tokenizer_folder))
    shard = copy / "tasks" / "query_product" / "test-00000.parquet"
    shard.unlink()
    with pytest.raises(UserError, match=f"{shard}: is missing"):
        WAYS[way](str(copy), str(tokenizer_folder))


def test_the_sample_of_the_user_s_cache_is_looked_through_too(monkeypatch, sample):
    monkeypatch.setattr("data_modules.datasets.default_sample", lambda: sample)
    assert find_dataset("sample").info.name == "sample"
    (sample / "products" / "dev-00000.parquet").write_bytes(b"")
    try:
        with pytest.raises(UserError, match=r"dev-00000\.parquet: is not listed"):
            find_dataset("sample")
    finally:
        (sample / "products" / "dev-00000.parquet").unlink()


@pytest.mark.parametrize("older", [False, True])
def test_folders_that_look_like_columns_change_no_row(sample, tmp_path, tokenizer_folder, older):
    plain = shutil.copytree(sample, tmp_path / "plain")
    if older:
        as_older_release(plain)
    below = shutil.copytree(plain, tmp_path / "title=zzz" / "split=v2" / "node_ids=3" / "data")
    assert find_dataset(str(below)).hierarchy.paths == find_dataset(str(plain)).hierarchy.paths
    for task in (None, TASK, "query_product"):
        first, second = (TextDataset(str(folder), task).read("train") for folder in (plain, below))
        assert second.texts == first.texts
        assert second.item_ids.equals(first.item_ids)
        assert np.array_equal(second.labels, first.labels)
    modules = [ProductDataModule(str(folder), str(tokenizer_folder)) for folder in (plain, below)]
    for module in modules:
        module.setup("fit")
    first, second = (module.stores["train"] for module in modules)
    rows = np.arange(len(first))
    for arrays in zip(first.tokens(rows), second.tokens(rows), strict=True):
        assert np.array_equal(*arrays)


def test_an_older_folder_is_spoken_of_once(copy, caplog, tokenizer_folder):
    as_older_release(copy)
    for way in WAYS.values():
        way(str(copy), str(tokenizer_folder))
    assert caplog.text.count(f"{copy}: written by an older release") == 1


def test_only_the_first_rank_speaks_of_an_older_folder(copy, caplog, monkeypatch):
    monkeypatch.setenv("LOCAL_RANK", "1")
    find_dataset(str(as_older_release(copy)))
    assert caplog.text == ""
