"""`hlm calibrate`: what it stores is what `hlm predict` uses, and what it promises it has seen."""

import json
import shutil
from dataclasses import asdict

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from hierarchy_lm.classification.calibration import Promise, choose, read_answers
from hierarchy_lm.cli.evaluate import evaluate_cascade

from ..conftest import ROOT, shop_tree
from .conftest import assert_refused


def stored(cascade):
    return json.loads((cascade / "calibration.json").read_text())


@pytest.fixture
def trainer(hlm, cascade, shop, tmp_path):
    def call(command, *options):
        root = tmp_path / f"{command}-runs"
        shutil.rmtree(root, ignore_errors=True)
        status, _, err = hlm(
            *(command, "--config", ROOT / "experiments" / "cascade.yaml"),
            *(f"--model.cascade={cascade}", f"--data.dataset={shop}", *options),
            *(f"--trainer.default_root_dir={root}", "--trainer.enable_progress_bar=false"),
        )
        assert status == 0, err
        return root / "version_0"

    return call


def change_labels(shop, folder, change):
    shutil.copytree(shop, folder, ignore=shutil.ignore_patterns(".cache"))
    for shard in sorted((folder / "products").glob("validation-*.parquet")):
        pq.write_table(change(pq.read_table(shard)), shard)
    return folder


def test_what_is_stored_is_what_predict_uses(hlm, trainer, cascade, shop):
    """Confidence at a temperature of T is that of the logits over T."""
    plain = pq.read_table(trainer("predict") / "predictions").sort_by("item_id").to_pylist()
    status, out, err = hlm("calibrate", cascade, shop, "--target_accuracy=0.55")
    assert status == 0, err
    found = stored(cascade)
    assert found["target_accuracy"] == 0.55
    assert found["error_probability"] == 0.05
    assert 0 < found["leaf_threshold"] < 1
    assert found["department_temperature"] != 1
    assert f"{found['leaf_threshold']:.4f}" in out
    assert f"{found['leaf_temperature']:.3f}" in out
    assert "55%" in out
    rows = pq.read_table(trainer("predict") / "predictions").sort_by("item_id").to_pylist()
    for row, before in zip(rows, plain, strict=True):
        if row["leaf"] is None:
            continue
        parts = [
            1 / (1 + (1 / before[name] - 1) ** (1 / found[temperature]))
            for name, temperature in (
                ("p_department", "department_temperature"),
                ("p_leaf", "leaf_temperature"),
            )
        ]
        assert [row["p_department"], row["p_leaf"]] == pytest.approx(parts, rel=1e-3, abs=1e-4)
        assert (row["decision"] == "leaf") == (row["confidence"] >= found["leaf_threshold"])
    assert {"leaf", "abstain"} < {row["decision"] for row in rows} | {"department"}
    scores = json.loads((trainer("test") / "test.json").read_text())
    assert 0 < scores["test/leaf_accuracy"] < 1


def test_calibrating_twice_changes_nothing(hlm, cascade, shop):
    """The second starts from the answers without the first."""
    assert hlm("calibrate", cascade, shop, "--target_accuracy=0.4")[0] == 0
    first = stored(cascade)
    assert hlm("calibrate", cascade, shop, "--target_accuracy=0.4")[0] == 0
    assert stored(cascade) == first


def test_a_target_out_of_reach_is_said_and_accepts_nothing(hlm, trainer, cascade, shop):
    status, out, err = hlm("calibrate", cascade, shop, "--target_accuracy=0.999")
    assert status == 0, err
    assert "too few items" in out or "not reachable" in out
    assert stored(cascade)["leaf_threshold"] is None
    rows = pq.read_table(trainer("predict") / "predictions").to_pylist()
    assert "leaf" not in {row["decision"] for row in rows}
    assert {row["reason"] for row in rows} == {"below_threshold", "no_text"}


def test_departments_own_thresholds(hlm, trainer, cascade, shop):
    status, out, err = hlm(
        "calibrate", cascade, shop, "--target_accuracy=0.3", "--per_department=true"
    )
    assert status == 0, err
    found, tree = stored(cascade), shop_tree()
    assert found["per_department"] is True
    assert set(found["departments"]) == {str(node) for node in range(tree.level_sizes[0])}
    for path in tree.paths[: tree.level_sizes[0]]:
        assert f"leaf in {path}" in out
    assert "department's own thresholds" in out
    own = {tree.paths[int(node)]: pair for node, pair in found["departments"].items()}
    assert any(pair["leaf"] is not None for pair in own.values())
    assert any(pair["leaf"] is None for pair in own.values())  # nothing was seen of some
    for row in pq.read_table(trainer("predict") / "predictions").to_pylist():
        if row["reason"] == "no_text":
            continue
        leaf, department = own[row["department"]]["leaf"], own[row["department"]]["department"]
        accepted = row["leaf"] is not None and leaf is not None and row["confidence"] >= leaf
        backed_off = department is not None and row["p_department"] >= department
        expected = "leaf" if accepted else "department" if backed_off else "abstain"
        assert row["decision"] == expected


def without_labels(table):
    place = table.schema.get_field_index("node_ids")
    field = table.schema.field(place)
    return table.set_column(place, field, pa.array([[]] * len(table), field.type))


@pytest.mark.parametrize(
    ("change", "word"),
    [(lambda table: table.slice(0, 0), "split is empty"), (without_labels, "label")],
    ids=["empty", "unlabelled"],
)
def test_thresholds_on_nothing_are_refused(hlm, cascade, shop, tmp_path, change, word):
    dataset = change_labels(shop, tmp_path / "nothing", change)
    assert_refused(hlm("calibrate", cascade, dataset), "validation split", word)
    assert not (cascade / "calibration.json").exists()


def test_no_validation_split(hlm, cascade, shop, tmp_path):
    shutil.copytree(shop, tmp_path / "none", ignore=shutil.ignore_patterns(".cache"))
    for shard in (tmp_path / "none" / "products").glob("validation-*"):
        shard.unlink()
    assert_refused(hlm("calibrate", cascade, tmp_path / "none"), "validation")


@pytest.mark.parametrize(
    ("options", "word"),
    [
        (["--target_accuracy=0"], "target"),
        (["--target_accuracy=1"], "target"),
        (["--target_accuracy=1.5"], "target"),
        (["--error_probability=0"], "error_probability"),
        (["--target_accuracy=1", "--top_departments=3"], "target"),
        (["--top_departments=0"], "top_departments"),
        (["--label_column=truth"], "label_column"),
        (["--colour=red"], "colour"),
    ],
)
def test_options_that_make_no_sense(hlm, cascade, shop, options, word):
    """They are refused before the split is run."""
    result = hlm("calibrate", cascade, shop, *options)
    assert_refused(result, word)
    assert "Validation" not in result[1]
    assert not (cascade / "calibration.json").exists()


def test_nothing_is_stored_before_all_is_known(hlm, cascade, shop, monkeypatch):
    """The second pass of a beam is killed."""
    run, calls = evaluate_cascade, []

    def killed(*args):
        calls.append(args)
        if len(calls) == 2:
            raise KeyboardInterrupt
        run(*args)

    monkeypatch.setattr("hierarchy_lm.cli.calibrate.evaluate_cascade", killed)
    (cascade / "calibration.json").write_text('{"leaf_threshold": 0.7}')
    before = contents(cascade)
    status, _, _ = hlm("calibrate", cascade, shop, "--top_departments=3")
    assert status == 130
    assert len(calls) == 2
    assert contents(cascade) == before


def contents(cascade):
    """All files but the records of runs."""
    files = (file for file in cascade.rglob("*") if file.is_file())
    return {str(file): file.read_bytes() for file in files if cascade / "runs" not in file.parents}


def test_the_answers_of_an_evaluation_are_left_alone(hlm, cascade, shop):
    before = contents(cascade)
    assert hlm("calibrate", cascade, shop)[0] == 0
    after = contents(cascade)
    assert set(after) - set(before) == {str(cascade / "calibration.json")}
    assert {name: after[name] for name in before} == before


def test_a_report_of_answers_from_before_the_calibration_is_refused(hlm, trainer, cascade, shop):
    trainer("test")
    assert hlm("report", cascade)[0] == 0
    assert hlm("calibrate", cascade, shop, "--target_accuracy=0.999")[0] == 0
    assert_refused(hlm("report", cascade), "calibrated", "hlm test", str(cascade))
    trainer("test", "--model.calibrated=false")
    assert hlm("report", cascade)[0] == 0
    page = (cascade / "evaluation" / "test" / "report.md").read_text()
    assert "model.calibrated was false" in page
    trainer("test")
    assert hlm("report", cascade)[0] == 0
    page = (cascade / "evaluation" / "test" / "report.md").read_text()
    assert "found no threshold" in page
    assert "accept the leaf | 0 |" in page


@pytest.mark.parametrize(
    ("place", "word"), [("department", "department"), ("leaves/000*", "'123'")]
)
def test_answers_that_are_no_numbers(hlm, cascade, shop, place, word):
    (file,) = cascade.glob(f"{place}/classifier.ckpt")
    checkpoint = torch.load(file, weights_only=True)
    checkpoint["state_dict"]["head.output.bias"][:] = float("nan")
    torch.save(checkpoint, file)
    assert_refused(hlm("calibrate", cascade, shop), str(cascade), word, "NaN")
    assert not (cascade / "calibration.json").exists()


def test_no_cascade_there(hlm, shop, tmp_path):
    assert_refused(hlm("calibrate", tmp_path / "no", shop), "no", "fit-cascade")


def test_a_beam_is_calibrated_on_the_answers_that_predict_gives(
    hlm, cascade, shop, trainer, monkeypatch
):
    """With temperatures another department's leaf may be the best."""
    beam, seen = "--model.top_departments=3", []

    def chosen(folder, answers, *rest):
        seen.append(answers)
        return choose(folder, answers, *rest)

    monkeypatch.setattr("hierarchy_lm.cli.calibrate.choose", chosen)
    assert hlm("calibrate", cascade, shop, "--top_departments=3", "--target_accuracy=0.55")[0] == 0
    found = stored(cascade)
    assert found["top_departments"] == 3
    assert found["department_temperature"] != 1
    trainer("validate", beam)
    answers = read_answers(cascade, cascade / "evaluation" / "validation")
    temperatures = (found["department_temperature"], found["leaf_temperature"])
    again = choose(cascade, answers, temperatures, Promise(0.55, 0.05, False, 3)).calibration
    assert asdict(again) == found
    (given,) = seen
    assert len(given.leaf) > 20
    for mine, theirs in zip(given, answers, strict=True):
        np.testing.assert_allclose(mine, theirs, atol=1e-6)
    run = trainer("predict", beam, "--data.predict_split=validation")
    predicted = {
        row["item_id"]: row["confidence"]
        for row in pq.read_table(run / "predictions" / "part-00000.parquet").to_pylist()
    }
    kept = pq.read_table(cascade / "evaluation" / "validation" / "part-00000.parquet").to_pylist()
    assert len(kept) > 20
    for row in kept:
        assert predicted[row["item_id"]] == pytest.approx(row["confidence"], abs=1e-6)
    cascade_yaml = ROOT / "experiments" / "cascade.yaml"
    refused = hlm(
        *("predict", "--config", cascade_yaml, f"--model.cascade={cascade}"),
        f"--data.dataset={shop}",
    )
    assert_refused(refused, "top_departments 3", "hlm calibrate")
