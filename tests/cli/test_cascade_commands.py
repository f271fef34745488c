"""`hlm test` and `hlm predict` of a cascade: the rows, the columns, the scores."""

import json
import shutil
from functools import partial
from statistics import median

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyarrow import csv
from sklearn.metrics import f1_score

from hierarchy_lm.hierarchy import Hierarchy

from ..conftest import shop_tree
from .cascade_runs import run_cascade
from .conftest import assert_refused

COLUMNS = {
    "item_id": pa.string(),
    "department": pa.string(),
    "department_key": pa.string(),
    "leaf": pa.string(),
    "path": pa.string(),
    "key": pa.string(),
    "p_department": pa.float32(),
    "p_leaf": pa.float32(),
    "confidence": pa.float32(),
    "alternatives": pa.list_(
        pa.struct([("path", pa.string()), ("key", pa.string()), ("confidence", pa.float32())])
    ),
    "decision": pa.string(),
    "reason": pa.string(),
}


@pytest.fixture
def run(hlm, shop, cascade, tmp_path):
    return partial(run_cascade, hlm, cascade, tmp_path / "runs", dataset=shop)


@pytest.fixture
def predict(run, tmp_path):
    def call(*options, **changes):
        shutil.rmtree(tmp_path / "runs", ignore_errors=True)
        status, _, err = run("predict", *options, **changes)
        assert status == 0, err
        return pq.read_table(tmp_path / "runs" / "version_0" / "predictions" / "part-00000.parquet")

    return call


@pytest.fixture
def scores(run, tmp_path):
    def call(*options):
        shutil.rmtree(tmp_path / "runs", ignore_errors=True)
        status, _, err = run("test", *options)
        assert status == 0, err
        return json.loads((tmp_path / "runs" / "version_0" / "test.json").read_text())

    return call


def test_answers_carry_the_keys_of_the_shop(predict, shop):
    tree = pq.read_table(shop / "hierarchy.parquet")
    key_of = dict(zip(tree["path"].to_pylist(), tree["key"].to_pylist(), strict=True)) | {
        None: None
    }
    rows = predict("--model.top_departments=2").to_pylist()
    for row in rows:
        assert row["key"] == key_of[row["path"]]
        assert row["department_key"] == key_of[row["department"]]
        for answer in row["alternatives"]:
            assert answer["key"] == key_of[answer["path"]]
    assert {row["path"]: row["key"] for row in rows}["Home: Garden > Seeds"] is not None
    for column in ("key", "department_key"):
        assert len({row[column] for row in rows}) > 2
        assert None in {row[column] for row in rows}


def item_ids(dataset, split):
    return pq.read_table(sorted((dataset / "products").glob(f"{split}-*.parquet")))["item_id"]


def calibration(folder, **values):
    record = {"department_temperature": 1.0, "leaf_temperature": 1.0, **values}
    (folder / "calibration.json").write_text(json.dumps(record))


@pytest.mark.parametrize("split", ["test", "train"])
def test_predictions_hold_every_item_once_with_or_without_labels(predict, shop, split):
    table = predict(f"--data.predict_split={split}", "--data.window=40")
    assert sorted(table["item_id"].to_pylist()) == sorted(item_ids(shop, split).to_pylist())
    assert dict(zip(table.schema.names, table.schema.types, strict=True)) == COLUMNS


def test_columns_fit_each_other(predict):
    tree = shop_tree()
    for row in predict("--model.top_departments=3", "--model.alternatives=4").to_pylist():
        assert row["department"] in tree.names[: tree.level_sizes[0]]
        if row["leaf"] is None:
            assert row["path"] is None
            assert row["confidence"] == row["p_leaf"] == 0
            continue
        assert row["path"] == f"{row['department']} > {row['leaf']}"
        assert row["confidence"] == pytest.approx(row["p_department"] * row["p_leaf"], abs=1e-6)
        assert len(row["alternatives"]) == 4
        best = row["alternatives"][0]
        assert (best["path"], best["confidence"]) == (row["path"], row["confidence"])
        stated = [other["confidence"] for other in row["alternatives"]]
        assert stated == sorted(stated, reverse=True)
        assert all(tree.is_leaf[tree.node_of(other["path"])] for other in row["alternatives"])


def test_windows_change_no_prediction(predict):
    large = predict().sort_by("item_id").to_pylist()
    small = predict("--data.window=1", "--model.memory_mib=0").sort_by("item_id").to_pylist()
    for one, other in zip(large, small, strict=True):
        assert one["decision"] == other["decision"]
        assert one["path"] == other["path"]
        assert one["confidence"] == pytest.approx(other["confidence"], abs=1e-5)


def test_decisions_follow_the_thresholds(predict, cascade, shop):
    plain = [row for row in predict().to_pylist() if row["leaf"]]
    leaf_cut = median(row["confidence"] for row in plain)
    rest = [row["p_department"] for row in plain if row["confidence"] < leaf_cut]
    department_cut = median(rest)
    calibration(cascade, leaf_threshold=leaf_cut, department_threshold=department_cut)
    empty = 0
    seen = set()
    for row in predict().to_pylist():
        if row["leaf"] is None:
            expected = ("abstain", "no_text")
            empty += 1
        elif row["confidence"] >= leaf_cut:
            expected = ("leaf", "accepted")
        elif row["p_department"] >= department_cut:
            expected = ("department", "below_threshold")
        else:
            expected = ("abstain", "below_threshold")
        assert (row["decision"], row["reason"]) == expected
        seen.add(expected)
    assert len(seen) == 4
    assert empty == 2


def test_thresholds_out_of_reach_accept_nothing(predict, cascade):
    calibration(cascade, leaf_threshold=None, department_threshold=None)
    rows = predict().to_pylist()
    assert {row["decision"] for row in rows} == {"abstain"}
    assert {row["reason"] for row in rows} == {"below_threshold", "no_text"}
    assert sum(row["leaf"] is not None for row in rows) == len(rows) - 2  # still told


def test_calibration_can_be_left_out(predict, cascade):
    calibration(cascade, leaf_threshold=None, leaf_temperature=9.0)
    decisions = {row["decision"] for row in predict("--model.calibrated=false").to_pylist()}
    assert decisions == {"leaf", "abstain"}


def test_a_dataset_without_any_label_is_predicted_but_not_tested(run, predict, shop, tmp_path):
    bare = tmp_path / "bare"
    shutil.copytree(shop, bare, ignore=shutil.ignore_patterns(".cache"))
    for shard in (bare / "products").glob("test-*.parquet"):
        table = pq.read_table(shard)
        empty = pa.array([[]] * len(table), table.schema.field("node_ids").type)
        place = table.schema.get_field_index("node_ids")
        pq.write_table(table.set_column(place, table.schema.field(place), empty), shard)
    assert len(predict(dataset=bare)) == len(item_ids(shop, "test"))
    assert_refused(run("test", dataset=bare), "test split", "label")


def test_scores_agree_with_a_slow_count_of_the_kept_answers(scores, cascade, shop):
    found = scores("--data.window=40", "--model.top_departments=2")
    tree = Hierarchy.from_parquet(cascade / "hierarchy.parquet")
    rows = pq.read_table(sorted((cascade / "evaluation" / "test").glob("*.parquet"))).to_pylist()
    gold = {
        row["item_id"]: (row["node_ids"], row["weight"])
        for row in pq.read_table(sorted((shop / "products").glob("test-*.parquet"))).to_pylist()
        if row["node_ids"]
    }
    assert sorted(row["item_id"] for row in rows) == sorted(gold)
    weight = department_right = leaf_right = 0.0
    hits = predicted_nodes = gold_nodes = 0
    true_roots, told_roots = [], []
    for row in rows:
        nodes, importance = gold[row["item_id"]]
        assert sorted(row["gold"]) == sorted(nodes)
        assert row["weight"] == importance
        path = {node for end in nodes for node in [*tree.ancestors(end), end]}
        end = row["leaf"] if row["leaf"] >= 0 else row["department"]
        told = {*tree.ancestors(end), end}
        weight += importance
        department_right += importance * (row["department"] in path)
        leaf_right += importance * (row["leaf"] in nodes)
        hits += len(told & path)
        predicted_nodes += len(told)
        gold_nodes += len(path)
        roots = [int(node in path) for node in range(tree.level_sizes[0])]
        true_roots.append(roots)
        told_roots.append([int(node == row["department"]) for node in range(len(roots))])
    assert found["test/department_accuracy"] == pytest.approx(department_right / weight)
    assert found["test/leaf_accuracy"] == pytest.approx(leaf_right / weight)
    assert found["test/hierarchical_precision"] == pytest.approx(hits / predicted_nodes)
    assert found["test/hierarchical_recall"] == pytest.approx(hits / gold_nodes)
    weighted = f1_score(true_roots, told_roots, average="weighted", zero_division=0)
    assert found["test/weighted_f1_L1"] == pytest.approx(weighted)
    assert found["test/coverage_at_0.90"] == pytest.approx(slow_coverage(rows, 0.9), abs=1e-6)
    assert 0.3 < found["test/leaf_accuracy"] < 1


def test_scores_by_department_and_by_threshold_are_written(scores, cascade, tmp_path):
    scores()
    run = tmp_path / "runs" / "version_0"
    tree = Hierarchy.from_parquet(cascade / "hierarchy.parquet")
    rows = pq.read_table(sorted((cascade / "evaluation" / "test").glob("*.parquet"))).to_pylist()
    table = csv.read_csv(run / "test_departments.csv").to_pylist()
    assert [str(row["department"]) for row in table] == tree.paths[: tree.level_sizes[0]]
    for root, found in enumerate(table):
        own = [row for row in rows if root in {tree.roots[node] for node in row["gold"]}]
        wrong = sum(row["weight"] for row in own if row["leaf"] not in row["gold"])
        assert found["items"] == len(own)
        assert found["weight"] == pytest.approx(sum(row["weight"] for row in own))
        assert found["error_weight"] == pytest.approx(wrong)
    curve = csv.read_csv(run / "test_curve.csv").to_pylist()
    total = sum(row["weight"] for row in rows)
    for step in curve[::5]:
        kept = [row for row in rows if row["confidence"] >= step["threshold"]]
        assert step["items"] == len(kept)
        assert step["coverage"] == pytest.approx(sum(row["weight"] for row in kept) / total)
    assert len({step["items"] for step in curve}) == len(curve) > 20


def slow_coverage(rows, target):
    total, best = sum(row["weight"] for row in rows), 0.0
    for cut in (n / 10_000 for n in range(10_001)):
        kept = [row for row in rows if row["confidence"] >= cut]
        weight = sum(row["weight"] for row in kept)
        right = sum(row["weight"] for row in kept if row["leaf"] in row["gold"])
        if weight and right / weight >= target:
            best = max(best, weight / total)
    return best


def test_each_evaluation_replaces_the_one_before(scores, cascade):
    first = scores()
    (cascade / "evaluation" / "test" / "part-00007.parquet").write_bytes(b"of another run")
    assert scores() == first
    assert [file.name for file in (cascade / "evaluation" / "test").glob("part-*")] == [
        "part-00000.parquet"
    ]


def test_bfloat16_throughout(scores, predict):
    full = scores()
    half = scores("--trainer.precision=bf16-true")
    assert half["test/leaf_accuracy"] == pytest.approx(full["test/leaf_accuracy"], abs=0.1)
    rows = predict("--trainer.precision=bf16-true").to_pylist()
    assert all(0 <= row["confidence"] <= 1 for row in rows)
