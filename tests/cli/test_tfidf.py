"""`hlm tfidf` against scikit-learn called directly, and its run folder in the other commands."""

import json
from importlib.util import find_spec

import numpy as np
import pyarrow.parquet as pq
import pytest
import yaml
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.metrics import f1_score
from sklearn.multiclass import OneVsRestClassifier
from sklearn.svm import LinearSVC

from hierarchy_lm import tfidf
from hierarchy_lm.hierarchy import Hierarchy

from .conftest import EXPERIMENTS

CONFIG = EXPERIMENTS / "baselines" / "tfidf.yaml"
QUIET = ["--model.jobs=1", "--trainer.enable_progress_bar=false"]


@pytest.fixture
def run(hlm, catalogue, tmp_path):
    """A run on the catalogue; its folder."""

    def train(*options):
        root = tmp_path / "runs"
        status, _, err = hlm(
            *("tfidf", "--config", CONFIG, *QUIET, f"--data.dataset={catalogue}"),
            *(f"--trainer.default_root_dir={root}", *options),
        )
        assert status == 0, err
        return max(root.iterdir())

    return train


def read(folder, split, label_column="label_ids"):
    """Texts, label lists and ids of a split, by plain Python."""
    rows = [row for f in sorted(folder.glob(f"{split}-*")) for row in pq.read_table(f).to_pylist()]
    rows = [row for row in rows if row[label_column]]
    texts = [
        " ".join(
            part
            for part in [
                row.get("query"),
                row["title"],
                row["description"],
                *(row["bullet_points"] or []),
            ]
            if part
        )
        for row in rows
    ]
    return texts, [row[label_column] for row in rows], [row["item_id"] for row in rows]


def items_of(folder):
    table = pq.read_table(folder / "test_items" / "part-00000.parquet")
    return {row["item_id"]: (row["gold"], row["predicted"]) for row in table.to_pylist()}


def test_a_task_is_scored_as_by_scikit_learn(run, catalogue):
    folder = catalogue / "tasks" / "product_categorisation"
    texts, labels, _ = read(folder, "train")
    asked, gold, ids = read(folder, "test")
    vectorizer = TfidfVectorizer(ngram_range=(1, 2), min_df=2, sublinear_tf=True)
    model = LinearSVC(random_state=0).fit(vectorizer.fit_transform(texts), np.ravel(labels))
    expected = model.predict(vectorizer.transform(asked))
    found = run("--data.task=product_categorisation")
    items = items_of(found)
    assert [items[name] for name in ids] == [
        (own, [label]) for own, label in zip(gold, expected.tolist(), strict=True)
    ]
    scores = json.loads((found / "test.json").read_text())
    num_labels = len(json.loads((folder / "task.json").read_text())["labels"])
    for average in ("micro", "macro", "weighted"):
        score = f1_score(
            np.ravel(gold), expected, labels=range(num_labels), average=average, zero_division=0
        )
        assert scores[f"test/{average}_f1"] == pytest.approx(score, abs=1e-6)
    assert scores["test/micro_f1"] > 0.3


def test_a_query_stands_in_front_and_every_label_is_asked(run, catalogue):
    folder = catalogue / "tasks" / "query_product"
    texts, labels, _ = read(folder, "train")
    asked, _, ids = read(folder, "test")
    vectorizer = TfidfVectorizer(min_df=3)
    model = LinearSVC(C=0.3, random_state=4).fit(vectorizer.fit_transform(texts), np.ravel(labels))
    found = run(
        *("--data.task=query_product", "--model.ngrams=1", "--model.min_df=3", "--model.cost=0.3"),
        *("--model.sublinear=false", "--seed_everything=4"),
    )
    items = items_of(found)
    predicted = [items[name][1][0] for name in ids]
    assert predicted == model.predict(vectorizer.transform(asked)).tolist()
    assert len(set(predicted)) > 1


def test_the_tree_is_scored_as_by_scikit_learn(run, catalogue):
    tree = Hierarchy.from_parquet(catalogue / "hierarchy.parquet")

    def multi_hot(lists):
        dense = np.zeros((len(lists), tree.num_nodes), dtype=int)
        for row, nodes in zip(dense, lists, strict=True):
            row[[*nodes, *(above for node in nodes for above in tree.ancestors(node))]] = 1
        return dense

    texts, linked, _ = read(catalogue / "products", "train", "node_ids")
    asked, gold, ids = read(catalogue / "products", "test", "node_ids")
    vectorizer = TfidfVectorizer(ngram_range=(1, 2), min_df=2, sublinear_tf=True)
    target = multi_hot(linked)
    assert 0 < target.any(axis=0).sum() < tree.num_nodes  # a node without a training product
    with pytest.warns(UserWarning, match="not 0 is present in all training examples|Label not"):
        model = OneVsRestClassifier(LinearSVC(random_state=0)).fit(
            vectorizer.fit_transform(texts), target
        )
    expected, truth = model.predict(vectorizer.transform(asked)), multi_hot(gold)
    found = run("--model.jobs=2")
    items = items_of(found)
    for row, own, name in zip(expected, truth, ids, strict=True):
        assert items[name] == (np.flatnonzero(own).tolist(), np.flatnonzero(row).tolist())
    scores = json.loads((found / "test.json").read_text())
    for level, (start, end) in enumerate(
        zip(tree.level_offsets[:-1], tree.level_offsets[1:], strict=True), start=1
    ):
        columns = slice(start, end)
        score = f1_score(truth[:, columns], expected[:, columns], average="micro", zero_division=0)
        assert scores[f"test/micro_f1_L{level}"] == pytest.approx(score, abs=1e-6)
    macro = f1_score(truth, expected, average="macro", zero_division=0)
    assert scores["test/macro_f1"] == pytest.approx(macro, abs=1e-6)
    assert scores["test/unanswered"] == pytest.approx((expected.sum(axis=1) == 0).mean(), abs=1e-6)
    record = json.loads((found / "run.json").read_text())
    fitted = int(((target.sum(axis=0) > 0) & (target.sum(axis=0) < len(target))).sum())
    assert record["parameters"]["total"] == fitted * (len(vectorizer.vocabulary_) + 1)


def test_run_folder_is_that_of_any_run(run, hlm, catalogue, tmp_path):
    first = run("--data.task=local_financial")
    record = json.loads((first / "run.json").read_text())
    assert (record["state"], record["seed"]) == ("finished", 0)
    assert record["metrics"].keys() >= {"val/micro_f1", "test/micro_f1", "test/macro_f1"}
    assert record["dataset"]["path"] == str(catalogue)
    assert record["config"] == yaml.safe_load((first / "config.yaml").read_text())
    status, _, err = hlm("tfidf", "--config", first / "config.yaml")
    assert status == 0, err
    second = first.with_name("version_1")
    assert (second / "test.json").read_text() == (first / "test.json").read_text()
    table = tmp_path / "table.md"
    status, _, err = hlm("compare", first, second, f"--output={table}")
    assert status == 0, err
    assert "| local_financial | micro F1 |" in table.read_text()
    assert "TfidfLinear" in table.read_text()
    status, _, err = hlm("report", first, second, f"--output={tmp_path / 'report.html'}")
    assert status == 0, err


def test_sweeps_and_tables_take_it(hlm, catalogue, tmp_path):
    file = tmp_path / "words.yaml"
    file.write_text(
        yaml.safe_dump(
            {
                "method": "grid",
                "metric": {"name": "test/micro_f1"},
                "command": ["hlm", "tfidf", "--config", str(CONFIG), "${args}"],
                "parameters": {"data.task": {"values": ["local_financial", "global_financial"]}},
            }
        )
    )
    output = tmp_path / "sweep"
    status, _, err = hlm(
        *("sweep", file, f"--output={output}", "--baseline=false", "--seeds", "3"),
        *("--", f"--data.dataset={catalogue}", "--model.jobs=1"),
    )
    assert status == 0, err
    results = pq.read_table(output / "results.parquet").to_pylist()
    assert [row["state"] for row in results] == ["finished"] * 2
    assert all(row["test/micro_f1"] > 0 for row in results)
    status, out, err = hlm("table", "words", output)
    assert status == 0, err
    assert "global_financial" in out


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--model.min_df=5000"], "no word occurs in 5000 of the"),
        (["--model.cost=0"], "cost above 0"),
        (["--model.mindf=1"], "mindf"),
        (["--seed_everything=-1"], "seed_everything must be in"),
        (["--data.task=nothing"], "tasks/nothing"),
        (["--data.fields=[colour]"], "colour is none of title, description"),
        (["--trainer.max_epochs=1"], "max_epochs"),
    ],
)
def test_mistakes_end_in_one_line(hlm, catalogue, tmp_path, options, words):
    status, _, err = hlm(
        *("tfidf", "--config", CONFIG, *QUIET, f"--data.dataset={catalogue}"),
        *(f"--trainer.default_root_dir={tmp_path}", *options),
    )
    assert status == 2
    assert err.startswith("hlm: ")
    assert words in err
    assert len(err.splitlines()) == 1
    for file in tmp_path.glob("version_*/run.json"):
        assert json.loads(file.read_text())["state"] == "failed"


def test_without_scikit_learn_the_extra_is_named(hlm, monkeypatch):
    monkeypatch.setattr(
        tfidf, "find_spec", lambda name: None if name == "sklearn" else find_spec(name)
    )
    status, _, err = hlm("tfidf", "--config", CONFIG)
    assert status == 2
    assert err == (
        "hlm: hlm tfidf needs scikit-learn, which is not installed; run pip install "
        "'hierarchy-lm[tfidf]'\n"
    )
