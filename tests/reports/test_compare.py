import json

import pytest
import yaml

from hierarchy_lm.cli import main
from hierarchy_lm.reports.compare import NO_NAME, find_results, table_rows
from hierarchy_lm.reports.texts import short_ends


def write_run(folder, task, backbone, seed, micro, macro, dataset="sample", content="1f"):
    folder.mkdir(parents=True)
    config = {
        "seed_everything": seed,
        "data": {"init_args": {"task": task}},
        "model": {"init_args": {"backbone": backbone}},
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    scores = {"test/micro_f1": micro, "test/macro_f1": macro, "test/macro_f1_supported": macro}
    (folder / "test.json").write_text(json.dumps(scores))
    record = {
        "state": "finished",
        "started": "",
        "dataset": {"path": dataset, "fingerprint": content},
    }
    (folder / "run.json").write_text(json.dumps(record))


@pytest.fixture
def runs(tmp_path):
    scratch = {"name": "mini", "pretrained": "auto"}
    tuned = {"name": "mini", "pretrained": "somewhere/sst-encoder"}
    write_run(tmp_path / "a" / "pc-0", "pc", scratch, 0, 0.50, 0.20)
    write_run(tmp_path / "a" / "pc-1", "pc", scratch, 1, 0.54, 0.20)
    write_run(tmp_path / "b" / "pc-0", "pc", tuned, 0, 0.60, 0.30)
    write_run(tmp_path / "b" / "qp-0", "qp", tuned, 0, 0.70, 0.40)
    return tmp_path


def test_seeds_of_a_task_and_encoder_share_a_cell(runs):
    results = find_results(runs / "a") + find_results(runs / "b")
    rows = table_rows(results, ["mini", "somewhere/sst-encoder"])
    cells = {(row.task, row.metric): row.cells for row in rows}
    assert cells["pc", "micro F1"] == [[0.50, 0.54], [0.60]]
    assert cells["qp", "micro F1"] == [None, [0.70]]


def test_markdown_has_mean_deviation_and_gain(runs, capsys):
    table = runs / "table.md"
    assert main(["compare", str(runs / "a"), str(runs / "b"), "--output", str(table)]) == 0
    lines = table.read_text().splitlines()
    assert lines[0] == "| task | metric | mini | sst-encoder | gain of sst-encoder |"
    # mean 52, sample deviation of 50 and 54 is 2.83
    assert lines[2] == "| pc | micro F1 | 52.0 ± 2.8 (2 seeds) | 60.0 | +8.0 |"
    assert "| qp | micro F1 | - | 70.0 | - |" in lines
    assert "micro F1" in capsys.readouterr().out


def test_the_same_task_of_another_dataset_is_another_row(tmp_path):
    mini, tuned = ({"name": "mini", "pretrained": weights} for weights in ("none", "sst"))
    write_run(tmp_path / "plain", "pc", mini, 0, 0.4, 0.2, "data/shop")
    write_run(tmp_path / "other", "pc", tuned, 0, 0.9, 0.8, "data/new/shop", "2e")
    write_run(tmp_path / "tuned", "pc", tuned, 0, 0.5, 0.3, "/srv/data/shop")
    table = tmp_path / "table.md"
    folders = [str(tmp_path / name) for name in ("plain", "other", "tuned")]
    assert main(["compare", *folders, "--output", str(table)]) == 0
    lines = table.read_text().splitlines()
    assert "| shop (1f): pc | micro F1 | 40.0 | 50.0 | +10.0 |" in lines
    assert "| shop (2e): pc | micro F1 | - | 90.0 | - |" in lines


def test_encoders_of_other_runs_are_told_apart(tmp_path):
    """An `init_from` goes before the YAML's own weights."""
    for name, micro in (("mlm", 0.5), ("sst", 0.6)):
        backbone = {"name": "mini", "pretrained": "none", "init_from": f"runs/{name}/version_0"}
        write_run(tmp_path / name, "pc", backbone, 0, micro, 0.2)
    write_run(tmp_path / "plain", "pc", {"name": "mini", "pretrained": "none"}, 0, 0.4, 0.2)
    table = tmp_path / "table.md"
    folders = [str(tmp_path / name) for name in ("plain", "mlm", "sst")]
    assert main(["compare", *folders, "--output", str(table)]) == 0
    head, _, micro, *_ = table.read_text().splitlines()
    assert head.startswith("| task | metric | mini from scratch | mlm/version_0 | sst/version_0 |")
    assert micro == "| pc | micro F1 | 40.0 | 50.0 | 60.0 | +10.0 | +20.0 |"


@pytest.mark.parametrize(
    ("encoders", "names"),
    [
        (["a/sst/version_0", "b/sst/version_0"], ["a/sst/version_0", "b/sst/version_0"]),
        (["x/a/sst/version_0", "x/b/sst/version_1"], ["sst/version_0", "sst/version_1"]),
        (["runs/encoders/mlm-1f/encoder", "minilm"], ["mlm-1f/encoder", "minilm"]),
        (["runs/sst/version_0/checkpoints/best.ckpt"], ["sst/version_0/checkpoints/best.ckpt"]),
        (["version_0"], ["version_0"]),
    ],
)
def test_a_path_is_named_by_as_few_parts_as_tell_it_apart(encoders, names):
    assert short_ends(encoders, "/", NO_NAME) == names


def test_folder_without_a_tested_run(tmp_path, capsys):
    assert main(["compare", str(tmp_path)]) == 2
    assert "no tested run" in capsys.readouterr().err
