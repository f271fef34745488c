"""Hierarchy prediction through the command: the scores are those of the predictions it writes."""

import json
from functools import cache

import numpy as np
import pyarrow.parquet as pq
import pytest
from sklearn.metrics import f1_score

from hierarchy_lm.cli import main

from .conftest import EXPERIMENTS, TINY

SST = ("--config", EXPERIMENTS / "sst.yaml", *TINY)
DECODINGS = {
    "none": ["none"],
    "parent": ["parent", "0.15"],
    "top1": ["top1"],
    "top1 above": ["top1", "0.15"],
}


@pytest.fixture(scope="module")
def run(catalogue, tmp_path_factory):
    root = tmp_path_factory.mktemp("hierarchy_prediction")
    hlm_or_fail("fit", catalogue, root, "--trainer.max_epochs=6")
    return root / "version_0"


def hlm_or_fail(command, catalogue, root, *flags):
    argv = (command, *SST, f"--data.dataset={catalogue}", f"--trainer.default_root_dir={root}")
    assert main([*map(str, argv), *flags]) == 0


@pytest.fixture(scope="module")
def gold(catalogue):
    """Nodes of the labelled test items with all above them, and the tree's columns."""
    tree = pq.read_table(catalogue / "hierarchy.parquet").to_pydict()
    nodes = {}
    for shard in catalogue.glob("products/test-*.parquet"):
        for row in pq.read_table(shard, columns=["item_id", "node_ids"]).to_pylist():
            if row["node_ids"]:
                nodes[row["item_id"]] = {
                    above for node in row["node_ids"] for above in lineage(tree["path"][node])
                }
    return nodes, tree


def lineage(path: str) -> list[str]:
    names = path.split(" > ")
    return [" > ".join(names[:depth]) for depth in range(1, len(names) + 1)]


@pytest.fixture(scope="module")
def decoded(run, catalogue, tmp_path_factory):
    """Test scores and predicted rows by decoding, each made once."""

    @cache
    def decoded(decoding):
        flags = zip(("constraint", "threshold"), DECODINGS[decoding], strict=False)
        options = [f"--model.decode.{key}={value}" for key, value in flags]
        root = tmp_path_factory.mktemp("decoded")
        for command in ("test", "predict"):
            hlm_or_fail(command, catalogue, root / command, *options, f"--ckpt_path={run}")
        scores = json.loads((root / "test" / "version_0" / "test.json").read_text())
        table = pq.read_table(root / "predict" / "version_0" / "predictions")
        return scores, {row["item_id"]: row for row in table.to_pylist()}

    return decoded


@pytest.mark.parametrize("decoding", DECODINGS)
def test_scores_are_those_of_the_written_predictions(decoding, decoded, gold):
    wanted, tree = gold
    scores, rows = decoded(decoding)
    predicted = {item: set(rows[item]["labels"]) for item in wanted}
    assert any(predicted.values())

    for level in range(1, max(tree["level"]) + 1):
        paths = [
            path for path, own in zip(tree["path"], tree["level"], strict=True) if own == level
        ]
        found, expected = (
            np.array([[path in nodes[item] for path in paths] for item in wanted])
            for nodes in (predicted, wanted)
        )
        micro = f1_score(expected, found, average="micro", zero_division=0)
        assert scores[f"test/micro_f1_L{level}"] == pytest.approx(micro, abs=1e-5)

    answered = [nodes for nodes in predicted.values() if nodes]
    whole = [nodes for nodes in answered if all(set(lineage(path)) <= nodes for path in nodes)]
    assert scores["test/path_consistency"] == pytest.approx(len(whole) / len(answered), abs=1e-5)
    assert scores["test/unanswered"] == pytest.approx(1 - len(answered) / len(predicted), abs=1e-5)


def test_rules_hold_for_every_predicted_item(decoded, gold):
    _, tree = gold
    depth = max(tree["level"])
    level_of = dict(zip(tree["path"], tree["level"], strict=True))
    scores, rows = decoded("parent")
    assert scores["test/path_consistency"] == scores["test/node_consistency"] == 1.0
    for row in rows.values():
        assert all(set(lineage(path)) <= set(row["labels"]) for path in row["labels"])
        assert all(score > 0.15 for score in row["scores"])
    _, rows = decoded("top1")
    for row in rows.values():
        assert [level_of[path] for path in row["labels"]] == list(range(1, depth + 1))


def test_a_threshold_that_is_no_probability_is_one_line(hlm, catalogue):
    status, _, err = hlm(
        *("fit", *SST, f"--data.dataset={catalogue}", "--model.decode.threshold=50")
    )
    assert status == 2
    (line,) = err.strip().splitlines()
    assert "decode.threshold must be a probability below 1, got 50" in line
