"""`hlm report` about a sweep folder, from outside."""

import json
import re
import shutil
from statistics import mean, stdev

import pytest

from hierarchy_lm.cli import main

BETA, GATE = "model.loss.bootstrap.beta", "model.loss.bootstrap.t_gate"


def score(value, **others):
    return {"test/micro_f1": value, "val/loss": 1 - value, **others}


@pytest.fixture
def grid(sweep):
    """Two by two with two seeds: one cell whole, one with a failure, one failed, one missing."""
    plan = [
        ((0.9, 0), 0, score(0.80)),
        ((0.9, 0), 1, score(0.84)),
        ((0.9, 10), 0, score(0.70)),
        ((0.9, 10), 1, "failed"),
        ((0.5, 0), 0, "failed"),
        ((0.5, 0), 1, "failed"),
        ((0.5, 10), 0, "waiting"),
        ((0.5, 10), 1, "waiting"),
    ]
    return sweep(
        {BETA: [0.9, 0.5], GATE: [0, 10]},
        plan,
        baseline=[(0, score(0.6)), (1, score(0.5))],
        metric={"name": "test/micro_f1", "goal": "maximize"},
    )


def test_grid_has_means_deviations_and_numbers_of_seeds(grid, reported, cells, chart):
    parts, html = reported(grid, grid)
    table = cells(parts["The grid"])
    assert table["beta=0.9, t\\_gate=0"] == [
        f"{mean([0.8, 0.84]):.4f}",
        f"{stdev([0.8, 0.84]):.4f}",
        "0.8000",
        "0.8400",
        "2 of 2",
    ]
    assert table["beta=0.9, t\\_gate=10"] == ["0.7000", "–", "0.7000", "0.7000", "1 of 2"]
    assert table["beta=0.5, t\\_gate=0"] == ["–", "–", "–", "–", "0 of 2"]
    assert table["baseline"][:2] == ["0.5500", f"{stdev([0.6, 0.5]):.4f}"]
    drawn = chart(html, "grid-test-micro-f1")
    assert "<title>beta 0.9, t_gate 0: 0.8200 ± 0.0283 (2 seeds)</title>" in drawn
    assert "<title>beta 0.9, t_gate 10: 0.7000 (1 seed, 1 failed)</title>" in drawn
    assert "<title>baseline: 0.5500 ± 0.0707 (2 seeds)</title>" in drawn


def test_failed_and_missing_cells_are_hatched_and_named(grid, reported, cells, chart):
    parts, html = reported(grid, grid)
    drawn = chart(html, "grid-test-micro-f1")
    hatched = [g for g in re.findall(r"<g>.*?</g>", drawn) if "url(#grid-test-micro-f1-hatch)" in g]
    titles = [re.findall(r"<title>(.*?)</title>", group)[0] for group in hatched]
    assert titles == [
        "beta 0.5, t_gate 0: no score (2 failed)",
        "beta 0.5, t_gate 10: no score (2 missing)",
        "beta 0.9, t_gate 10: 0.7000 (1 seed, 1 failed)",
    ]
    assert [re.findall(r">(failed|missing|1 of 2)<", group) for group in hatched] == [
        ["failed"],
        ["missing"],
        ["1 of 2"],
    ]
    bad = cells(parts["The sweep"])
    assert bad["beta=0.9, t\\_gate=10, seed 1"][0] == "failed"
    assert bad["beta=0.5, t\\_gate=10, seed 0"] == ["missing", "–"]
    assert "loss is &lt;nan&gt; &amp; void" in html
    assert "10 runs, 5 of them finished" in parts["The sweep"]


@pytest.mark.parametrize(("goal", "best"), [("maximize", "0.8200"), ("minimize", "0.7000")])
def test_best_mean_is_framed_by_the_goal(grid, goal, best, reported, chart):
    (grid / "sweep.yaml").write_text(f"metric: {{name: test/micro_f1, goal: {goal}}}")
    _, html = reported(grid, grid)
    groups = re.findall(r"<g>.*?</g>", chart(html, "grid-test-micro-f1"))
    framed = [group for group in groups if 'class="best"' in group]
    assert len(framed) == 1
    assert f">{best}<" in framed[0]


def test_metric_of_the_sweep_file_or_of_the_command_is_shown(grid, capsys, reported, cells):
    (grid / "sweep.yaml").write_text("metric: {name: val/loss, goal: minimize}")
    parts, _ = reported(grid, grid)
    assert cells(parts["The grid"])["beta=0.9, t\\_gate=0"][0] == "0.1800"
    assert "less is better" in parts["The grid"]
    parts, _ = reported(grid, grid, "--metric", "test/micro_f1")
    assert cells(parts["The grid"])["beta=0.9, t\\_gate=0"][0] == "0.8200"
    assert "more is better" in parts["The grid"]
    assert main(["report", str(grid), "--metric", "test/beauty"]) == 2
    assert "test/micro_f1, val/loss" in capsys.readouterr().err


def test_one_parameter_becomes_dots_with_the_deviation(sweep, reported, cells, chart):
    plan = [((f"experiments/{name}.yaml",), seed, score(value)) for name, seed, value in [
        ("warm", 0, 0.5), ("warm", 1, 0.7), ("cold", 0, 0.6)]]  # fmt: skip
    folder = sweep({"config": ["experiments/warm.yaml", "experiments/cold.yaml"]}, plan)
    parts, html = reported(folder, folder)
    drawn = chart(html, "dots-config")
    ticks = re.findall(r'<text x="([\d.]+)" y="[\d.]+">(0\.\d+)<', drawn)
    place = {float(label): float(x) for x, label in ticks}
    assert len(re.findall("<circle", drawn)) == 3
    xs = sorted(float(x) for x in re.findall(r'<circle [^>]*cx="([\d.]+)"', drawn))
    assert xs == pytest.approx([place[0.5], place[0.6], place[0.7]], abs=0.1)
    assert "0.6000 ± 0.1414 (2 seeds)" in drawn
    assert cells(parts["The grid"])["config=warm"][0] == "0.6000"


def test_a_third_parameter_becomes_maps_of_its_own(sweep, tmp_path, reported, chart):
    values = [(a, b, c) for a in (1, 2, 3) for b in ("x", "y", "z") for c in (True, False)]
    plan = [(one, 0, score(0.1 + 0.01 * place)) for place, one in enumerate(values)]
    _, html = reported(
        tmp_path / "out", sweep({"a": [1, 2, 3], "b": ["x", "y", "z"], "c": [True, False]}, plan)
    )
    for name, at in (("true", 0), ("false", 1)):
        drawn = chart(html, f"grid-test-micro-f1-c-{name}")
        assert drawn.count("<g><title>a ") + drawn.count("<g><title>b ") == 9
        assert f">{0.1 + 0.01 * at:.4f}<" in drawn


def test_a_random_search_becomes_dots_for_each_parameter(sweep, tmp_path, reported, chart):
    plan = [((0.1 * n, 10 - n), 0, score(0.1 * n)) for n in range(1, 8)]
    parameters = {"lr": [v[0] for v, _, _ in plan], "width": [v[1] for v, _, _ in plan]}
    _, html = reported(tmp_path / "out", sweep(parameters, plan))
    for name in ("lr", "width"):
        assert chart(html, f"dots-{name}").count("<circle") == 7
    rows = re.findall(r'class="start ink halo"[^>]*>([^<]+)<', chart(html, "dots-width"))
    assert rows == ["3", "4", "5", "6", "7", "8", "9"]


def test_equal_last_names_of_parameters_keep_what_tells_them_apart(
    sweep, tmp_path, reported, cells
):
    parameters = {"model.head.lr": [1, 2], "model.body.lr": [3, 4]}
    plan = [((a, b), 0, score(0.5)) for a in (1, 2) for b in (3, 4)]
    parts, _ = reported(tmp_path / "out", sweep(parameters, plan))
    assert "head.lr=1, body.lr=3" in cells(parts["The grid"])


def test_a_sweep_without_a_finished_run_has_a_page(sweep, tmp_path, reported, cells):
    parts, _ = reported(
        tmp_path / "out", sweep({"lr": [1, 2]}, [((1,), 0, "failed"), ((2,), 0, "waiting")])
    )
    assert list(parts) == ["The sweep"]
    assert cells(parts["The sweep"])["lr=2, seed 0"] == ["missing", "–"]


def test_seeds_share_a_colour_and_the_runs_have_their_sections(
    sweep, tmp_path, curves, reported, cells, chart
):
    plan = [((lr,), seed, score(0.5)) for lr in (0.1, 0.2) for seed in (0, 1, 2)]
    parts, html = reported(
        tmp_path / "out", sweep({"model.lr": [0.1, 0.2]}, plan, rows=curves(30, 4.0))
    )
    assert list(parts)[:3] == ["The sweep", "The grid", "Runs"]
    drawn = chart(html, "training-curves-train-loss")
    assert [drawn.count(f'class="series c{n} d0"') for n in (1, 2, 3)] == [3, 3, 0]
    assert cells(parts["Differences of configuration"])["lr=0.2, seed 2"] == ["2", "0.2"]


def test_a_moved_sweep_has_the_same_page(grid, tmp_path, reported):
    _, before = reported(grid, grid)
    moved = tmp_path / "elsewhere" / "moved"
    shutil.move(grid, moved)
    _, after = reported(moved, moved)
    assert after == before


def test_the_newest_finished_run_of_a_cell_counts(sweep, run, reported, cells):
    folder = sweep({"lr": [1]}, [((1,), 0, score(0.5))])
    run("sweep/runs/000/version_1", metrics=score(0.9))
    run("sweep/runs/000/version_2", state="failed", metrics=score(0.1))
    parts, _ = reported(folder, folder)
    assert cells(parts["The grid"])["lr=1"][0] == "0.9000"


@pytest.mark.parametrize(
    "content", ["{", "[]", "{}", '{"name": "x", "parameters": {}, "cells": 3}']
)
def test_a_damaged_sweep_is_named(sweep, capsys, content):
    folder = sweep({"lr": [1]}, [((1,), 0, score(0.5))])
    (folder / "sweep.json").write_text(content)
    assert main(["report", str(folder)]) == 2
    message = capsys.readouterr().err
    assert "sweep.json" in message
    assert message.count("\n") == 1


@pytest.mark.parametrize("file", ["cell.json", "version_0/run.json"])
def test_a_damaged_cell_is_named(sweep, refused, file):
    folder = sweep({"lr": [1]}, [((1,), 0, score(0.5))])
    (folder / "runs" / "000" / file).write_text("{")
    assert "runs/000: cell.json or a run.json is damaged" in refused(folder)


def test_a_sweep_and_a_run_are_not_reported_together(sweep, run, capsys):
    folder = sweep({"lr": [1]}, [((1,), 0, score(0.5))])
    assert main(["report", str(folder), str(run("a/version_0"))]) == 2
    assert "give it alone" in capsys.readouterr().err


def test_values_of_the_sweep_are_no_markup(sweep, reported):
    folder = sweep({"<b>": ["<i>", "x & y"]}, [((v,), 0, score(0.5)) for v in ("<i>", "x & y")])
    content = json.loads((folder / "sweep.json").read_text())
    (folder / "sweep.json").write_text(json.dumps({**content, "name": "<u>"}))
    _, html = reported(folder, folder)
    assert "&lt;i&gt;" in html
    assert "<i>" not in html
    assert "<u>" not in html
