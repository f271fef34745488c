"""The cascade as a module: decisions and reasons, calibration in use."""

import json

import pytest
import torch

from hierarchy_lm.cascade_folder import Calibration
from hierarchy_lm.classification import Cascade
from hierarchy_lm.classification.decisions import DECISIONS, REASONS, Thresholds

from .conftest import Oracle, answer, answers_of, edit_entry, prefer, windows


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


@pytest.mark.parametrize("option", ["top_departments", "alternatives", "chunk_tokens"])
def test_options_that_make_no_sense(trained_cascade, option):
    with pytest.raises(ValueError, match=option):
        Cascade(str(trained_cascade), **{option: 0})
