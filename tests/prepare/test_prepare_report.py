"""The report's figures, counted by hand."""

import pytest

from data_modules.prepare.figures import LevelFigures

HEADER = "id,t,d,b,a1,a2,s"
ROWS = [
    "1,red shirt,,x|y,Clothes,Shirts,train",  # 9 characters and "x y": 12
    "2,red shirt,,x|y,Clothes,Shirts,train",  # copy of 1, same node
    "3,red shirt,,x|y,Clothes,Hats,validation",  # copy of 1 in validation, another node
    "4,blue hat,warm,,Clothes,Hats,train",  # 12
    "5,blue hat,warm,,Clothes,Hats,test",  # copy of 4 in test, same node
    "6,,,,Toys,,test",  # no text
    "7,,,,,,test",  # no text, no node; no copy of 6, since there is nothing to copy
    "8,lamp,,,Home,Lamps,validation",
    "9,lamp,,,Home,Lamps,test",  # copy of 8: test in validation
]


@pytest.fixture
def made(tmp_path, prepare):
    (tmp_path / "p.csv").write_text("\n".join([HEADER, *ROWS]))
    return prepare(
        {
            "products": {
                "input": {"files": "p.csv"}, "item_id": "id", "title": "t", "description": "d",
                "bullet_points": "b", "bullet_separator": "|",
                "paths": [{"columns": ["a1", "a2"]}], "split": {"column": "s"},
            },
            "tasks": {"kind": {"label": "a1"}},
        }
    )  # fmt: skip


@pytest.fixture
def report(made):
    return made.report


def test_splits(report):
    # split, rows, no title, no description, no bullets, no text, median, 95 %, longest
    assert "| train | 3 | 0 | 2 | 1 | 0 | 12 | 12 | 12 |" in report
    # Lengths 12 and 4: median 8, 95 % point 4 + 0.95 * 8 = 11.6
    assert "| validation | 2 | 0 | 2 | 1 | 0 | 8 | 11 | 12 |" in report
    # Lengths 0 0 4 12: median 2, 95 % point at rank 2.85 = 4 + 0.85 * 8 = 10.8
    assert "| test | 4 | 2 | 3 | 4 | 2 | 2 | 10 | 12 |" in report


def test_copies(report):
    assert "texts that stand in more than one row: 3" in report
    assert (
        "in the training rows too: 1 of validation, 1 of test; of test in validation: 1" in report
    )
    assert "equal texts with different nodes: 1 (3 rows)" in report


def test_tree(report):
    # level, nodes, items, without items, without training items, 1 to 5 items, top 10 %
    # Level 1: Clothes 5, Toys 1, Home 2. Level 2: Shirts 2, Hats 3, Lamps 2.
    assert "| 1 | 3 | 8 | 0 | 2 | 3 | 62.5% |" in report
    assert "| 2 | 3 | 7 | 0 | 1 | 3 | 42.9% |" in report
    assert "1 of 9 rows (11.1%) have none" in report


def test_task(report):
    assert "| kind | 3 | 8 | 0 | 2 | 3 | 62.5% |" in report
    assert "tasks.kind: rows left out for want of a label: 1" in report


def test_counts_and_fingerprint(made):
    info = made.info
    assert info.counts["nodes"] == 6
    assert info.counts["levels"] == 2
    assert [info.counts[split] for split in ("train", "validation", "test")] == [3, 2, 4]
    assert info.counts["tasks/kind/test"] == 3
    assert len(info.fingerprint) == 64


def test_the_head_of_a_level_is_its_top_tenth_rounded_up():
    import numpy as np

    from data_modules.prepare.figures import _level

    items = np.array([0, 1, 5, 6, 8, 1, 1, 1, 1, 1, 15])  # 11 nodes: the head is 2 of them
    train = np.array([0, 0, 5, 6, 8, 1, 1, 1, 1, 1, 15])
    assert _level(items, train, 40) == LevelFigures(
        nodes=11, items=40, empty=1, unseen=2, tail=7, head_share=23 / 40
    )
