"""`hlm fit-cascade`: every kind of department, what is skipped, what is refused, what goes on."""

import hashlib
import json
import shutil

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
import yaml
from filelock import FileLock

from hierarchy_lm.cli.departments import plan_departments
from hierarchy_lm.hierarchy import Hierarchy

from ..conftest import ROOT, fit_cascade_argv, write_shop
from .conftest import assert_refused

QUIET = "--evaluate=false"
MODELS = {"123", 'Größe & "Co" #1', "Home: Garden"}


def hashes(folder):
    files = (file for file in folder.rglob("*") if file.is_file() and file.name != ".lock")
    return {
        file.relative_to(folder).as_posix(): hashlib.md5(file.read_bytes()).hexdigest()
        for file in files
    }


def entries(folder):
    content = json.loads((folder / "cascade.json").read_text())
    return {entry["path"]: entry for entry in content["departments"]}


def weights(folder, department):
    file = folder / entries(folder)[department]["checkpoint"]
    return torch.load(file, weights_only=True)["state_dict"]


def assert_equal_weights(folder, other, department):
    found, expected = weights(folder, department), weights(other, department)
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert torch.equal(found[name], value), name


@pytest.fixture
def again(hlm, shop, cascade):
    """The same command on a copy of the finished cascade, in this process."""

    def run(*options, extra=(), dataset=shop):
        return hlm(*fit_cascade_argv(dataset, cascade, QUIET, *options, extra=list(extra)))

    return run


def test_every_department_has_its_documented_outcome(trained_cascade):
    found = entries(trained_cascade)
    assert {path: entry["status"] for path, entry in found.items()} == {
        **dict.fromkeys(MODELS, "model"),
        "Vouchers": "single_leaf",
        "Rare": "prior",
        "Void": "empty",
    }
    tree = Hierarchy.from_parquet(trained_cascade / "hierarchy.parquet")
    stamps, coins = (str(tree.node_of(f"Rare > {leaf}")) for leaf in ("Stamps", "Coins"))
    assert found["Rare"]["prior"] == {stamps: 0.75, coins: 0.25}
    assert found["Vouchers"]["prior"] == {str(tree.node_of("Vouchers > Gift Cards")): 1.0}
    assert found["Void"]["prior"] == {}
    assert found["Home: Garden"]["items"] == 4 * 16 + 1  # one item has two nodes
    assert found["Rare"]["items"] == 8
    for path in MODELS:
        assert (trained_cascade / found[path]["checkpoint"]).is_file()
        assert 0 < found[path]["metrics"]["best_score"] <= 1
    for path in found.keys() - MODELS:
        assert found[path]["checkpoint"] is None
        assert found[path]["reason"]


def test_finished_classifiers_are_slim(trained_cascade):
    files = list(trained_cascade.rglob("*.ckpt"))
    assert len(files) == 1 + len(MODELS)
    for file in files:
        content = torch.load(file, weights_only=True)
        assert not {"optimizer_states", "lr_schedulers", "loops", "callbacks"} & content.keys()


def test_ranking_multiplies_importance_and_error(trained_cascade):
    """The printed order, from the kept answers."""
    (part,) = (trained_cascade / "evaluation" / "validation").glob("part-*.parquet")
    tree = Hierarchy.from_parquet(trained_cascade / "hierarchy.parquet")
    lost, weight = {}, {}
    for row in pq.read_table(part).to_pylist():
        for department in {([*tree.ancestors(node), node])[0] for node in row["gold"]}:
            weight[department] = weight.get(department, 0) + row["weight"]
            wrong = row["leaf"] not in row["gold"]
            lost[department] = lost.get(department, 0) + row["weight"] * wrong
    expected = [tree.paths[node] for node in sorted(weight, key=lambda node: -lost[node])]
    printed = (trained_cascade / "printed.txt").read_text()
    table = printed[printed.index("by importance x error") :]
    places = [table.index(f"│ {path} ") for path in expected]
    assert places == sorted(places)


def test_a_finished_cascade_is_left_as_it_is(again, cascade):
    before = hashes(cascade)
    status, _, err = again()
    assert status == 0, err
    assert "finished before" in err
    assert hashes(cascade) == before


def test_named_departments_are_trained_again_side_by_side(again, cascade, trained_cascade):
    (cascade / "calibration.json").write_text("{}")  # of the models before
    before = hashes(cascade)
    status, _, err = again("--jobs=2", "--departments", "123", "Home: Garden")
    assert status == 0, err
    after = hashes(cascade)
    assert not (cascade / "calibration.json").exists()
    changed = {name for name in before if before[name] != after.get(name)}
    touched = {name.split("/")[1] for name in changed if name.startswith("leaves/")}
    assert touched == {"000_123", "002_Home_Garden"}
    assert {name for name in changed if not name.startswith("leaves/")} <= {
        "calibration.json",
        "cascade.json",
    }
    for department in MODELS:  # two at a time, and with the same weights as one by one
        assert_equal_weights(cascade, trained_cascade, department)
    assert {p: e["status"] for p, e in entries(cascade).items()} == {
        p: e["status"] for p, e in entries(trained_cascade).items()
    }


def test_a_failing_department_is_reported_the_others_go_on(again, cascade, trained_cascade):
    for name in ("002_Home_Garden", "000_123"):
        shutil.rmtree(cascade / "leaves" / name)
    blocked = cascade / "leaves" / "002_Home_Garden"  # the largest, so the first
    blocked.write_text("a file where its folder should be")
    result = again("--evaluate=true")
    assert_refused(result, "hlm: 1 of 6 departments failed, the first is 'Home: Garden'")
    assert "importance x error" in result[2]  # the cascade is there, and is evaluated
    found = entries(cascade)
    assert found["Home: Garden"]["status"] == "failed"
    assert "002_Home_Garden" in found["Home: Garden"]["reason"]
    assert found["123"]["status"] == "model"
    assert_equal_weights(cascade, trained_cascade, "123")
    blocked.unlink()
    status, _, err = again()
    assert status == 0, err
    assert entries(cascade)["Home: Garden"]["status"] == "model"
    assert_equal_weights(cascade, trained_cascade, "Home: Garden")


def test_departments_that_nobody_asked_for_are_no_failure(again, cascade):
    shutil.rmtree(cascade / "leaves" / "000_123")
    shutil.rmtree(cascade / "leaves" / "002_Home_Garden")
    status, _, err = again("--departments", "123")
    assert status == 0, err
    found = entries(cascade)
    assert found["123"]["status"] == "model"
    assert found["Home: Garden"]["status"] == "pending"
    assert found["Home: Garden"]["reason"] == "not trained yet"


def test_an_interrupted_export_of_the_encoder_is_done_again(again, cascade):
    encoder = cascade / "department" / "encoder"
    encoder.rename(cascade / "department" / "encoder.tmp")
    (cascade / "department" / "encoder.tmp" / "config.json").write_text("{")
    status, _, err = again()
    assert status == 0, err
    assert json.loads((encoder / "config.json").read_text())["hidden_size"]
    assert not encoder.with_suffix(".tmp").exists()


def test_changed_options_are_refused_and_change_nothing(again, cascade):
    before = hashes(cascade)
    assert_refused(again(extra=["--model.optimizer.lr=0.5"]), "department", "other options")
    assert_refused(again("--leaf_from_department=false"), "leaves", "other options")
    assert hashes(cascade) == before


def test_another_dataset_is_refused_and_changes_nothing(again, cascade, tmp_path):
    other = write_shop(tmp_path / "other", seed=1)
    before = hashes(cascade)
    assert_refused(again(dataset=other), "department", "another dataset")
    assert hashes(cascade) == before


def test_a_second_command_at_the_same_time_is_refused(again, cascade):
    with FileLock(cascade / ".lock"):
        assert_refused(again(), "cascade", "another `hlm fit-cascade`")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--departments", "Nope"], ["'Nope'", "Home: Garden"]),
        (["--departments", "Vouchers"], ["Vouchers", "the only leaf"]),
        (["--departments", "Rare"], ["Rare", "8 training items of 2 of 3 leaves"]),
        (["--departments", "Void"], ["Void", "no training item"]),
        (["--jobs=0"], ["--jobs 0"]),
        (["--jobs=-1"], ["--jobs -1"]),
        (["--department=absent.yaml"], ["absent.yaml"]),
        (["--leav=x"], ["leav"]),
    ],
)
def test_wrong_options_of_the_command(again, cascade, options, words):
    before = hashes(cascade)
    assert_refused(again(*options), *words)
    assert hashes(cascade) == before


def test_output_that_is_a_file(hlm, shop, tmp_path):
    (tmp_path / "file").write_text("")
    assert_refused(
        hlm(*fit_cascade_argv(shop, tmp_path / "file", extra=[])), "file", "cannot write"
    )


def test_dataset_that_is_not_there(hlm, tmp_path):
    assert_refused(hlm(*fit_cascade_argv(tmp_path / "no", tmp_path / "out", extra=[])), "no such")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("stage", "change", "words"),
    [
        ("leaf", ("max_length: 64", "max_lenght: 64"), ["max_lenght"]),
        ("department", ("skip:", "skips:"), ["skips"]),
        ("leaf", ("class_path: LeafClassifier", "class_path: LeafClassifer"), ["LeafClassifer"]),
        ("leaf", ("    dataset: sample", "    dataset: [sample"), ["leaf.yaml"]),
        ("leaf", ("clean: letters", "clean: keep"), ["leaf.yaml", "data.text differs"]),
        ("department", ("segments: fields", "segments: document"), ["data.text differs"]),
    ],
)
def test_wrong_stages_are_refused_before_anything_is_trained(
    hlm, shop, tmp_path, stage, change, words
):
    text = (ROOT / "experiments" / f"{stage}.yaml").read_text()
    assert change[0] in text
    (tmp_path / f"{stage}.yaml").write_text(text.replace(*change))
    argv = fit_cascade_argv(
        shop, tmp_path / "out", f"--{stage}={tmp_path / f'{stage}.yaml'}", extra=[]
    )
    assert_refused(hlm(*argv), *words)
    assert not (tmp_path / "out").exists()


def test_tokenizers_must_be_one(hlm, shop, tmp_path):
    config = yaml.safe_load((ROOT / "experiments" / "leaf.yaml").read_text())
    config["model"]["init_args"]["backbone"]["vocab_size"] = 4000
    (tmp_path / "leaf.yaml").write_text(yaml.safe_dump(config))
    argv = fit_cascade_argv(
        shop,
        tmp_path / "out",
        f"--leaf={tmp_path / 'leaf.yaml'}",
        "--leaf_from_department=false",
        extra=[],
    )
    assert_refused(hlm(*argv), "tokenizers")
    assert not (tmp_path / "out").exists()


def test_who_gets_a_model():
    tree = Hierarchy.from_paths([("A", "1"), ("A", "2"), ("B", "1"), ("B", "2"), ("C",), ("D",)])
    names = ["A > 1", "A > 2", "B > 1", "B > 2", "C", "D"]

    def plan(*counts, validation=(9, 9, 9, 9, 9, 9), min_items=5):
        items, checks = np.zeros((2, tree.num_nodes), dtype=np.int64)
        nodes = [tree.node_of(name) for name in names]
        items[nodes], checks[nodes] = counts, validation
        return {
            e.path: (e.status, e.items) for e in plan_departments(tree, items, checks, min_items)
        }

    assert plan(3, 2, 3, 1, 7, 0) == {
        "A": ("pending", 5),
        "B": ("prior", 4),
        "C": ("single_leaf", 7),
        "D": ("single_leaf", 0),
    }
    assert plan(9, 0, 0, 0, 0, 0)["A"] == ("prior", 9)
    assert plan(9, 0, 0, 0, 0, 0)["B"] == ("empty", 0)
    assert plan(9, 9, 9, 9, 0, 0, validation=(0, 0, 0, 1, 0, 0))["A"] == ("prior", 18)
    assert plan(9, 9, 9, 9, 0, 0, validation=(0, 0, 0, 1, 0, 0))["B"] == ("pending", 18)
    assert plan(1, 1, 0, 0, 0, 0, min_items=0)["A"] == ("pending", 2)
