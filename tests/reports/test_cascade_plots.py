"""The charts of a cascade's report as files of their own."""

import re

import numpy as np

from hierarchy_lm.cli import main


def test_charts_of_a_cascade_become_files(cascades, tmp_path, shop, read_rows):
    own, baseline = cascades
    plots = tmp_path / "plots"
    command = ["report", str(own), "--baseline", str(baseline), "--plots", str(plots)]
    assert main(command) == 0
    charts = {file.stem: file.read_text(encoding="utf-8") for file in plots.iterdir()}
    assert set(charts) == {"curve-chart", "departments-chart", "reliability-chart"}
    assert 'id="marker' not in charts["curve-chart"]
    assert ">calibrated threshold<" in charts["curve-chart"]
    told = dict(re.findall(r"<title>(\w+, \w+): ([\d.]+)</title>", charts["departments-chart"]))
    for folder, name in ((own, "dhpc"), (baseline, "dnn")):
        rows = read_rows(folder / "evaluation" / "test")
        for department in ("Garden", "Toys", "Pets"):
            paths = [shop.tree.paths[node] for node in rows["gold"]]
            among = np.array([path.startswith(department) for path in paths])
            right = rows["leaf"][among] == rows["gold"][among]
            accuracy = np.average(right, weights=rows["weight"][among])
            assert told[f"{department}, {name}"] == f"{accuracy:.4f}"
