"""What `hlm test` and `hlm predict` of a cascade refuse."""

from functools import partial

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from ..conftest import shop_tree, write_shop
from .cascade_runs import run_cascade
from .conftest import assert_refused


@pytest.fixture
def run(hlm, shop, cascade, tmp_path):
    return partial(run_cascade, hlm, cascade, tmp_path / "runs", dataset=shop)


def test_dataset_of_another_tree(run, shop, tmp_path):
    other = write_shop(tmp_path / "other")
    shop_tree({"Food": ["Bread"], "Drinks": ["Tea", "Milk"]}).to_parquet(
        other / "hierarchy.parquet"
    )
    for shard in (other / "products").glob("*.parquet"):
        table = pq.read_table(shard)
        place = table.schema.get_field_index("node_ids")
        nodes = pa.array([[3]] * len(table), table.schema.field(place).type)
        pq.write_table(table.set_column(place, table.schema.field(place), nodes), shard)
    found = shop_tree({"Food": ["Bread"], "Drinks": ["Tea", "Milk"]}).fingerprint[:12]
    for command in ("test", "predict"):
        assert_refused(run(command, dataset=other), "tree", found, shop_tree().fingerprint[:12])


def test_cascade_that_is_not_there(run, tmp_path):
    assert_refused(run("predict", f"--model.cascade={tmp_path / 'no'}"), "no", "fit-cascade")


def test_damaged_cascade(run, cascade):
    (cascade / "cascade.json").write_text("{")
    assert_refused(run("predict"), "cascade.json", "fit-cascade")


def test_damaged_calibration(run, cascade):
    (cascade / "calibration.json").write_text("{")
    assert_refused(run("test"), "calibration.json", "calibrate again")


def test_missing_leaf_model_is_found_when_it_is_asked(run, cascade):
    (cascade / "leaves" / "000_123" / "classifier.ckpt").unlink()
    assert_refused(run("predict"), "000_123", "fit-cascade")


def test_leaf_model_of_another_tree(run, cascade):
    file = cascade / "leaves" / "000_123" / "classifier.ckpt"
    checkpoint = torch.load(file, weights_only=True)
    checkpoint["fingerprints"]["tree"] = "f00d" * 16
    torch.save(checkpoint, file)
    assert_refused(run("test"), "f00df00df00d", shop_tree().fingerprint[:12], "000_123")


def test_a_cascade_is_not_trained_by_fit(run):
    assert_refused(run("fit"), "fit-cascade")


def test_a_cascade_needs_no_checkpoint(run):
    assert_refused(run("test", "--ckpt_path=best"), "--ckpt_path")


@pytest.mark.parametrize(
    "option",
    ["--model.top_departments=0", "--model.chunk_tokens=0", "--data.window=0", "--model.beam=2"],
)
def test_options_that_make_no_sense(run, option):
    name = option.removeprefix("--model.").removeprefix("--data.").split("=")[0]
    assert_refused(run("predict", option), name)
