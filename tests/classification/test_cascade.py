"""The cascade as a module: decisions and reasons, calibration in use, folders that are wrong."""

import json
import shutil

import pytest
import torch

from hierarchy_lm.cascade_folder import Calibration, read_calibration
from hierarchy_lm.classification import Cascade
from hierarchy_lm.classification.decisions import DECISIONS, REASONS, Thresholds
from hierarchy_lm.errors import UserError

from .conftest import Oracle, answer, answers_of, edit_entry, prefer, read_json, windows


def decide(calibration, *, department=0, leaf=9, p_department=0.8, score=0.6, empty=False):
    columns = [torch.tensor([value]) for value in (department, leaf, p_department, score, empty)]
    decision, reason = Thresholds(calibration, 3).decide(*columns)
    return DECISIONS[int(decision)], REASONS[int(reason)]


def thresholds(leaf, department, **by_department):
    return Calibration(
        leaf_threshold=leaf,
        department_threshold=department,
        per_department=bool(by_department),
        departments={
            key[1:]: dict(zip(("leaf", "department"), pair, strict=True))
            for key, pair in by_department.items()
        },
    )


@pytest.mark.parametrize(
    ("calibration", "item", "expected"),
    [
        (thresholds(0.5, 0.5), {}, ("leaf", "accepted")),
        (thresholds(0.6, 0.5), {"score": 0.625}, ("leaf", "accepted")),
        (thresholds(0.625, 0.5), {"score": 0.625}, ("leaf", "accepted")),
        (thresholds(0.7, 0.5), {}, ("department", "below_threshold")),
        (thresholds(0.7, 0.9), {}, ("abstain", "below_threshold")),
        (thresholds(None, 0.5), {}, ("department", "below_threshold")),
        (thresholds(None, 0.5), {"score": 1.0}, ("department", "below_threshold")),
        (
            thresholds(None, None),
            {"score": 1.0, "p_department": 1.0},
            ("abstain", "below_threshold"),
        ),
        (thresholds(0.0, 0.0), {"leaf": -1, "score": 0.0}, ("department", "no_leaf_model")),
        (thresholds(0.0, 0.9), {"leaf": -1, "score": 0.0}, ("abstain", "no_leaf_model")),
        (thresholds(0.0, 0.0), {"empty": True}, ("abstain", "no_text")),
        (thresholds(0.0, 0.0), {"empty": True, "leaf": -1}, ("abstain", "no_text")),
        (thresholds(0.5, 0.9, _0=(0.7, 0.5), _1=(0.1, 0)), {}, ("department", "below_threshold")),
        (thresholds(0.5, 0.5, _0=(0.7, 0.9), _1=(0.1, 0)), {}, ("abstain", "below_threshold")),
        (thresholds(0.9, 0.5, _0=(0.7, 1), _1=(0.1, 1)), {"department": 1}, ("leaf", "accepted")),
        (thresholds(0.0, 0.0, _0=(None, 0.9)), {}, ("abstain", "below_threshold")),
        (thresholds(0.0, 0.0, _0=(None, None)), {}, ("abstain", "below_threshold")),
        (thresholds(0.7, 0.5, _1=(0.1, 1)), {"department": 2}, ("department", "below_threshold")),
    ],
)
def test_decision_and_reason(calibration, item, expected):
    assert decide(calibration, **item) == expected


def test_departments_own_thresholds_need_to_be_asked_for():
    calibration = Calibration(
        leaf_threshold=0.5, departments={"0": {"leaf": 0.9, "department": 0.9}}
    )
    assert decide(calibration) == ("leaf", "accepted")


def write_calibration(folder, **values):
    record = {"department_temperature": 1.0, "leaf_temperature": 1.0, **values}
    (folder / "calibration.json").write_text(json.dumps(record))


def test_trial_temperatures_are_those_of_a_calibration(cascade, shop):
    batches = windows(shop, cascade, window=60)
    write_calibration(cascade, leaf_threshold=None, leaf_temperature=9.0)
    tried = answer(cascade, batches, temperatures=(2.5, 0.4))
    write_calibration(cascade, department_temperature=2.5, leaf_temperature=0.4)
    assert tried == answer(cascade, batches)


def test_answers_in_bfloat16_are_those_in_float32_rounded(cascade, shop):
    """`trainer.precision: bf16-true`, by what Lightning does for it."""
    batches = windows(shop, cascade, window=60)
    edit_entry(cascade, "123", status="failed", checkpoint=None, reason="killed")
    expected = answer(cascade, batches, top_departments=2)
    module = Cascade(str(cascade), top_departments=2).eval().bfloat16()
    torch.set_default_dtype(torch.bfloat16)
    try:
        found = answers_of(module, batches)
    finally:
        torch.set_default_dtype(torch.float32)
    same = [found[row]["best"][0] == one["best"][0] for row, one in expected.items()]
    assert sum(same) > 0.9 * len(same)
    for row, one in expected.items():
        if found[row]["best"][:2] == one["best"][:2]:
            assert found[row]["best"][2:] == pytest.approx(one["best"][2:], abs=0.05)


def test_temperatures_of_the_calibration_divide_the_logits(cascade, shop):
    write_calibration(cascade, department_temperature=2.5, leaf_temperature=0.4)
    batches = windows(shop, cascade, window=60)
    found = answer(cascade, batches, top_departments=2)
    plain = answer(cascade, batches, top_departments=2, calibrated=False)
    oracle = Oracle(cascade)
    for batch in batches:
        for n, row in enumerate(batch.rows.tolist()):
            if batch.tokens.attention_mask[n].sum() <= 2:
                continue
            for answers, temperatures in ((found, (2.5, 0.4)), (plain, (1, 1))):
                best = oracle.candidates(batch, n, 2, temperatures)[0][0]
                kept = answers[row]["best"]
                assert kept[4] == pytest.approx(best[0], abs=1e-5)
                assert kept[2:4] == pytest.approx(best[3:], abs=1e-5)


def test_shares_that_stand_for_a_model_have_no_temperature(cascade, shop):
    write_calibration(cascade, leaf_temperature=5.0)
    tree = Oracle(cascade).tree
    prefer(cascade, tree.department("Rare"))
    found = answer(cascade, windows(shop, cascade))
    stamps, coins = (tree.node_of(f"Rare > {leaf}") for leaf in ("Stamps", "Coins"))
    for one in found.values():
        if REASONS[one["decision"][1]] == "no_text":
            continue
        assert [(a[1], round(a[3], 6)) for a in one["alternatives"]] == [
            (stamps, 0.75),
            (coins, 0.25),
        ]


def test_an_item_without_text_has_no_leaf_and_no_decision(trained_cascade, shop):
    (batch,) = windows(shop, trained_cascade)
    found = answer(trained_cascade, [batch])
    empty = batch.rows[batch.tokens.attention_mask.sum(dim=1) == 2].tolist()
    assert len(empty) == 2  # without any field, and with nothing but signs
    for row in empty:
        assert found[row]["best"][1] == -1
        assert found[row]["best"][3:5] == [0, 0]
        assert found[row]["decision"] == [DECISIONS.index("abstain"), REASONS.index("no_text")]
        assert found[row]["alternatives"] == []
    others = [one for row, one in found.items() if row not in empty]
    assert all(one["decision"] == [0, 0] for one in others)  # no calibration accepts every leaf


@pytest.mark.parametrize("status", ["failed", "pending", "empty"])
def test_a_department_without_a_model_backs_off(cascade, shop, status):
    tree = Oracle(cascade).tree
    edit_entry(cascade, "123", status=status, checkpoint=None, reason="killed")
    prefer(cascade, tree.department("123"))
    found = answer(cascade, windows(shop, cascade))
    decided = {tuple(one["decision"]) for one in found.values()}
    reasons = {(DECISIONS[decision], REASONS[reason]) for decision, reason in decided}
    assert reasons == {("department", "no_leaf_model"), ("abstain", "no_text")}
    for one in found.values():
        assert one["best"][:2] == [tree.department("123"), -1]
        assert one["alternatives"] == []


# Folders that are wrong: one line that says what, where and what to do.


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


@pytest.mark.parametrize("option", ["top_departments", "alternatives", "chunk_tokens"])
def test_options_that_make_no_sense(trained_cascade, option):
    with pytest.raises(ValueError, match=option):
        Cascade(str(trained_cascade), **{option: 0})
