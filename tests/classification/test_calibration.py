"""Temperatures and thresholds on answers that are made by hand, with known errors."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from hierarchy_lm.calibration import tuning_items
from hierarchy_lm.cascade_answers import SCHEMA
from hierarchy_lm.classification.calibration import (
    Promise,
    choose,
    fit_temperatures,
    read_answers,
    scale,
)
from hierarchy_lm.errors import UserError

from ..conftest import shop_tree


def write_answers(folder, rows):
    folder.mkdir(parents=True)
    pq.write_table(pa.Table.from_pylist(rows, SCHEMA), folder / "part-00000.parquet")
    return folder


def sigmoid(logits):
    return 1 / (1 + np.exp(-logits))


def made_up(count, seed=0):
    """Answers whose logits are three times too large, and that are right as often as they say."""
    random, tree = np.random.default_rng(seed), shop_tree()
    garden = tree.department("Home: Garden")
    first, second = tree.leaves_of(garden)[:2]
    other = int(tree.leaves_of(tree.department("123"))[0])
    rows = []
    for n in range(count):
        logits = random.normal(2, 1.5, 2)
        p_department, p_leaf = sigmoid(3 * logits)
        right = random.random(2) < sigmoid(logits)
        gold = other if not right[0] else int(first if right[1] else second)
        rows.append(
            {
                "item_id": str(n), "weight": 1.0, "gold": [gold], "department": garden,
                "leaf": int(first), "p_department": p_department, "p_leaf": p_leaf,
                "confidence": p_department * p_leaf, "decision": "leaf",
            }
        )  # fmt: skip
    return rows


def calibrate_answers(cascade, evaluation, *promise):
    answers = read_answers(cascade, evaluation)
    temperatures = fit_temperatures(answers)
    return choose(cascade, scale(answers, temperatures), temperatures, Promise(*promise))


def test_temperatures_undo_what_was_made_up_and_promises_hold(trained_cascade, tmp_path):
    rows = made_up(6000)
    report = calibrate_answers(
        trained_cascade, write_answers(tmp_path / "e", rows), 0.9, 0.05, False
    )
    found = report.calibration
    assert found.department_temperature == pytest.approx(3, rel=0.15)
    assert found.leaf_temperature == pytest.approx(3, rel=0.15)
    assert (report.tuned_on, report.chosen_on) == (1200, 4800)
    accepted = right = 0
    for row in made_up(6000, seed=1):
        parts = [
            sigmoid(np.log(row[name] / (1 - row[name] + 1e-12)) / temperature)
            for name, temperature in (
                ("p_department", found.department_temperature),
                ("p_leaf", found.leaf_temperature),
            )
        ]
        if parts[0] * parts[1] >= found.leaf_threshold:
            accepted += 1
            right += row["leaf"] in row["gold"]
    assert accepted > 500
    assert right / accepted >= 0.89


def test_temperature_is_the_best_of_a_fine_grid(trained_cascade, tmp_path):
    rows = made_up(1000)
    report = calibrate_answers(
        trained_cascade, write_answers(tmp_path / "e", rows), 0.8, 0.05, False
    )
    tuning = tuning_items(len(rows), 0.2)
    p = np.array([row["p_department"] for row in rows], dtype=np.float32).astype(float)[tuning]
    right = np.array([shop_tree().roots[row["gold"][0]] == row["department"] for row in rows])
    z = np.log(np.clip(p, 1e-9, 1 - 2**-25) / np.clip(1 - p, 2**-25, 1))
    signed = np.where(right[tuning], z, -z)
    grid = np.geomspace(0.5, 20, 20_000)
    losses = [np.logaddexp(0, -signed / t).sum() for t in grid]
    best = grid[int(np.argmin(losses))]
    assert report.calibration.department_temperature == pytest.approx(best, rel=1e-3)


def test_shares_that_stand_for_a_model_are_left_as_predict_states_them(trained_cascade, tmp_path):
    """A department with one leaf is as sure as its department."""
    tree, rows = shop_tree(), made_up(3000)
    vouchers = tree.department("Vouchers")
    for row in rows:
        row |= {"department": vouchers, "leaf": int(tree.leaves_of(vouchers)[0]), "p_leaf": 1.0}
        row["gold"] = [row["leaf"] if tree.roots[row["gold"][0]] != tree.department("123") else 0]
        row["p_department"] = 0.9 if row["gold"] == [row["leaf"]] else 0.6
    report = calibrate_answers(
        trained_cascade, write_answers(tmp_path / "e", rows), 0.9, 0.05, False
    )
    found = report.calibration
    assert found.leaf_temperature == 1.0  # there is nothing to fit it on
    low, high = (sigmoid(np.log(p / (1 - p)) / found.department_temperature) for p in (0.6, 0.9))
    assert low < found.leaf_threshold <= high


def test_no_answer_at_all(trained_cascade, tmp_path):
    with pytest.raises(UserError, match="no labelled item"):
        calibrate_answers(trained_cascade, write_answers(tmp_path / "e", []), 0.9, 0.05, False)


def test_answers_without_any_leaf(trained_cascade, tmp_path):
    rows = [row | {"leaf": -1, "p_leaf": 0.0, "confidence": 0.0} for row in made_up(2000)]
    report = calibrate_answers(
        trained_cascade, write_answers(tmp_path / "e", rows), 0.8, 0.05, False
    )
    assert report.calibration.leaf_threshold is None
    assert report.thresholds.overall.leaf.reason == "no items"
    assert report.calibration.department_threshold is not None
