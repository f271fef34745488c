"""`hlm fit-cascade` where a cascade is: what joins it, what is refused, what stays."""

import json
import shutil

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from hierarchy_lm.cli.stage_options import _deciding_arguments
from hierarchy_lm.cli.stages import Stage
from hierarchy_lm.hierarchy import Hierarchy

from ..conftest import ROOT, fit_cascade_argv
from .conftest import assert_refused
from .test_fit_cascade import QUIET, entries, hashes, weights

CLASSIFIER = ("classifier.ckpt", "done.json")


@pytest.fixture
def again(hlm, shop, cascade):
    """The command that trained the cascade on a copy of it, in this process."""

    def run(*options, extra=(), dataset=shop):
        return hlm(*fit_cascade_argv(dataset, cascade, QUIET, *options, extra=list(extra)))

    return run


@pytest.fixture
def repaired(shop, tmp_path):
    """The dataset with other labels in one department, as after a repair."""
    folder = tmp_path / "repaired"
    shutil.copytree(shop, folder)
    tree = Hierarchy.from_parquet(folder / "hierarchy.parquet")
    novels, atlases = (tree.node_of(f"123 > {leaf}") for leaf in ("Novels", "Atlases"))
    swapped = {novels: atlases, atlases: novels}
    for file in (folder / "products").glob("*.parquet"):
        table = pq.read_table(file)
        rows = table.to_pylist()
        for row in rows:
            if len(row["node_ids"]) == 1:
                row["node_ids"] = [swapped.get(node, node) for node in row["node_ids"]]
        pq.write_table(pa.Table.from_pylist(rows, table.schema), file)
    info = json.loads((folder / "dataset.json").read_text())
    (folder / "dataset.json").write_text(json.dumps({**info, "fingerprint": "repaired"}))
    return folder


def leaf_config(tmp_path, old, new):
    text = (ROOT / "experiments" / "leaf.yaml").read_text()
    assert old in text
    (tmp_path / "changed.yaml").write_text(text.replace(old, new))
    return f"--leaf={tmp_path / 'changed.yaml'}"


def identity(folder):
    return json.loads((folder / "leaves" / "000_123" / "done.json").read_text())["identity"]


def calibrate_by_hand(folder, **values):
    (folder / "calibration.json").write_text(json.dumps({"target_accuracy": 0.9, **values}))


def leave_interrupted(folder, identity):
    """What a killed training leaves."""
    for name in CLASSIFIER:
        (folder / name).unlink(missing_ok=True)
    (folder / "version_7" / "checkpoints").mkdir(parents=True)
    (folder / "version_7" / "checkpoints" / "last.ckpt").write_text("")
    (folder / "started.json").write_text(json.dumps({"identity": identity}))


def test_a_repaired_department_joins_the_others(again, cascade, repaired, tmp_path):
    before, old, were = hashes(cascade), weights(cascade, "123"), entries(cascade)
    changed = leaf_config(tmp_path, "keep: 0.7", "keep: 0.5")
    status, _, err = again(changed, "--evaluate=true", "--departments", "123", dataset=repaired)
    assert status == 0, err
    assert "importance x error" in err
    after = hashes(cascade)
    kept = [n for n in before if n.startswith(("department/", "leaves/001", "leaves/002"))]
    assert len(kept) > 10
    assert {n: after.get(n) for n in kept} == {n: before[n] for n in kept}
    found = entries(cascade)
    assert {**found, "123": None} == {**were, "123": None}
    assert found["123"]["status"] == "model"
    new = weights(cascade, "123")
    assert any(not torch.equal(new[name], old[name]) for name in old)
    assert identity(cascade)["dataset"] == "repaired"
    assert identity(cascade)["config"]["model"]["init_args"]["loss"]["negatives"]["keep"] == 0.5
    before = hashes(cascade)
    assert_refused(again(), "000_123", "other options")  # not a cascade of one kind
    assert_refused(again(changed, dataset=repaired), "department", "other options")
    assert hashes(cascade) == before


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [("tree", "another", "the dataset's tree"), ("text", {"max_length": 99}, "data.text")],
)
def test_a_department_that_cannot_work_with_the_others(again, cascade, key, value, words):
    content = json.loads((cascade / "cascade.json").read_text())
    (cascade / "cascade.json").write_text(json.dumps({**content, key: value}))
    before = hashes(cascade)
    assert_refused(
        again("--departments", "123"), f"--departments: {words} is not that of", "another --output"
    )
    assert hashes(cascade) == before


def test_a_department_with_another_tokenizer_does_not_replace_the_one_before(again, cascade):
    before = hashes(cascade)
    options = ("--leaf_from_department=false", "--departments", "123")
    result = again(*options, extra=["--model.backbone.vocab_size=150"])
    assert_refused(result, "'123'", "tokenizer", "the classifier from before answers")
    assert entries(cascade)["123"]["status"] == "model"
    for name in CLASSIFIER:
        name = f"leaves/000_123/{name}"
        assert hashes(cascade)[name] == before[name]
    # By now the tokenizer is there, and the same is refused without a training.
    result = again(*options, extra=["--model.backbone.vocab_size=150"])
    assert_refused(result, "tokenizer")
    assert "departments failed" not in result[2]


def test_a_failed_retraining_leaves_the_classifier_that_was_there(again, cascade):
    calibrate_by_hand(cascade)
    before, were = hashes(cascade), entries(cascade)
    failing = ["--best_checkpoint.monitor=val/nope"]
    result = again("--departments", "123", extra=failing)
    assert_refused(
        result, "1 of 6 departments failed", "'123'", "val/nope", "the classifier from before"
    )
    after = hashes(cascade)
    for name in (*(f"leaves/000_123/{name}" for name in CLASSIFIER), "calibration.json"):
        assert after[name] == before[name]
    assert entries(cascade) == were
    status, _, err = again()
    assert status == 0, err
    assert (cascade / "calibration.json").exists()


@pytest.mark.parametrize("stage", ["department", "leaves/000_123"])
def test_an_interrupted_run_is_not_resumed_with_other_options(again, cascade, stage):
    found = json.loads((cascade / stage / "done.json").read_text())["identity"]
    leave_interrupted(cascade / stage, {**found, "dataset": "another"})
    before = hashes(cascade)
    assert_refused(again(), stage, "interrupted with other options")
    assert hashes(cascade) == before


def test_what_a_stage_resumes(tmp_path):
    def stage(number):
        return Stage(tmp_path / "one", tmp_path / "leaf.yaml", [], {}, {"number": number})

    assert "--ckpt_path=last" not in stage(1).prepare()
    last = tmp_path / "one" / "version_0" / "checkpoints" / "last.ckpt"
    last.parent.mkdir(parents=True)
    last.write_text("")
    stage(1).check()
    assert "--ckpt_path=last" in stage(1).prepare()
    assert "--ckpt_path=last" not in stage(2).prepare()  # named: from the start
    assert not last.exists()


def test_fewer_models_are_another_cascade(again, cascade):
    calibrate_by_hand(cascade)
    status, _, err = again()
    assert status == 0, err
    assert (cascade / "calibration.json").exists()
    status, _, err = again("--min_items=50")  # two departments have 48
    assert status == 0, err
    assert entries(cascade)["123"]["status"] == "prior"
    assert not (cascade / "calibration.json").exists()


def test_the_ranking_of_a_cascade_that_is_calibrated_for_a_beam(again, cascade):
    calibrate_by_hand(cascade, top_departments=2)
    status, _, err = again("--evaluate=true")
    assert status == 0, err
    assert "importance x error" in err
    assert (cascade / "calibration.json").exists()


def test_failed_departments_are_reported_if_the_evaluation_fails(again, cascade):
    shutil.rmtree(cascade / "leaves" / "000_123")
    (cascade / "leaves" / "000_123").write_text("a file where its folder should be")
    (cascade / "department" / "classifier.ckpt").write_text("damaged")
    result = again("--evaluate=true")
    assert_refused(result, "classifier.ckpt")
    assert "1 of 6 departments failed, the first is '123'" in " ".join(result[2].split())


def test_a_fault_inside_is_not_reported_as_an_output_without_permission(again, monkeypatch):
    def refuse(*_):
        raise PermissionError(13, "Permission denied", "/elsewhere")

    monkeypatch.setattr("hierarchy_lm.cli.leaf_training.write_cascade", refuse)
    with pytest.raises(PermissionError, match="elsewhere"):
        again()


def test_comments_and_devices_make_no_other_classifier(again, cascade, tmp_path):
    before = hashes(cascade)
    changed = leaf_config(tmp_path, "trainer:\n", "trainer:  # here\n  accelerator: cpu\n")
    status, _, err = again(changed, extra=["--trainer.devices=1", "--trainer.accelerator", "cpu"])
    assert status == 0, err
    assert hashes(cascade) == before


def test_arguments_that_decide(tmp_path):
    places = ["--trainer.devices=2", "--trainer.accelerator", "gpu"]
    assert _deciding_arguments(["--a", "1", *places, "--trainer.max_epochs=3"]) == [
        "--a",
        "1",
        "--trainer.max_epochs=3",
    ]
    layer = tmp_path / "layer.yaml"
    layer.write_text("trainer: {devices: 2, max_epochs: 3}  # where it lies does not matter")
    content = {"trainer": {"max_epochs": 3}}
    for arguments in (["--config", str(layer)], [f"--config={layer}"]):
        assert _deciding_arguments([*arguments, "--b=1"]) == [content, "--b=1"]
