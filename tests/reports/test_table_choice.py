"""Which runs stand in which cell of `hlm table`, and what is refused."""

import json

import pytest

from hierarchy_lm.cli import main

from .table_sweeps import BETA, GATE, SweepWriter, write_run
from .test_table import accuracy, block, made, records

MICRO = "test/micro_f1"


def small_sweep(folder, seed=0, name="bootstrap", **options):
    """The baseline and one cell."""
    run_options = {key: options.pop(key) for key in ("fingerprint",) if key in options}
    writer = SweepWriter(folder, name, {BETA: [0.9], GATE: [0]}, **options)
    write_run(writer.cell({}, seed, baseline=True), accuracy(0.8), seed=seed, **run_options)
    cell = writer.cell({BETA: 0.9, GATE: 0}, seed)
    write_run(cell, accuracy(0.82 + seed / 100), seed=seed, **run_options)
    return folder


def refused(capsys, *argv):
    """The one line that it is refused with."""
    assert main(["table", *map(str, argv)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    return line


def test_seeds_of_two_sweeps_with_the_same_command_are_put_together(tmp_path):
    for seed in (0, 1):
        small_sweep(tmp_path / "sweeps" / str(seed), seed)
    small_sweep(tmp_path / "sweeps" / "other", name="negatives")  # not of this table
    _, rows = made("bootstrap", tmp_path / "sweeps")
    assert block(rows, "T_gate = 0")["score"][0] == "0.8250 ± 0.0071"
    assert block(rows, "T_gate = 0")["seeds"] == ["2", "-", "-", "-"]


def test_a_seed_that_is_there_twice_is_refused(tmp_path, capsys):
    one, two = (small_sweep(tmp_path / name) for name in "ab")
    line = refused(capsys, "bootstrap", one, two)
    assert "two runs of the same cell and seed 0" in line
    assert str(one) in line
    assert str(two) in line


def test_sweeps_with_other_extra_arguments_are_not_mixed(tmp_path, capsys):
    one = small_sweep(tmp_path / "a", 0)
    two = small_sweep(tmp_path / "b", 1, extra=["--trainer.max_epochs=1"])
    assert "different commands or extra arguments" in refused(capsys, "bootstrap", one, two)


def test_datasets_are_not_mixed_in_a_cell(tmp_path, capsys):
    one = small_sweep(tmp_path / "a", 0)
    two = small_sweep(tmp_path / "b", 1, fingerprint="e" * 64)
    line = refused(capsys, "bootstrap", one, two)
    assert "eeeeeeeeeeee" in line
    assert "cannot be compared" in line


def test_columns_of_several_datasets_are_named_in_one_line(tmp_path):
    for task, fingerprint in (("pc", "a"), ("qp", "b")):
        file = f"experiments/finetune_{task}.yaml"
        grid = {"pretrain": ["none", "experiments/sst.yaml"], "finetune": [file]}
        writer = SweepWriter(tmp_path / "s" / task, "pretraining", grid, extra=[task])
        for value in grid["pretrain"]:
            cell = writer.cell({"pretrain": value, "finetune": file}, 0)
            write_run(cell, {MICRO: 0.5}, fingerprint=fingerprint * 64)
    text, rows = made("pretraining", tmp_path / "s")
    assert (
        "- Several datasets: shop (aaaaaaaaaaaa) in PC Micro F1; shop (bbbbbbbbbbbb) in QP" in text
    )
    assert block(rows, "SST")["score"][:4] == ["0.5000", "no such score"] * 2
    assert block(rows, "HPT")["score"] == ["not run"] * 8
    assert block(rows, "HPT")["paper (relative)"][:2] == ["+0.4%", "+6%"]


def test_a_row_of_another_sweep_is_filled_where_that_sweep_lies_too(tmp_path):
    task = "experiments/finetune_pc.yaml"
    hpt, sst = "experiments/baselines/hpt.yaml", "experiments/sst.yaml"
    readout = "finetune.model.level_tokens.readout"
    grid = {"pretrain": [hpt], "finetune": [task], readout: ["none"]}
    own = SweepWriter(tmp_path / "htc-finetuning", "htc-finetuning", grid)
    write_run(own.cell({"pretrain": hpt, "finetune": task, readout: "none"}, 0), {MICRO: 0.5})
    grid = {"pretrain": [hpt, sst], "finetune": [task]}
    other = SweepWriter(tmp_path / "pretraining", "pretraining", grid)
    config = {"model": {"level_tokens": {"readout": "none"}}}  # as HPT's row has it
    for pretrain, score in ((hpt, 0.7), (sst, 0.6)):
        cell = other.cell({"pretrain": pretrain, "finetune": task}, 0)
        write_run(cell, {MICRO: score}, config=config)
    _, rows = made("htc-finetuning", tmp_path / "htc-finetuning")
    assert block(rows, "SST: Text, CLS Head")["score"][0] == "not run"
    _, rows = made("htc-finetuning", tmp_path)
    assert block(rows, "HPT: Text, CLS Head")["score"][0] == "0.5000"
    assert block(rows, "SST: Text, CLS Head")["score"][0] == "0.6000"
    assert block(rows, "SST: Text, CLS Head")["relative"][0] == "+20.0 %"


def test_runs_of_no_sweep_are_found_by_flags_and_configuration(tmp_path):
    """`--pretrain` is a flag alone; `node_text` stands in the configuration alone."""
    for number, (stage, text, score) in enumerate(
        [("none", "none", 0.5), ("experiments/sst.yaml", "none", 0.6), ("none", "leaf", 0.7)]
    ):
        command = ["hlm", "transfer", f"--pretrain={stage}", "--finetune", "x/finetune_pc.yaml"]
        config = {"data": {"init_args": {"node_text": text}}}
        folder = tmp_path / "runs" / str(number)
        write_run(folder, {MICRO: score}, command=command, config=config)
    _, rows = made("node-inputs", tmp_path / "runs")
    found = {name: block(rows, name)["score"] for name in ("MLM only: Text", "SST: Text")}
    assert found == {"MLM only: Text": ["0.5000", "not run"], "SST: Text": ["0.6000", "not run"]}
    nodes = block(rows, "MLM only: Node, Text")
    assert nodes["relative"] == ["+40.0 %", "-"]
    assert nodes["paper (relative)"] == ["+2.9%", "-0.5%"]


def test_a_row_stands_in_for_what_has_not_been_run(tmp_path):
    files = ["b/multi_task.yaml", "b/sst.yaml"]
    writer = SweepWriter(tmp_path / "s", "hierarchy", {"finetune": files})
    for file, score in zip(files, (0.5, 0.6), strict=True):
        write_run(writer.cell({"finetune": file}, 0), {"test/micro_f1_L1": score})
    _, rows = made("hierarchy", tmp_path / "s")
    assert block(rows, "SST")["relative"] == ["+20.0 %", *["-"] * 5]
    assert block(rows, "SST")["paper (relative to HPT)"][0] == "+2.3%"
    assert records("hierarchy", tmp_path / "s")["SST", "L1"]["compared_with"] == "Multi-Task"


def test_pruned_encoders_are_compared_with_the_deepest_and_show_their_sizes(tmp_path):
    grid = {
        "config": ["e/department.yaml", "e/leaf.yaml"],
        "model.backbone.num_layers": [2, 4, 12],
    }
    writer = SweepWriter(tmp_path / "s", "pruning", grid)
    for config in grid["config"]:
        for layers in grid["model.backbone.num_layers"]:
            cell = writer.cell({"config": config, "model.backbone.num_layers": layers}, 0)
            score = 0.7 + layers / 100 + (config == "e/leaf.yaml") / 10
            write_run(cell, accuracy(score), parameters=26_000_000 + 7_000_000 * layers)
    _, rows = made("pruning", tmp_path / "s")
    paper = [f"paper: PruneBERT_{layers}" for layers in (2, 4, 6)]
    assert rows[0][2:] == ["all layers", "num_layers = 2", "num_layers = 4", *paper]
    leaf = block(rows, "Leaf classifier")
    assert leaf["score"] == ["0.9200", "0.8200", "0.8400", "-", "-", "-"]
    assert leaf["difference"] == ["-", "-0.1000", "-0.0800", "-", "-", "-"]
    assert leaf["paper (difference)"] == ["-", "-", "-", "-0.015", "-0.001", "-0.003"]
    sizes = block(rows, "Parameters (encoder)")
    assert sizes["ours"] == ["110.0MM", "40.0MM", "54.0MM", "-", "-", "-"]
    assert sizes["paper"] == ["-", "-", "-", "40MM", "54MM", "67MM"]


def test_any_other_sweep_gets_its_parameters_as_rows_and_columns(tmp_path):
    grid = {
        "model.optimizer.lr": [0.1, 0.01],
        "model.head": ["[1, 2]", "small"],
        "fixed": ["x"],
        "data.batch.documents": [8, 16],
    }
    writer = SweepWriter(tmp_path / "s", "mine", grid)
    (tmp_path / "s" / "sweep.yaml").write_text("metric: {name: test/accuracy, goal: maximize}\n")
    write_run(writer.cell({}, 0, baseline=True), accuracy(0.5))
    for n, rate in reversed(list(enumerate(grid["model.optimizer.lr"]))):  # extended later, say
        for m, head in enumerate(grid["model.head"]):
            values = {"model.optimizer.lr": rate, "model.head": head, "fixed": "x"}
            cell = writer.cell({**values, "data.batch.documents": 8}, 0)
            write_run(cell, accuracy(0.6 + n / 10 + m / 100))
            writer.cell({**values, "data.batch.documents": 16}, 0)
    text, rows = made("mine", tmp_path / "s")
    heads = ["[1, 2]", "small"]
    assert rows[0][2:] == [f"{head}, documents = {n}" for head in heads for n in (8, 16)]
    names = [row[0] for row in rows[2:] if row[0]]
    assert names == ["baseline (for all)", "lr = 0.1", "lr = 0.01"]
    assert block(rows, "baseline (for all)")["score"] == ["0.5000", "-", "-", "-"]
    second = block(rows, "lr = 0.01")
    assert second["score"] == ["0.7000", "not run", "0.7100", "not run"]
    assert second["difference"] == ["+0.2000", "-", "+0.2100", "-"]
    assert not any("paper" in row[1] for row in rows)
    assert "Score: test/accuracy" in text
    _, rows = made("mine", tmp_path / "s", f"--metric={MICRO}")
    assert block(rows, "lr = 0.1")["score"][0] == "0.3000"


def test_settings_of_a_random_search_are_a_row_each(tmp_path):
    drawn = [("0.1", "a"), ("0.2", "b"), ("0.3", "a")]
    writer = SweepWriter(
        tmp_path / "s", "mine", {"x.lr": ["0.1", "0.2", "0.3"], "kind": ["a", "b"]}
    )
    for number, (rate, kind) in enumerate(drawn):
        write_run(writer.cell({"x.lr": rate, "kind": kind}, 0), accuracy(0.2 + number / 5))
    _, rows = made("mine", tmp_path / "s")
    assert rows[0][2:] == ["micro_f1"]
    assert block(rows, "lr = 0.2, b")["score"] == ["0.2000"]
    assert [row[0] for row in rows[2:] if row[0]] == ["lr = 0.1, a", "lr = 0.2, b", "lr = 0.3, a"]


def test_a_run_of_no_sweep_without_the_strategy_is_the_baseline(tmp_path):
    off = {"model": {"init_args": {"loss": {"bootstrap": None}}}}
    write_run(tmp_path / "runs" / "off", accuracy(0.5), config=off)
    for beta in ("0.9", "0.6"):
        flags = [f"--{BETA}={beta}", f"--{GATE}", "1000"]
        run = tmp_path / "runs" / beta
        write_run(run, accuracy(float(beta)), command=["hlm", "fit", *flags])
    _, rows = made("bootstrap", tmp_path / "runs")
    assert block(rows, "without bootstrap (for all)")["score"][0] == "0.5000"
    assert block(rows, "T_gate = 1000")["difference"] == ["+0.4000", "-", "-", "+0.1000"]


def test_departments_are_not_compared_with_each_other(tmp_path):
    grid = {"config": ["e/leaf.yaml"], "data.department": ["Home & Garden", "Shoes_1"]}
    writer = SweepWriter(tmp_path / "s", "leaf-departments", grid)
    for department, score in zip(grid["data.department"], (0.6, 0.7), strict=True):
        values = {"config": "e/leaf.yaml", "data.department": department}
        write_run(writer.cell(values, 0), accuracy(score))
    _, rows = made("leaf-departments", tmp_path / "s")
    assert block(rows, "Home & Garden") == {
        "score": ["0.6000", "0.3000", "no such score"],
        "seeds": ["1", "1", "0 of 1"],
    }
    assert "Home \\& Garden & score" in (tmp_path / "out" / "leaf-departments.tex").read_text()


@pytest.mark.parametrize(
    ("name", "options", "told"),
    [
        ("negatives", [], "no sweep 'negatives' there, but bootstrap"),
        ("bootstrap", ["--against=Nobody"], "there are 'T_gate = 0'"),
        ("bootstrap", ["--resamples=0"], "must be at least 1"),
        ("bootstrap", ["--output=sweep/sweep.json/x"], "cannot write there"),
    ],
)
def test_wrong_input_is_refused_in_one_line(tmp_path, monkeypatch, capsys, name, options, told):
    monkeypatch.chdir(tmp_path)
    small_sweep(tmp_path / "sweep")
    assert told in refused(capsys, name, "sweep", *options)


def test_folders_without_runs_are_refused(tmp_path, capsys):
    assert "no such folder" in refused(capsys, "bootstrap", tmp_path / "nowhere")
    assert "no sweep.json and no run.json" in refused(capsys, "bootstrap", tmp_path)
    write_run(tmp_path / "run", {MICRO: 0.5})
    assert "there are augmentation, bootstrap" in refused(capsys, "unheard-of", tmp_path)


def test_a_run_json_of_something_else_is_refused(tmp_path, capsys):
    (tmp_path / "run.json").write_text("{}")
    assert "no run of this program" in refused(capsys, "bootstrap", tmp_path)


@pytest.mark.parametrize("content", ["{", "[]", json.dumps({"name": "bootstrap"})])
def test_a_broken_sweep_is_refused(tmp_path, capsys, content):
    (tmp_path / "sweep.json").write_text(content)
    assert "sweep.json" in refused(capsys, "bootstrap", tmp_path)


def test_broken_test_items_are_refused(tmp_path, capsys):
    sweep = small_sweep(tmp_path / "s")
    for run in sweep.glob("runs/*/version_0"):
        (run / "test_items").mkdir()
        (run / "test_items" / "part-00000.parquet").write_text("no parquet")
    assert "test the run again" in refused(capsys, "bootstrap", sweep)
