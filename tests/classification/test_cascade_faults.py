"""Cascade folders that are wrong: one line that says what, where and what to do."""

import json
import shutil

import pytest
import torch

from hierarchy_lm.cascade_folder import read_calibration
from hierarchy_lm.classification import Cascade
from hierarchy_lm.errors import UserError

from .conftest import answer, read_json, windows


def message(call, *args, **options):
    with pytest.raises(UserError) as caught:
        call(*args, **options)
    line = str(caught.value)
    assert "\n" not in line
    return line


def leaf_file(folder, name):
    (file,) = folder.glob(f"leaves/*{name}*/classifier.ckpt")
    return file


def test_a_leaf_model_of_another_department_is_refused(cascade, shop):
    """It has as many leaves: its answers would look right."""
    shutil.copy(leaf_file(cascade, "Co_1"), leaf_file(cascade, "123"))
    line = message(answer, cascade, windows(shop, cascade), top_departments=6)
    assert "000_123" in line
    assert "'123'" in line
    assert "Größe" in line


def test_a_leaf_model_of_another_tree_is_refused_by_both_fingerprints(cascade, shop):
    file = leaf_file(cascade, "123")
    checkpoint = torch.load(file, weights_only=True)
    checkpoint["fingerprints"]["tree"] = "feedc0ffee00" + "0" * 52
    torch.save(checkpoint, file)
    line = message(answer, cascade, windows(shop, cascade), top_departments=6)
    assert "feedc0ffee00" in line
    assert read_json(cascade / "cascade.json")["tree"][:12] in line
    assert str(file) in line
    assert "fit-cascade" in line


def test_a_leaf_model_with_another_tokenizer_is_refused(cascade, shop):
    file = leaf_file(cascade, "123")
    checkpoint = torch.load(file, weights_only=True)
    checkpoint["fingerprints"]["tokenizer"] = "0" * 64
    torch.save(checkpoint, file)
    line = message(answer, cascade, windows(shop, cascade), top_departments=6)
    assert "tokenizer" in line
    assert str(file) in line


def test_the_department_classifier_in_the_place_of_a_leaf_model(cascade, shop):
    shutil.copy(cascade / "department" / "classifier.ckpt", leaf_file(cascade, "123"))
    line = message(answer, cascade, windows(shop, cascade), top_departments=6)
    assert "LeafClassifier" in line


def test_a_missing_classifier_is_named(cascade, shop):
    file = leaf_file(cascade, "123")
    file.unlink()
    line = message(answer, cascade, windows(shop, cascade), top_departments=6)
    assert str(file) in line
    (cascade / "department" / "classifier.ckpt").unlink()
    assert "department/classifier.ckpt" in message(Cascade, str(cascade))


def test_a_truncated_classifier_is_named(cascade, shop):
    file = leaf_file(cascade, "123")
    file.write_bytes(file.read_bytes()[:-100])
    assert str(file) in message(answer, cascade, windows(shop, cascade), top_departments=6)


def without(key):
    def change(content):
        del content[key]
        return json.dumps(content)

    return change


def with_value(key, value):
    return lambda content: json.dumps({**content, key: value})


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: "",
        lambda content: json.dumps(content)[:-9],
        lambda content: "[]",
        lambda content: "null",
        without("departments"),
        without("tree"),
        without("text"),
        with_value("departments", None),
        with_value("departments", [{"node": 0}]),
        with_value("departments", [3]),
        with_value("departments", []),
        with_value("colour", "red"),
        with_value("text", {"length": 3}),
        with_value("text", None),
        with_value("schema_version", 99),
        with_value("schema_version", None),
    ],
)
def test_a_damaged_cascade_json(cascade, shop, damage):
    file = cascade / "cascade.json"
    file.write_text(damage(read_json(file)))
    line = message(Cascade, str(cascade))
    assert str(cascade) in line
    assert "train" in line


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "[]",
        '{"colour": 1}',
        '{"departments": 3}',
        '{"per_department": true, "departments": {"99": {"leaf": 0.5, "department": 0.5}}}',
        '{"per_department": true, "departments": {"Rare": {"leaf": 0.5, "department": 0.5}}}',
        '{"departments": {"0": 0.5}}',
        '{"departments": {"0": {"leaf": 0.5}}}',
        '{"departments": {"0": {"leaf": 0.5, "department": "high"}}}',
        '{"target_accuracy": "all"}',
        '{"leaf_threshold": "high"}',
        '{"leaf_temperature": 0}',
        '{"leaf_temperature": null}',
        '{"department_temperature": -1}',
        '{"department_temperature": "warm"}',
    ],
)
def test_a_damaged_calibration_json(cascade, content):
    (cascade / "calibration.json").write_text(content)
    line = message(Cascade, str(cascade))
    assert str(cascade / "calibration.json") in line or str(cascade) in line
    assert "calibrat" in line


def test_a_calibration_that_is_not_there_is_none(cascade):
    assert read_calibration(cascade) is None


def test_the_tree_must_be_that_of_the_cascade(cascade):
    content = read_json(cascade / "cascade.json") | {"tree": "0" * 64}
    (cascade / "cascade.json").write_text(json.dumps(content))
    assert "hierarchy.parquet" in message(Cascade, str(cascade))
