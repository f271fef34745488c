"""What a test run keeps of each item agrees with what it logged, by scikit-learn."""

import csv
import json
from itertools import pairwise

import numpy as np
import pyarrow.parquet as pq
import pytest
from sklearn.metrics import accuracy_score, f1_score
from sklearn.preprocessing import MultiLabelBinarizer

from .conftest import EXPERIMENTS, TINY
from .test_ddp import options, run


def fit_and_test(hlm, catalogue, experiment, *extra):
    status, _, err = hlm(
        *("fit", "--config", EXPERIMENTS / experiment, *TINY, f"--data.dataset={catalogue}"),
        *("--test_after_fit=true", "--trainer.default_root_dir=run"),
        *("--trainer.limit_train_batches=4", "--trainer.limit_val_batches=2", *extra),
    )
    assert status == 0, err


def read(run_folder):
    parts = sorted((run_folder / "test_items").iterdir())
    assert [part.suffix for part in parts] == [".parquet"] * len(parts)
    return pq.read_table(parts)


def multi_hot(table):
    labels = range(int(table.schema.metadata[b"num_labels"]))
    hot = MultiLabelBinarizer(classes=list(labels))
    return (hot.fit_transform(table[name].to_pylist()) for name in ("gold", "predicted"))


def root(node, parents):
    return node if parents[node] < 0 else root(parents[node], parents)


def test_items_of_a_classifier_give_its_logged_scores(hlm, catalogue, tmp_path):
    fit_and_test(hlm, catalogue, "department.yaml")
    table = read(tmp_path / "run/version_0")
    logged = json.loads((tmp_path / "run/version_0/test.json").read_text())
    products = pq.read_table(sorted((catalogue / "products").glob("test-*.parquet")))
    labelled = {
        row["item_id"]: (row["node_ids"], row["weight"])
        for row in products.to_pylist()
        if row["node_ids"]
    }
    assert len(table) == len(labelled)
    parents = pq.read_table(catalogue / "hierarchy.parquet")["parent_id"].to_pylist()
    for row in table.to_pylist():
        nodes, weight = labelled.pop(row["item_id"])  # an item that is there twice is missed here
        assert row["gold"] == sorted({root(node, parents) for node in nodes})
        assert row["weight"] == weight
    gold, predicted = multi_hot(table)
    right = (gold & predicted).any(axis=1)
    accuracy = accuracy_score(right, np.ones(len(right)), sample_weight=table["weight"].to_numpy())
    assert logged["test/accuracy"] == pytest.approx(accuracy, abs=1e-6)
    micro = f1_score(gold, predicted, average="micro", zero_division=0)
    macro = f1_score(gold, predicted, average="macro", zero_division=0)
    assert logged["test/micro_f1"] == pytest.approx(micro, abs=1e-6)
    assert logged["test/macro_f1"] == pytest.approx(macro, abs=1e-6)
    status, _, err = hlm("table", "bootstrap", "run", "--against=T_gate = 0", "--output=table.csv")
    assert status == 0, err
    with open("table.csv") as file:
        cells = {(row["row"], row["column"]): row for row in csv.DictReader(file)}
    cell = cells["T_gate = 0", "β = 0.9"]  # what the experiment's own options are
    assert float(cell["mean"]) == pytest.approx(accuracy, abs=1e-6)
    assert cell["items"] == str(len(table))


def test_items_of_a_pretrainer_hold_nodes_of_all_levels(hlm, catalogue, tmp_path):
    fit_and_test(hlm, catalogue, "sst.yaml", "--model.decode.constraint=top1")
    table = read(tmp_path / "run/version_0")
    logged = json.loads((tmp_path / "run/version_0/test.json").read_text())
    offsets = json.loads(table.schema.metadata[b"level_offsets"])
    gold, predicted = multi_hot(table)
    assert offsets[-1] == gold.shape[1]
    for level, (start, end) in enumerate(pairwise(offsets), start=1):
        score = f1_score(
            gold[:, start:end], predicted[:, start:end], average="micro", zero_division=0
        )
        assert logged[f"test/micro_f1_L{level}"] == pytest.approx(score, abs=1e-6)
    for name in ("gold", "predicted"):
        assert all(ids == sorted(set(ids)) for ids in table[name].to_pylist())


def test_items_of_a_multi_class_task_hold_one_label_each(hlm, catalogue, tmp_path):
    fit_and_test(hlm, catalogue, "finetune_pc.yaml")
    table = read(tmp_path / "run/version_0")
    logged = json.loads((tmp_path / "run/version_0/test.json").read_text())
    gold, predicted = (np.concatenate(table[name].to_pylist()) for name in ("gold", "predicted"))
    assert len(gold) == len(predicted) == len(table)
    labels = range(int(table.schema.metadata[b"num_labels"]))
    assert logged["test/micro_f1"] == pytest.approx(accuracy_score(gold, predicted), abs=1e-6)
    macro = f1_score(gold, predicted, labels=labels, average="macro", zero_division=0)
    assert logged["test/macro_f1"] == pytest.approx(macro, abs=1e-6)
    supported = f1_score(gold, predicted, labels=np.unique(gold), average="macro", zero_division=0)
    assert logged["test/macro_f1_supported"] == pytest.approx(supported, abs=1e-6)


@pytest.mark.ddp
@pytest.mark.slow
def test_two_ranks_write_each_item_once(catalogue, tmp_path):
    fitted = tmp_path / "fit"
    run(
        *("fit", *options(catalogue, 1), "--trainer.limit_train_batches=2"),
        f"--trainer.default_root_dir={fitted}",
    )
    checkpoint = fitted / "version_0/checkpoints/last.ckpt"
    tables = []
    for ranks in (1, 2):
        root = tmp_path / str(ranks)
        run(
            *("test", *options(catalogue, ranks), f"--ckpt_path={checkpoint}"),
            f"--trainer.default_root_dir={root}",
        )
        tables.append(read(root / "version_0").sort_by("item_id"))
        assert len(list((root / "version_0/test_items").iterdir())) == ranks
    products = pq.read_table(sorted((catalogue / "products").glob("test-*.parquet")))
    labelled = [row["item_id"] for row in products.to_pylist() if row["node_ids"]]
    assert tables[1]["item_id"].to_pylist() == sorted(labelled)
    assert tables[0].to_pylist() == tables[1].to_pylist()
