"""`hlm table` on sweep folders made by hand; expected numbers are worked out here."""

import csv
import json

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, f1_score

from hierarchy_lm.cli import main

from .table_sweeps import BETA, GATE, SweepWriter, write_items, write_run

GRID = {BETA: [0.9, 0.8, 0.7, 0.6], GATE: [0, 0.2, 0.6]}
GOLD = [[1], [2], [3], [1, 4], [2], [5], [6], [1]]
WEIGHTS = [1.0, 1.0, 2.0, 1.0, 0.5, 1.0, 1.0, 1.0]
BASE = [[1], [2], [1], [4], [3], [5], [1], [2]]
BETTER = [[1], [2], [3], [1], [2], [5], [1], [1]]


def accuracy(value):
    return {"test/accuracy": value, "test/micro_f1": value / 2}


@pytest.fixture
def sweep(tmp_path):
    """Table 11 with a baseline, a whole cell, half a cell, a failed one; the others never ran."""
    writer = SweepWriter(tmp_path / "sweep", "bootstrap", GRID)
    for seed, value in enumerate([0.80, 0.82]):
        folder = writer.cell({}, seed, baseline=True)
        run = write_run(folder, accuracy(value), seed=seed)
        write_items(run, GOLD, BASE, weights=WEIGHTS)
    for seed, value in enumerate([0.83, 0.85]):
        run = write_run(writer.cell({BETA: 0.9, GATE: 0}, seed), accuracy(value), seed=seed)
        write_items(run, GOLD, BETTER, weights=WEIGHTS)
    write_run(writer.cell({BETA: 0.8, GATE: 0}, 0), accuracy(0.79))
    write_run(writer.cell({BETA: 0.8, GATE: 0}, 1), {}, seed=1, state="failed")
    for seed in (0, 1):
        write_run(writer.cell({BETA: 0.7, GATE: 0}, seed), {}, seed=seed, state="failed")
    write_run(writer.cell({BETA: 0.6, GATE: 0}, 0), {}, state="running")
    for gate in (0.2, 0.6):
        for beta in GRID[BETA]:
            writer.cell({BETA: beta, GATE: gate}, 0)
    return writer.folder


def made(name, runs, *options):
    """Status 0, and the lines of the Markdown as cells."""
    output = runs.parent / "out"
    assert main(["table", name, str(runs), "--output", str(output), *options]) == 0
    text = (output / f"{name}.md").read_text()
    rows = [line.strip("|").split("|") for line in text.splitlines() if line.startswith("|")]
    return text, [[cell.strip() for cell in row] for row in rows]


def records(name, runs):
    with (runs.parent / "out" / f"{name}.csv").open() as file:
        return {(row["row"], row["column"]): row for row in csv.DictReader(file)}


def block(rows, name):
    """What is said of a row of the table, by heading."""
    start = next(number for number, row in enumerate(rows) if row[0] == name)
    end = next((n for n in range(start + 1, len(rows)) if rows[n][0]), len(rows))
    return {row[1]: row[2:] for row in rows[start:end]}


def test_scores_changes_and_gaps_stand_beside_the_paper(sweep):
    text, rows = made("bootstrap", sweep)
    assert rows[0][2:] == ["β = 0.9", "β = 0.8", "β = 0.7", "β = 0.6"]
    baseline = block(rows, "without bootstrap (for all)")
    # mean and sample deviation of 0.80 and 0.82
    assert baseline == {"score": ["0.8100 ± 0.0141", "-", "-", "-"], "seeds": ["2", "-", "-", "-"]}
    first = block(rows, "T_gate = 0")
    assert first["score"] == ["0.8400 ± 0.0141", "0.7900", "failed", "not finished"]
    assert first["seeds"] == ["2", "1 of 2", "0 of 2", "0 of 1"]
    assert first["difference"] == ["+0.0300", "-0.0200", "-", "-"]
    assert first["relative"] == ["+3.7 %", "-2.5 %", "-", "-"]  # 3 / 81 and -2 / 81
    assert first["paper (difference)"] == ["+0.0148", "-0.0016", "+0.0047", "+0.0029"]
    last = block(rows, "T_gate = 3000")
    assert last["score"] == ["not run"] * 4
    assert last["paper (difference)"] == ["-0.0011", "-0.0020", "-0.0024", "-0.0038"]
    assert "- Dataset: shop (ffffffffffff)." in text
    assert "From 5 runs. Cells: 1 failed, 1 not finished, 8 not run, 1 without some" in text


def test_interval_and_p_are_those_of_drawn_items(sweep):
    made("bootstrap", sweep, "--resamples=200")
    record = records("bootstrap", sweep)["T_gate = 0", "β = 0.9"]
    weights = np.array(WEIGHTS)
    right = [
        np.array([bool(set(g) & set(p)) for g, p in zip(GOLD, predicted, strict=True)])
        for predicted in (BASE, BETTER)
    ]
    counts = np.random.default_rng(0).multinomial(8, [1 / 8] * 8, size=200)
    drawn = []
    for count in counts:
        rows = np.repeat(np.arange(8), count)
        ones = np.ones(len(rows))
        base, better = (accuracy_score(ones, r[rows], sample_weight=weights[rows]) for r in right)
        drawn.append(better - base)
    drawn = np.array(drawn)
    assert float(record["low"]) == pytest.approx(np.quantile(drawn, 0.025))
    assert float(record["high"]) == pytest.approx(np.quantile(drawn, 0.975))
    tail = min((drawn < 1e-9).mean(), (drawn > -1e-9).mean())
    assert float(record["p"]) == pytest.approx(2 * tail)
    assert record["resamples"] == "200"
    assert record["items"] == "8"
    assert records("bootstrap", sweep)["T_gate = 0", "β = 0.8"]["p"] == ""  # it has no items


def test_csv_has_a_line_per_cell_with_whole_numbers(sweep):
    made("bootstrap", sweep)
    cells = records("bootstrap", sweep)
    assert len(cells) == 13
    assert float(cells["without bootstrap", ""]["mean"]) == pytest.approx(0.81)
    cell = cells["T_gate = 0", "β = 0.9"]
    assert float(cell["mean"]) == pytest.approx(0.84)
    assert float(cell["deviation"]) == pytest.approx(np.std([0.83, 0.85], ddof=1))
    assert float(cell["difference"]) == pytest.approx(0.03)
    assert float(cell["relative_percent"]) == pytest.approx(100 * 0.03 / 0.81)
    assert (cell["state"], cell["seeds"], cell["expected_seeds"]) == ("finished", "2", "2")
    assert (cell["metric"], cell["compared_with"]) == ("test/accuracy", "without bootstrap")
    assert (cell["paper"], cell["paper_convention"]) == ("+0.0148", "difference")
    assert cells["T_gate = 0", "β = 0.7"]["state"] == "failed"
    assert cells["T_gate = 1000", "β = 0.9"]["mean"] == ""


def test_latex_is_one_tabular_with_every_sign_escaped(sweep):
    made("bootstrap", sweep)
    text = (sweep.parent / "out" / "bootstrap.tex").read_text()
    body = text.split("\\begin{tabular}{llrrrr}\n")[1].split("\\end{tabular}")[0]
    for rule in ("toprule", "midrule", "bottomrule"):
        assert body.count(f"\\{rule}\n") == 1
    rows = [line for line in body.splitlines() if line.endswith("\\\\")]
    assert {row.count(" & ") for row in rows} == {5}
    assert "T\\_gate = 0 & score & 0.8400 $\\pm$ 0.0141 & 0.7900 & failed" in body
    assert "& relative & +3.7 \\% & $-$2.5 \\%" in body
    assert "$\\beta$ = 0.9" in body
    assert not set("β±<~^#").intersection(text)


def test_a_file_is_written_by_its_suffix(sweep, tmp_path):
    file = tmp_path / "here.tex"
    assert main(["table", "bootstrap", str(sweep), "--output", str(file)]) == 0
    assert "\\toprule" in file.read_text()
    assert list(tmp_path.glob("here*")) == [file]


def test_macro_f1_of_label_sets_agrees_with_scikit_learn(tmp_path):
    """The compared row is a row of the table; columns have scores of their own."""
    predicted = {"sst": BETTER, "without_mask": BASE}
    folder = tmp_path / "sweep"
    files = [f"experiments/{name}.yaml" for name in predicted]
    writer = SweepWriter(
        folder, "sst-mask", {"pretrain": files, "finetune": ["a/finetune_pc.yaml"]}
    )
    hot = {name: np.zeros((8, 10), bool) for name in ("gold", *predicted)}
    for name, lists in {"gold": GOLD, **predicted}.items():
        for row, labels in enumerate(lists):
            hot[name][row, labels] = True
    kept = np.flatnonzero(hot["gold"].any(axis=0))
    scores = {
        name: f1_score(hot["gold"], hot[name], labels=kept, average="macro", zero_division=0)
        for name in predicted
    }
    for name, file in zip(predicted, files, strict=True):
        cell = writer.cell({"pretrain": file, "finetune": "a/finetune_pc.yaml"}, 0)
        run = write_run(cell, {"test/micro_f1": 0.5, "test/macro_f1_supported": scores[name]})
        write_items(run, GOLD, predicted[name])
    _, rows = made("sst-mask", folder)
    assert block(rows, "SST").keys() == {"score", "seeds", "paper (relative)"}
    change = 100 * (scores["without_mask"] / scores["sst"] - 1)
    without = block(rows, "w.o. Mask")
    assert without["relative"] == ["+0.0 %", f"{change:+.1f} %", "-", "-"]
    assert without["score"] == ["0.5000", f"{scores['without_mask']:.4f}", "not run", "not run"]
    assert without["paper (relative)"] == ["-0.4%", "+1.2%", "-0.8%", "-3.1%"]
    record = records("sst-mask", folder)["w.o. Mask", "PC Macro"]
    counts = np.random.default_rng(0).multinomial(8, [1 / 8] * 8, size=1000)
    drawn = []
    for count in counts:
        at = np.repeat(np.arange(8), count)
        one, two = (
            f1_score(hot["gold"][at], hot[name][at], labels=kept, average="macro", zero_division=0)
            for name in predicted
        )
        drawn.append(two - one)
    assert float(record["low"]) == pytest.approx(np.quantile(drawn, 0.025))
    assert float(record["high"]) == pytest.approx(np.quantile(drawn, 0.975))


def test_other_gold_labels_give_no_p_value(sweep):
    other = [[1]] * len(GOLD)
    for number in ("002", "003"):
        run = sweep / "runs" / number / "version_0"
        for part in (run / "test_items").iterdir():
            part.unlink()
        (run / "test_items").rmdir()
        write_items(run, other, BETTER, weights=WEIGHTS)
    text, rows = made("bootstrap", sweep)
    assert block(rows, "T_gate = 0")["difference"][0] == "+0.0300"
    assert block(rows, "T_gate = 0")["p"] == ["-"] * 4
    assert "No interval and no p: the runs have no test items in common." in text


def test_what_a_rerun_finished_counts_not_what_failed_before(sweep):
    cell = sweep / "runs" / "005"  # beta 0.8, seed 1, failed
    (cell / "version_0").rename(cell / "version_1")
    write_run(cell, accuracy(0.81), seed=1)
    _, rows = made("bootstrap", sweep)
    assert block(rows, "T_gate = 0")["score"][1] == "0.8000 ± 0.0141"
    assert block(rows, "T_gate = 0")["seeds"][1] == "2"


def test_a_cell_that_failed_before_it_had_a_run_is_failed(sweep):
    cells = json.loads((sweep / "sweep.json").read_text())["cells"]
    number = next(n for n, c in enumerate(cells) if c["values"] == {BETA: 0.9, GATE: 0.2})
    folder = sweep / "runs" / f"{number:03d}"
    folder.mkdir(parents=True)
    (folder / "cell.json").write_text(json.dumps({"state": "failed", "error": "no such file"}))
    _, rows = made("bootstrap", sweep)
    assert block(rows, "T_gate = 1000")["score"] == ["failed", "not run", "not run", "not run"]


def test_another_row_can_be_compared_with(sweep):
    _, rows = made("bootstrap", sweep, "--against=β = 0.9")
    first = block(rows, "T_gate = 0")
    assert first["difference"] == ["-", "-0.0500", "-", "-"]
    assert first["paper (difference from without bootstrap)"][0] == "+0.0148"
    assert not any(row[0].startswith("without bootstrap") for row in rows)
