"""`hlm predict` of models whose labels are nodes: the shop's keys stand beside the paths."""

import json
import shutil

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ..conftest import SMALL, as_older_release
from .conftest import EXPERIMENTS, TINY

MODELS = {
    "sst": [*TINY, "--model.decode.threshold=0.1"],
    "department": SMALL,
    "leaf": [*SMALL, "--data.department=123"],
}


@pytest.fixture
def predictions(hlm, tmp_path):
    """What a small model says of the test split."""

    def call(experiment, dataset, *options):
        common = ["--config", EXPERIMENTS / f"{experiment}.yaml", *options]
        common += [f"--data.dataset={dataset}", f"--trainer.default_root_dir={tmp_path / 'runs'}"]
        for command in (["fit"], ["predict", "--ckpt_path=best"]):
            status, _, err = hlm(*command, *common)
            assert status == 0, err
        return pq.read_table(tmp_path / "runs" / "version_1" / "predictions" / "part-00000.parquet")

    return call


@pytest.mark.parametrize("experiment", MODELS)
def test_each_label_has_the_key_of_its_node(predictions, shop, experiment):
    table = predictions(experiment, shop, *MODELS[experiment])
    assert table.schema.field("keys").type == pa.list_(pa.string())
    tree = pq.read_table(shop / "hierarchy.parquet")
    key_of = dict(zip(tree["path"].to_pylist(), tree["key"].to_pylist(), strict=True))
    rows = table.to_pylist()
    for row in rows:
        assert row["keys"] == [key_of[label] for label in row["labels"]]
    assert any(key is not None for row in rows for key in row["keys"])


def test_a_tree_of_an_older_release_has_no_keys(predictions, shop, tmp_path):
    older = tmp_path / "older"
    shutil.copytree(shop, older, ignore=shutil.ignore_patterns(".cache"))
    rows = predictions("department", as_older_release(older), *TINY).to_pylist()
    assert [row["keys"] for row in rows] == [[None]] * len(rows)


def test_labels_of_a_task_have_no_keys(predictions, catalogue):
    table = predictions("finetune_pc", catalogue, *TINY)
    assert table.column_names == ["item_id", "labels", "scores"]
    task = json.loads((catalogue / "tasks" / "product_categorisation" / "task.json").read_text())
    assert {label for row in table["labels"].to_pylist() for label in row} <= set(task["labels"])
