"""`hlm report` from outside: its two files, its refusals, and the page in a browser."""

import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest

from hierarchy_lm.cli import main
from hierarchy_lm.hierarchy import Hierarchy


class Resources(HTMLParser):
    """Addresses that a page would load, its ids, and its open elements."""

    def __init__(self):
        super().__init__()
        self.addresses, self.ids, self.tags = [], [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.ids += [value for name, value in attrs if name == "id"]
        self.addresses += [value for name, value in attrs if name in ("src", "href", "action")]


def sections(markdown):
    return dict(re.findall(r"^## (.+?)\n(.*?)(?=^## |\Z)", markdown, re.MULTILINE | re.DOTALL))


def test_page_loads_nothing_from_anywhere(page):
    text = page.read_text(encoding="utf-8")
    parser = Resources()
    parser.feed(text)
    assert parser.addresses == ["data:,"]  # the icon that a browser would otherwise ask for
    assert "default-src 'none'" in text
    assert not re.search(r"url\(|@import|fetch\(|XMLHttpRequest", text)
    assert len(parser.ids) == len(set(parser.ids))
    assert len(text) < 500_000


def test_texts_of_the_catalogue_are_no_markup(page):
    text = page.read_text(encoding="utf-8")
    assert "item&lt;" in text
    assert not re.search(r"item<\d", text)
    assert "A | title &amp; &lt;b&gt;" in text
    assert r"A \| title & \<b>" in page.with_name("report.md").read_text(encoding="utf-8")


def test_markdown_has_every_section_and_well_formed_tables(page):
    found = sections(page.with_name("report.md").read_text(encoding="utf-8"))
    assert list(found) == [
        "Headline figures",
        "What this report cannot say",
        "Accuracy against coverage",
        "Decisions",
        "Departments",
        "Which department to repair first",
        "Reliability of the confidence",
        "Confused siblings",
        "Labels to look at",
    ]
    for body in found.values():
        table = [line for line in body.splitlines() if line.startswith("|")]
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in table}) <= 1
    assert (
        "Departments without a labelled item in this split: Vouchers."
        in (found["What this report cannot say"])
    )
    assert "Garden (failed)." in found["What this report cannot say"]
    assert "| Garden |" in found["Which department to repair first"]
    assert "0.7000" in found["Which department to repair first"]  # its own threshold


def test_improvements_over_the_baseline_are_differences_of_accuracies(
    cascades, page, shop, read_rows
):
    own, baseline = cascades
    found = sections(page.with_name("report.md").read_text(encoding="utf-8"))
    table = [line.split(" | ") for line in found["Departments"].splitlines() if "| " in line]
    lines = {cells[0].removeprefix("| "): cells for cells in table}
    accuracies = []
    for folder in (own, baseline):
        one = read_rows(folder / "evaluation" / "test")
        pets = np.array([shop.tree.paths[node].startswith("Pets") for node in one["gold"]])
        right = [one["department"] == shop.tree.node_of("Pets"), one["leaf"] == one["gold"]]
        weight = one["weight"][pets]
        accuracies.append([np.average(flags[pets], weights=weight) for flags in right])
    (department, leaf), (old_department, old_leaf) = accuracies
    assert lines["Pets"][3:] == [
        f"{department:.4f}",
        f"{round(department - old_department, 4):+.4f}",
        f"{leaf:.4f}",
        f"{round(leaf - old_leaf, 4):+.4f} |",
    ]


def test_without_baseline_and_calibration_the_gaps_are_said(tmp_path, write_cascade, shop):
    items = shop.rows(30, 3, 1.0)
    items["gold"][0] = []
    items["gold"][1] = [shop.tree.node_of("Garden")]
    items["leaf"][2] = -1
    folder = write_cascade(tmp_path / "c", shop.tree, items)
    assert main(["report", str(folder)]) == 0
    gaps = sections((folder / "evaluation/test/report.md").read_text())[
        "What this report cannot say"
    ]
    assert "Not calibrated" in gaps
    assert "--baseline" in gaps
    assert "Items without a label, left out: 1." in gaps
    assert "Items whose label ends above the leaves, so that no leaf is right: 1." in gaps
    assert "Items that got no leaf, wrong and left to people at every threshold: 1." in gaps
    assert "Without titles" in (folder / "evaluation/test/report.md").read_text()


@pytest.mark.parametrize(
    ("calibration", "said"),
    [
        ({"target_accuracy": 0.99, "leaf_threshold": None}, "no threshold that can promise"),
        ({"target_accuracy": 0.99, "leaf_threshold": 1.0}, "accepts no item"),
    ],
)
def test_a_calibration_without_effect_is_said(tmp_path, write_cascade, calibration, said, shop):
    folder = write_cascade(
        tmp_path / "c", shop.tree, shop.rows(30, 3, 1.0), calibration=calibration
    )
    assert main(["report", str(folder)]) == 0
    for name in ("report.md", "report.html"):
        assert said in (folder / "evaluation/test" / name).read_text()


def test_a_cascade_without_any_leaf_still_has_a_report(tmp_path, write_cascade, shop):
    items = shop.rows(30, 3, 1.0)
    items["leaf"][:] = -1
    folder = write_cascade(tmp_path / "c", shop.tree, items, calibration=shop.calibration)
    assert main(["report", str(folder)]) == 0
    text = (folder / "evaluation/test/report.html").read_text()
    assert "Items that got no leaf, wrong and left to people at every threshold: 30." in text
    assert 'id="threshold"' not in text
    assert "nan" not in re.sub(r"<(style|script)\b.*?</\1>", "", text, flags=re.DOTALL).lower()


def test_page_stays_small_with_many_items_and_departments(tmp_path, write_cascade):
    tree = Hierarchy.from_paths(
        [(f"Department {number}", "leaf " + "x" * 200) for number in range(1000)]
    )
    n = 20_000
    rng = np.random.default_rng(0)
    gold, leaf = rng.integers(0, 1000, (2, n))
    items = {
        "item_id": [f"{number:0100d}" for number in range(n)],
        "weight": np.ones(n, dtype=np.float32),
        "gold": [[1000 + node] for node in gold.tolist()],
        "department": leaf.astype(np.int32),
        "leaf": (leaf + 1000).astype(np.int32),
        "p_department": np.ones(n, dtype=np.float32),
        "p_leaf": np.ones(n, dtype=np.float32),
        "confidence": rng.random(n).astype(np.float32),
        "decision": ["leaf"] * n,
    }
    folder = write_cascade(tmp_path / "c", tree, items)
    assert main(["report", str(folder)]) == 0
    page = folder / "evaluation/test/report.html"
    assert page.stat().st_size < 500_000
    assert "The first 200 of 1,000 departments." in page.read_text()


def refused(capsys, *command):
    assert main(["report", *map(str, command)]) == 2
    message = capsys.readouterr().err
    assert message.count("\n") == 1
    return message


def test_other_trees_items_and_labels_cannot_be_compared(
    cascades, tmp_path, write_cascade, capsys, shop
):
    own, _ = cascades
    items = shop.rows(800, 0, 0.3)
    other_tree = Hierarchy.from_paths(
        [path.replace("Toys", "Tays").split(" > ") for path in shop.tree.paths]
    )
    baseline = write_cascade(tmp_path / "tree", other_tree, items)
    assert "another tree" in refused(capsys, own, "--baseline", baseline)

    fewer = {name: values[:700] for name, values in items.items()}
    baseline = write_cascade(tmp_path / "fewer", shop.tree, fewer)
    message = refused(capsys, own, "--baseline", baseline)
    assert "700 of its 700 items are among the other's 800" in message

    baseline = write_cascade(tmp_path / "column", shop.tree, items, label_column="true_node_ids")
    assert "judged by 'true_node_ids'" in refused(capsys, own, "--baseline", baseline)

    labels = {**items, "gold": [[int(shop.leaves[0])]] * 800}
    baseline = write_cascade(tmp_path / "labels", shop.tree, labels)
    assert "other labels" in refused(capsys, own, "--baseline", baseline)


def test_folders_without_an_evaluation(cascades, tmp_path, capsys):
    own, baseline = cascades
    assert "no cascade, run or sweep there" in refused(capsys, tmp_path / "nothing")
    assert "run `hlm test` on the split 'validation'" in (
        refused(capsys, own, "--split", "validation")
    )
    (baseline / "evaluation/test/evaluation.json").unlink()
    assert f"{baseline}" in refused(capsys, own, "--baseline", baseline)
    for part in (own / "evaluation/test").glob("part-*"):
        part.unlink()
    assert "no part-*.parquet" in refused(capsys, own)


@pytest.mark.parametrize(
    ("column", "value", "said"),
    [
        ("item_id", "item<1>", "1 items are there twice"),
        ("weight", -1.0, "'weight' must be"),
        ("weight", float("nan"), "'weight' must be"),
        ("confidence", float("nan"), "'confidence' must lie"),
        ("leaf", 10_000, "column 'leaf' holds nodes"),
        ("gold", [-1], "column 'gold' holds nodes"),
        ("department", None, "column 'department' holds nulls"),
    ],
)
def test_broken_rows_are_refused(tmp_path, write_cascade, capsys, column, value, said, shop):
    items = shop.rows(20, 0, 1.0)
    items[column] = [value, *list(items[column])[1:]]
    folder = write_cascade(tmp_path / "c", shop.tree, items)
    assert said in refused(capsys, folder)


def test_an_evaluation_without_labels_is_refused(tmp_path, write_cascade, capsys, shop):
    items = {**shop.rows(20, 0, 1.0), "gold": [[]] * 20}
    assert "labelled split" in refused(capsys, write_cascade(tmp_path / "c", shop.tree, items))
    empty = {name: values[:0] for name, values in items.items()}
    assert "labelled split" in refused(capsys, write_cascade(tmp_path / "d", shop.tree, empty))


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("cascade.json", "{"),
        ("cascade.json", '{"schema_version": 1, "departments": [{"path": "x"}]}'),
        ("calibration.json", '{"leaf_threshold": "high"}'),
        ("calibration.json", '{"departments": {"0": {}}}'),
        ("calibration.json", '{"departments": 7}'),
        ("evaluation/test/evaluation.json", "[]"),
        ("evaluation/test/part-00000.parquet", "no parquet"),
    ],
)
def test_damaged_files_are_named(cascades, capsys, file, content):
    own, _ = cascades
    (own / file).write_text(content)
    assert str((own / file).parent) in refused(capsys, own)


def test_output_that_cannot_be_written(cascades, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert "cannot write there" in refused(capsys, cascades[0], "--output", tmp_path / "file")


def test_slider_data_is_valid_json_in_its_element(page):
    text = page.read_text(encoding="utf-8")
    (data,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', text)
    steps = json.loads(data)["steps"]
    assert len(steps) <= 500
    assert all(len(step) == 5 for step in steps)


def test_cascades_of_the_same_name_are_told_apart_by_their_parents(tmp_path, write_cascade, shop):
    items = shop.rows(30, 0, 1.0)
    one = write_cascade(tmp_path / "bert" / "cascade", shop.tree, items)
    two = write_cascade(tmp_path / "dnn" / "cascade", shop.tree, items)
    assert main(["report", str(one), "--baseline", str(two)]) == 0
    text = (one / "evaluation/test/report.md").read_text()
    assert "| figure | bert/cascade | dnn/cascade | difference |" in text
    assert "| leaf accuracy |" in text


def test_a_tree_that_is_not_the_cascades_is_refused(cascades, shop, capsys):
    Hierarchy.from_paths([("Other",)]).to_parquet(cascades[0] / "hierarchy.parquet")
    assert "another tree" in refused(capsys, cascades[0])
