"""`hlm report` on what `hlm fit` and `hlm sweep` really leave behind."""

import json
import re
from collections import Counter

import pyarrow.parquet as pq
import pytest

from hierarchy_lm.hierarchy import Hierarchy

from .conftest import EXPERIMENTS, TINY
from .sweeping import sweep_argv, write_sweep

FEW = ["--trainer.limit_train_batches=4", "--trainer.limit_val_batches=2"]


def fit(hlm, experiment, catalogue, *extra):
    status, _, err = hlm(
        *("fit", "--config", EXPERIMENTS / experiment, *TINY, *FEW, "--test_after_fit=true"),
        *("--trainer.log_every_n_steps=1", f"--data.dataset={catalogue}", *extra),
    )
    assert status == 0, err


def sections(file):
    text = file.read_text(encoding="utf-8").replace("\\", "")
    return dict(re.findall(r"^## (.+?)\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL))


def table(section):
    lines = [line.strip("| ").split(" | ") for line in section.splitlines() if line[:2] == "| "]
    head, _, *rows = lines
    return [dict(zip(head, row, strict=True)) for row in rows]


def test_runs_of_two_kinds_have_their_curves_levels_and_mistakes(hlm, catalogue, tmp_path):
    fit(hlm, "sst.yaml", catalogue, "--trainer.default_root_dir=runs/sst")
    fit(hlm, "department.yaml", catalogue, "--trainer.default_root_dir=runs/roots")
    status, out, err = hlm("report", "runs", "--output=page", "--plots=plots")
    assert status == 0, err
    assert "page/report.html" in out
    parts = sections(tmp_path / "page/report.md")
    assert [one["state"] for one in table(parts["Runs"])] == ["finished", "finished"]
    assert {"Training curves: SSTPretrainer", "Training curves: DepartmentClassifier"} < set(parts)
    assert "What this report cannot say" not in parts

    record = json.loads((tmp_path / "runs/sst/version_0/run.json").read_text())
    (levels,) = table(parts["F1 by level"])
    told = {name: value for name, value in levels.items() if name != "run"}
    assert told == {
        f"level {level}": f"{record['metrics'][f'test/micro_f1_L{level}']:.4f}"
        for level in range(1, len(told) + 1)
    }
    tree = Hierarchy.from_parquet(catalogue / "hierarchy.parquet")
    rows = pq.read_table(tmp_path / "runs/roots/version_0/test_items").to_pylist()
    wrong = Counter(
        (tree.paths[gold], tree.paths[predicted])
        for row in rows
        for gold in set(row["gold"]) - set(row["predicted"])
        for predicted in set(row["predicted"]) - set(row["gold"])
    )
    assert wrong
    shown = table(parts["Confused siblings: roots"])
    assert len(shown) == min(len(wrong), 30)
    for one in shown:
        assert wrong[one["label"], one["predicted"]] == int(one["items"])
    for one in table(parts["Departments"]):
        node = tree.node_of(one["department"])
        own = [row for row in rows if node in row["gold"]]
        assert one["items"] == str(len(own))
        right = sum(node in row["predicted"] for row in own)
        assert one["roots"] == f"{right / len(own):.4f}"
    assert len(list((tmp_path / "plots").glob("*train-loss.svg"))) == 2


def test_grid_shows_what_its_runs_have_logged(hlm, catalogue, tmp_path):
    file = write_sweep(
        tmp_path / "mine.yaml",
        {
            "model.optimizer.lr": {"values": [0.01, 0.001]},
            "model.head.dropout": {"values": [0.0, 0.5]},
            "seed_everything": {"values": [0]},
        },
        metric={"name": "test/micro_f1", "goal": "maximize"},
    )
    argv = sweep_argv(file, tmp_path / "swept", catalogue, "--baseline=false")
    status, _, err = hlm(*argv, *FEW, "--trainer.max_epochs=1")
    assert status == 0, err
    status, _, err = hlm("report", "swept")
    assert status == 0, err
    cells = json.loads((tmp_path / "swept/sweep.json").read_text())["cells"]
    expected = {}
    for cell in cells:
        record = json.loads(
            (tmp_path / "swept" / cell["folder"] / "version_0/run.json").read_text()
        )
        name = f"lr={cell['values']['model.optimizer.lr']}, "
        name += f"dropout={cell['values']['model.head.dropout']}"
        expected[name] = record["metrics"]["test/micro_f1"]
    parts = sections(tmp_path / "swept/report.md")
    shown = {one["values"]: float(one["mean"]) for one in table(parts["The grid"])}
    assert shown == pytest.approx(expected, abs=5e-5)
    settings = table(parts["Differences of configuration"])
    assert set(settings[0]) == {"run", "model.head.dropout", "model.optimizer.lr"}
    html = (tmp_path / "swept/report.html").read_text(encoding="utf-8")
    assert html.count('class="heat"') == 4 + 2  # cells and legend
