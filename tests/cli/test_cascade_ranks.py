"""A cascade on two gloo ranks: each item once, and the scores of one."""

import json

import pyarrow.parquet as pq
import pytest
from pyarrow import csv

from ..conftest import ROOT
from .conftest import hlm_process

pytestmark = [pytest.mark.ddp, pytest.mark.slow]
RANKS = {
    1: ["--trainer.devices=1"],
    2: [
        "--trainer.devices=2",
        "--trainer.strategy=DDPStrategy",
        "--trainer.strategy.process_group_backend=gloo",
    ],
}


def run(command, cascade, shop, root, ranks, *options):
    process = hlm_process(
        *(command, "--config", ROOT / "experiments" / "cascade.yaml", "--trainer.accelerator=cpu"),
        *(f"--model.cascade={cascade}", f"--data.dataset={shop}", *RANKS[ranks], *options),
        *(f"--trainer.default_root_dir={root}", "--trainer.enable_progress_bar=false"),
    )
    out, _ = process.communicate(timeout=240)
    return process.returncode, out


@pytest.mark.parametrize("window", [7, 8192])  # many uneven windows, or a single one
def test_ranks_share_the_items(cascade, shop, tmp_path, window):
    tables = {}
    for ranks in RANKS:
        root = tmp_path / str(ranks)
        status, out = run("predict", cascade, shop, root, ranks, f"--data.window={window}")
        assert status == 0, out
        files = sorted((root / "version_0" / "predictions").iterdir())
        assert [file.name for file in files] == [f"part-{n:05d}.parquet" for n in range(ranks)]
        assert all(pq.read_metadata(file).num_rows > 0 for file in files)
        tables[ranks] = pq.read_table(files).sort_by("item_id")
    expected = pq.read_table(sorted((shop / "products").glob("test-*.parquet")))["item_id"]
    assert tables[2]["item_id"].to_pylist() == sorted(expected.to_pylist())
    for name in ("item_id", "department", "path", "decision", "reason"):
        assert tables[1][name].to_pylist() == tables[2][name].to_pylist()
    for name in ("p_department", "p_leaf", "confidence"):
        assert tables[2][name].to_pylist() == pytest.approx(tables[1][name].to_pylist(), abs=1e-5)


def test_scores_and_kept_answers_are_those_of_one_rank(cascade, shop, tmp_path):
    scores, kept, tables = {}, {}, {}
    for ranks in (2, 1, 2):  # each replaces the one before, parts of the other rank too
        root = tmp_path / f"{ranks}-{len(scores)}"
        status, out = run("test", cascade, shop, root, ranks, "--data.window=50")
        assert status == 0, out
        scores[ranks] = json.loads((root / "version_0" / "test.json").read_text())
        files = sorted((cascade / "evaluation" / "test").glob("part-*"))
        assert len(files) == ranks
        tables[ranks] = csv.read_csv(root / "version_0" / "test_departments.csv")
        kept[ranks] = pq.read_table(files).sort_by("item_id")
    assert scores[2] == pytest.approx(scores[1], rel=1e-5)
    for name in ("items", "weight"):
        assert tables[2][name].to_pylist() == tables[1][name].to_pylist()
    for name in ("item_id", "gold", "weight", "department", "leaf", "decision"):
        assert kept[1][name].to_pylist() == kept[2][name].to_pylist()


def test_a_fault_on_both_ranks_is_said_once(cascade, shop, tmp_path):
    (cascade / "leaves" / "000_123" / "classifier.ckpt").unlink()
    status, out = run("predict", cascade, shop, tmp_path / "runs", 2)
    assert status != 0
    assert "000_123" in out
    assert not list((tmp_path / "runs").glob("**/part-*.parquet"))  # no half of an output
