"""`hlm report RUNS` about training runs: from outside, and against slow versions."""

import json
import re
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pytest

from hierarchy_lm.reports.chart_lines import thin
from hierarchy_lm.reports.charts import axis
from hierarchy_lm.reports.report import _png_renderer
from hierarchy_lm.reports.runs_data import find_runs, tell_apart


@pytest.mark.parametrize("length", [1, 2, 39, 40, 41, 1000, 12345])
def test_thinned_curve_keeps_its_ends_and_the_extremes_of_every_stretch(length):
    values = np.random.default_rng(length).normal(size=length)
    kept = thin(values, 40)
    assert len(kept) <= 40
    assert (np.diff(kept) > 0).all()
    for index in (0, length - 1, int(values.argmin()), int(values.argmax())):
        assert index in kept
    # A spike anywhere is seen.
    for spike in range(0, length, max(1, length // 17)):
        spiked = values.copy()
        spiked[spike] = 99.0
        assert spike in thin(spiked, 40)


@pytest.mark.parametrize(
    "values", [[0.1, 0.73], [5.0, 5.0], [0.0], [1e-5, 3e-4], [-3, 12345678.0], [0.7999, 0.8001]]
)
def test_axis_has_distinct_round_ticks_around_the_values(values):
    found = axis(values, 0, 100)
    assert found.low <= min(values) <= max(values) <= found.high
    assert (found.at(found.low), found.at(found.high)) == (0, 100)
    assert 2 <= len(found.ticks) <= 12
    labels = [found.label(tick) for tick in found.ticks]
    assert len(set(labels)) == len(labels)
    step = found.ticks[1] - found.ticks[0]
    assert f"{step:.0e}"[0] in "125"


def test_one_run_becomes_a_page_that_loads_nothing(tmp_path, run, curves, reported):
    folder = run("sst<b>/version_0", rows=curves(1000, 5.0), metrics={"val/micro_f1": 0.75})
    reported(folder, folder)
    html = (folder / "report.html").read_text(encoding="utf-8")
    found = re.findall(r"^## (.*)$", (folder / "report.md").read_text(), re.MULTILINE)
    assert found == ["Runs", "What this report cannot say", "Scores", "Training curves"]
    assert "sst&lt;b&gt;/version_0" in html
    assert "sst<b>" not in html
    assert not re.search(r"url\((?!#)|@import|fetch\(|(src|href)=\"(?!data:)", html)
    ids = re.findall(r' id="([^"]+)"', html)
    assert len(ids) == len(set(ids))
    assert "is cut into 199 pieces" in html
    assert len(html) < 100_000


def test_drawn_curve_has_the_values_of_the_file(run, tmp_path, reported):
    rows = [{"epoch": 0, "step": step, "train/loss": 4.0 - step / 100} for step in (0, 100, 200)]
    _, html = reported(tmp_path / "out", run("a/version_0", rows=rows))
    (path,) = re.findall(r'class="series c1 d0" d="M([^"]+L[^"]+)"', html)
    points = [tuple(map(float, point.split())) for point in path.split("L")]
    ticks = re.findall(r'<text class="end" x="[\d.]+" y="([\d.]+)">([\d.]+)<', html)
    place = {float(label): float(y) - 4 for y, label in ticks}
    assert [y for _, y in points] == pytest.approx([place[4.0], place[3.0], place[2.0]], abs=0.1)
    assert points[1][0] - points[0][0] == pytest.approx(points[2][0] - points[1][0], abs=0.2)


def test_comparison_shows_the_settings_that_differ_and_no_other(run, tmp_path, reported, cells):
    one = run("one/version_0", options={"lr": 0.1, "same": 3, "head": {"init_args": {"w": 1}}})
    two = run("two/version_0", options={"lr": 0.2, "same": 3, "head": {"init_args": {"w": 2}}})
    three = run("three/version_0", options={"lr": 0.1, "same": 3, "extra": None}, seed=7)
    parts, _ = reported(tmp_path / "out", one, two, three)
    assert cells(parts["Differences of configuration"]) == {
        "setting": ["one", "two", "three"],
        "---": ["---", "---", "---"],
        "seed\\_everything": ["0", "0", "7"],
        "model.lr": ["0.1", "0.2", "0.1"],
        "model.head.w": ["1", "2", "–"],
        "model.extra": ["–", "–", "null"],
    }


def test_equal_configurations_are_said_to_be_so(run, tmp_path, reported):
    folders = [run("one/version_0"), run("two/version_0")]
    parts, _ = reported(tmp_path / "out", *folders)
    assert "No setting differs" in parts["Differences of configuration"]


def test_runs_older_than_run_json_are_read_from_what_there_is(run, tmp_path, reported, cells):
    rows = [{"epoch": 0, "step": 9, "val/micro_f1": 0.25}]
    logged = run("logged/version_0", record=False, rows=rows)
    told = run("told/version_0", record=False, rows=rows)
    (told / "fit.json").write_text(json.dumps({"val/micro_f1": 0.5}))
    (told / "test.json").write_text(json.dumps({"test/micro_f1": 0.75, "test/loss": float("nan")}))
    parts, _ = reported(tmp_path / "out", logged, told)
    assert cells(parts["Scores"]) == {
        "metric": ["logged", "told"],
        "---": ["---:", "---:"],
        "test/micro\\_f1": ["–", "0.7500"],
        "val/micro\\_f1": ["0.2500", "0.5000"],
    }
    assert "older than it: logged, told." in parts["What this report cannot say"]
    assert "the last logged ones stand in: logged." in parts["What this report cannot say"]


def test_a_line_that_is_still_being_written_is_left_out(run, tmp_path, reported, cells):
    folder = run("a/version_0", record=False, rows=[{"step": 9, "val/micro_f1": 0.25}])
    with (folder / "metrics.csv").open("a") as file:
        file.write("19,0.8")  # of 0.8125
    parts, _ = reported(tmp_path / "out", folder)
    assert cells(parts["Scores"])["val/micro\\_f1"] == ["0.2500"]


def test_runs_that_did_not_finish_are_named(run, tmp_path, reported):
    folders = [
        run("bad/version_0", state="failed", error="out of <memory>"),
        run("killed/version_0", state="running"),
        run("stopped/version_0", state="interrupted"),
    ]
    rows = [{"step": 1, "train/loss": "nan"}, {"step": 2, "train/loss": "inf"}]
    folders.append(run("odd/version_0", rows=[*rows, {"step": 3, "train/loss": 1.0}]))
    parts, html = reported(tmp_path / "out", *folders)
    said = parts["What this report cannot say"]
    assert "Failed: bad." in said
    assert "Still running, or killed: killed." in said
    assert "Interrupted: stopped." in said
    assert "infinite or no number: 2." in said
    assert "No metrics.csv, so no curves (another logger?): bad, killed, stopped." in said
    assert "out of &lt;memory&gt;" in html


def test_levels_are_of_the_test_split_only_if_all_runs_have_it(run, tmp_path, reported, cells):
    def scores(split, values):
        return {f"{split}/micro_f1_L{n}": value for n, value in enumerate(values, start=1)}

    both = run("both/version_0", metrics={**scores("test", [0.5, 0.25]), **scores("val", [1, 0])})
    test = run("test/version_0", metrics=scores("test", [0.75, 0.125]))
    val = run("val/version_0", metrics=scores("val", [0.375, 0.625]))
    parts, html = reported(tmp_path / "a", both, test)
    assert cells(parts["F1 by level"])["both"] == ["0.5000", "0.2500"]
    assert cells(parts["F1 by level"])["test"] == ["0.7500", "0.1250"]
    widths = [float(w) for w in re.findall(r'<rect class="area c\d d0" .*?width="([\d.]+)"', html)]
    full = widths[0] / 0.5
    assert widths[:4] == pytest.approx([full * f1 for f1 in (0.5, 0.75, 0.25, 0.125)], abs=0.2)
    parts, _ = reported(tmp_path / "b", both, test, val)
    assert cells(parts["F1 by level"])["val"] == ["0.3750", "0.6250"]
    assert "test split only: test." in parts["F1 by level"]
    assert "test" not in cells(parts["F1 by level"])


def test_runs_below_a_folder_are_found_and_told_apart(run, tmp_path):
    for name in ("x/a/version_2", "x/a/version_10", "x/b/version_2"):
        run(name)
    stray = tmp_path / "x" / "wandb" / "files"
    stray.mkdir(parents=True)
    (stray / "config.yaml").write_text("lr: 1")
    assert [one.label for one in find_runs([tmp_path / "x"])] == [
        "a/version_2",
        "a/version_10",
        "b/version_2",
    ]
    twice = find_runs([tmp_path / "x", tmp_path / "x" / "a" / "version_2"])
    assert len(twice) == 3


def test_names_lose_what_all_paths_share(tmp_path):
    paths = [tmp_path / name for name in ("sst/runs/version_0", "mlm/runs/version_0")]
    assert tell_apart(paths) == ["sst", "mlm"]
    assert tell_apart([tmp_path / "r", tmp_path / "r" / "deep"]) == ["r", "r/deep"]
    assert tell_apart([tmp_path / "runs" / "version_3"]) == ["runs/version_3"]


def test_a_hundred_runs_make_a_page_of_moderate_size(run, tmp_path, curves, reported):
    for number in range(100):
        levels = {f"val/micro_f1_L{level}": number / 100 for level in range(1, 7)}
        run(f"many/{number}/version_0", rows=curves(300, 5.0), metrics=levels, seed=number)
    _, html = reported(tmp_path / "out", tmp_path / "many")
    assert len(html) < 1_000_000
    assert "76 others" in html
    assert html.count('<path class="series rest" d="M0 5H28"/>') == 1  # one legend for all charts


def test_charts_become_files_of_their_own(run, tmp_path, curves, capsys, reported):
    folder = run("a&b/version_0", rows=curves(50, 5.0), metrics={"val/micro_f1_L1": 0.5})
    plots = tmp_path / "plots"
    reported(tmp_path / "out", folder, "--plots", plots, "--png", "true")
    assert "5 charts as SVG and PNG" in capsys.readouterr().out
    files = sorted(file.name for file in plots.iterdir())
    assert "levels-chart.svg" in files
    assert "training-curves-train-loss.png" in files
    assert len(files) == 10
    for file in plots.glob("*.svg"):
        text = file.read_text(encoding="utf-8")
        root = ET.fromstring(text)
        assert root.attrib["width"].isdigit()
        assert "var(" not in text
        assert not re.search(r"https?://(?!www\.w3\.org)|url\((?!#)|@", text)
    for file in plots.glob("*.png"):
        content = file.read_bytes()
        assert content[:8] == b"\x89PNG\r\n\x1a\n"
        assert int.from_bytes(content[16:20], "big") == 3 * 420


@pytest.mark.skipif(
    not Path("/usr/share/fonts/truetype/dejavu/DejaVuSans.ttf").is_file(), reason="needs DejaVu"
)
def test_a_png_has_words_where_there_is_no_arial(run, tmp_path, reported):
    folder = run("a/version_0", metrics={"val/micro_f1_L1": 0.5})
    plots = tmp_path / "plots"
    reported(tmp_path / "out", folder, "--plots", plots, "--png", "true")
    svg = (plots / "levels-chart.svg").read_text(encoding="utf-8")
    wordless = _png_renderer()(re.sub("<text.*?</text>", "", svg, flags=re.DOTALL))
    assert len((plots / "levels-chart.png").read_bytes()) > 2 * len(wordless)


def test_png_without_its_extra_is_refused_before_anything_is_written(
    run, tmp_path, monkeypatch, refused
):
    monkeypatch.setitem(__import__("sys").modules, "resvg_py", None)
    out = tmp_path / "out"
    command = (run("a/version_0"), "--output", out, "--plots", tmp_path / "p", "--png", "true")
    assert "hierarchy-lm[plots]" in refused(*command)
    assert not out.exists()


def test_folders_that_do_not_go_together_are_refused(run, tmp_path, refused):
    folder = run("a/version_0")
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "cascade.json").write_text("{}")
    assert "give it alone" in refused(folder, tmp_path / "c")
    assert "take --baseline" in refused(folder, "--baseline", tmp_path / "c")
    assert "take --metric" in refused(folder, "--metric", "val/loss")
    assert "--png needs --plots" in refused(folder, "--png")
    assert "no cascade, run or sweep" in refused(tmp_path / "c" / "nothing")


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("run.json", "{"),
        ("run.json", "[]"),
        ("run.json", '{"metrics": 3}'),
        ("metrics.csv", "epoch,step,train/loss\n0,x,1\n"),
        ("metrics.csv", "loss\n1\n"),
        ("test_items/part-00000.parquet", "no parquet"),
    ],
)
def test_damaged_files_of_a_run_are_named(run, dataset, file, content, refused):
    rows = [{"step": 1, "train/loss": 1.0}]
    folder = run(
        "a/version_0", dataset=dataset, items=[("a", [0], [0])], levels="[0,2,6]", rows=rows
    )
    (folder / file).write_text(content)
    assert str(folder / file).rpartition("/part")[0] in refused(folder)
