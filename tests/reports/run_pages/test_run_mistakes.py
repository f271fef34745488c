"""Sections on what tested runs got wrong: against a slow search, and through `hlm report`."""

import numpy as np
import pyarrow as pa
import pytest

from hierarchy_lm.reports.runs_items import NodeItems, recall_by_department, sibling_pairs


def test_sibling_pairs_agree_with_a_slow_search(tree):
    rng = np.random.default_rng(0)
    gold = [
        sorted(rng.choice(tree.num_nodes, rng.integers(0, 4), replace=False)) for _ in range(200)
    ]
    told = [
        sorted(rng.choice(tree.num_nodes, rng.integers(0, 4), replace=False)) for _ in range(200)
    ]
    slow = {}
    for row, (own, predicted) in enumerate(zip(gold, told, strict=True)):
        for missed in set(own) - set(predicted):
            for wrong in set(predicted) - set(own):
                if tree.parents[missed] == tree.parents[wrong]:
                    slow.setdefault((int(missed), int(wrong)), []).append(row)

    def pairs(lists):
        found = [(row, node) for row, nodes in enumerate(lists) for node in nodes]
        return np.array(found).T

    items = NodeItems(
        tree, pa.array([f"i{row:03}" for row in range(200)]), pairs(gold), pairs(told)
    )
    found, total = sibling_pairs(items, 1000)
    assert total == len(slow) == 6
    assert {(one.gold, one.predicted): one.items for one in found} == {
        pair: len(rows) for pair, rows in slow.items()
    }
    for one in found:
        assert one.labelled == sum(one.gold in own for own in gold)
        rows = slow[one.gold, one.predicted]
        assert set(one.examples) <= {f"i{row:03}" for row in rows}
    assert [one.items for one in found] == sorted((one.items for one in found), reverse=True)
    counts, recall = recall_by_department(items)
    for node in counts:
        having = [row for row, own in enumerate(gold) if node in own]
        assert counts[node] == len(having)
        assert recall[node] == pytest.approx(np.mean([node in told[row] for row in having]))


GARDEN, TOYS, HOSES, POTS, BALLS, DOLLS = range(6)


def test_mistakes_of_hierarchy_runs_are_pairs_of_siblings(run, tmp_path, dataset, reported, cells):
    items = [
        ("a", [GARDEN, HOSES], [GARDEN, POTS]),
        ("b", [GARDEN, HOSES], [GARDEN, POTS]),
        ("c", [TOYS, DOLLS], [TOYS, DOLLS]),
        ("d", [TOYS, BALLS], [GARDEN, HOSES]),  # the leaves have different parents
    ]
    folder = run("s/version_0", dataset=dataset, items=items, levels="[0,2,6]")
    parts, _ = reported(tmp_path / "out", folder)
    found = cells(parts["Confused siblings"])
    assert found["Garden"] == ["Hoses", "Pots", "2", "2", "a<br>b"]
    assert found["–"][:4] == ["Toys", "Garden", "1", "2"]
    assert "Departments" not in parts
    assert "Mistakes" not in parts["What this report cannot say"]


def test_mistakes_of_department_runs_come_with_their_recall(
    run, tmp_path, dataset, department, reported, cells
):
    items = [("a", [0], [0]), ("b", [0], [1]), ("c", [0], [0]), ("d", [1], [1])]
    folder = run("d/version_0", model=department, dataset=dataset, items=items)
    parts, html = reported(tmp_path / "out", folder)
    assert cells(parts["Departments"])["Garden"] == ["3", "0.6667"]
    assert cells(parts["Departments"])["Toys"] == ["1", "1.0000"]
    assert cells(parts["Confused siblings"])["–"][:4] == ["Garden", "Toys", "1", "3"]
    assert 'id="departments-chart"' in html


def test_mistakes_of_leaf_runs_are_of_the_departments_leaves(
    run, tmp_path, dataset, leaf, reported, cells
):
    items = [("a", [0], [1]), ("b", [1], [1])]  # the department's own numbers
    place = {"department": "Toys"}
    folder = run("l/version_0", model=leaf, dataset=dataset, items=items, data=place)
    parts, _ = reported(tmp_path / "out", folder)
    assert cells(parts["Confused siblings"])["Toys"][:2] == ["Balls", "Dolls"]


def test_why_mistakes_are_not_shown_is_said(run, tmp_path, dataset, reported):
    items = [("a", [0], [1])]
    gone = run("gone/version_0", dataset=tmp_path / "away", items=items)
    task = run("task/version_0", model="x.DownstreamFinetuner", dataset=dataset, items=items)
    parts, _ = reported(tmp_path / "out", gone, task, run("none/version_0"))
    said = parts["What this report cannot say"]
    assert "Mistakes of gone are not shown:" in said
    assert "is gone" in said
    assert "Mistakes of task are not shown: its labels are no nodes of the tree." in said
    assert "Mistakes of none are not shown: no test\\_items" in said
