"""The shipped mappings on the real files, with figures counted from those by other means."""

import csv
import gzip
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from hierarchy_lm.cli import main
from hierarchy_lm.dataset import read_dataset, read_task
from hierarchy_lm.hierarchy import Hierarchy

REPOSITORY = Path(__file__).parents[2]
MAPPINGS = REPOSITORY / "experiments" / "datasets"
DATA = REPOSITORY.parent / "shared" / "data"


def prepared(name, folder, root=DATA):
    needed = {"hm_both": "hm_articles", "hm": "hm_articles", "mwpd2020": "mwpd2020_gpc",
              "flipkart": "flipkart20k", "esci": ""}.get(name, name)  # fmt: skip
    if not (root / needed).is_dir():
        pytest.skip(f"the real data is not there: {root / needed}")
    output = folder / name
    config = str(MAPPINGS / f"{name}.yaml")
    assert main(["prepare", "--config", config, "--root", str(root), "--output", str(output)]) == 0
    return output


def counts(folder, place=""):
    found = read_dataset(folder).counts
    return [found[f"{place}{split}"] for split in ("train", "validation", "test")]


def level_sizes(folder):
    return Hierarchy.from_parquet(folder / "hierarchy.parquet").level_sizes


@pytest.mark.parametrize("file", sorted(MAPPINGS.glob("*.yaml")), ids=lambda file: file.stem)
def test_every_mapping_states_origin_and_licence(file):
    text = file.read_text(encoding="utf-8")
    assert text.startswith("#")
    assert {"name", "source", "licence"} <= set(yaml.safe_load(text))
    if file.stem != "hm_both":  # it refers to hm.yaml
        assert "# From:" in text
        assert "# Licence:" in text


def test_mwpd2020(tmp_path):
    folder = prepared("mwpd2020", tmp_path)
    assert counts(folder) == [10_012, 3_000, 3_107]
    assert counts(folder, "tasks/gpc_level3/") == [10_012, 3_000, 3_107]
    assert level_sizes(folder) == [37, 76, 284]
    # One name stands below two parents; the official labels are names.
    assert len(read_task(folder / "tasks/gpc_level3").labels) == 283
    report = (folder / "report.md").read_text(encoding="utf-8")
    assert "106 of validation, 3 of test" in report
    assert "| train | 10,012 | 0 | 465 |" in report


def test_hm(tmp_path):
    folder = prepared("hm", tmp_path)
    assert sum(counts(folder)) == 105_542
    assert level_sizes(folder) == [5, 72, 985]
    assert len(read_task(folder / "tasks/department").labels) == 299
    assert len(read_task(folder / "tasks/section").labels) == 64
    assert "| 3 | 985 | 105,542 | 0 | 56 | 364 |" in (folder / "report.md").read_text()
    assert sum(counts(folder, "tasks/department/")) == 105_542
    assert 24_000 < counts(folder, "tasks/section/")[0] < 26_000
    groups = [
        {
            item[:-3]
            for item in pq.read_table(folder / f"products/{split}-00000.parquet")[
                "item_id"
            ].to_pylist()
        }
        for split in ("train", "validation", "test")
    ]  # an article id is the product code and three digits
    assert sum(map(len, groups)) == len(set.union(*groups)) == 47_224


def test_hm_both(tmp_path):
    folder = prepared("hm_both", tmp_path)
    assert level_sizes(folder) == [5, 72 + 10, 985 + 64, 299]
    nodes = pq.read_table(folder / "products/test-00000.parquet")["node_ids"]
    assert set(pa.compute.list_value_length(nodes).to_pylist()) == {2}


def test_flipkart(tmp_path):
    folder = prepared("flipkart", tmp_path)
    assert sum(counts(folder)) == 20_000
    with gzip.open(DATA / "flipkart20k/flipkart20k_id_title_tree_noheader.csv.gz", "rt") as stream:
        rows = list(csv.reader(stream))
    paths, dropped = set(), 0
    for _, title, text in rows:
        names = [" ".join(name.split()) for name in text.strip('["]').split(" >> ")]
        if names[-1].lower().startswith(" ".join(title.lower().split())[:15]):
            dropped += 1
            names = names[:-1]
        paths.update(tuple(names[:depth]) for depth in range(1, len(names) + 1))
    sizes = [sum(len(path) == depth for path in paths) for depth in range(1, 8)]
    assert level_sizes(folder) == sizes
    assert f"last name like the title: {dropped:,}" in (folder / "report.md").read_text()


def test_crowdflower(tmp_path):
    folder = prepared("crowdflower", tmp_path)
    assert sum(counts(folder, "tasks/relevance/")) == 10_158
    task = read_task(folder / "tasks/relevance")
    assert (task.labels, task.pair) == (["1", "2", "3", "4"], True)
    tables = [pq.read_table(path) for path in (folder / "tasks/relevance").glob("*.parquet")]
    labels = [label for table in tables for [label] in table["label_ids"].to_pylist()]
    assert [labels.count(label) for label in range(4)] == [774, 1_476, 1_737, 6_171]
    queries = [set(table["query"].to_pylist()) for table in tables]
    assert sum(map(len, queries)) == len(set.union(*queries)) == 261


def test_home_depot(tmp_path):
    folder = prepared("home_depot", tmp_path)
    assert sum(counts(folder, "tasks/relevance/")) == 74_067
    labels = read_task(folder / "tasks/relevance").labels
    assert labels == ["1", "1.25", "1.33", "1.5", "1.67", "1.75", "2", "2.25", "2.33", "2.5",
                      "2.67", "2.75", "3"]  # fmt: skip


def test_esci_with_the_published_schema(tmp_path):
    sample = DATA / "esci_partial/sample_2c_full_data.csv.gz"
    if not sample.is_file():
        pytest.skip(f"the real data is not there: {sample}")
    with gzip.open(sample, "rt", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    product = [name for name in rows[0] if name.startswith("product_")]
    keys = ["product_id", "product_locale"]
    examples = [{k: v for k, v in row.items() if k in keys or k not in product} for row in rows]
    for row in examples:
        row["large_version"] = int(row["large_version"])
        row["example_id"] = int(row["example_id"])
    products = [{k: row[k] for k in product} for row in rows]
    stem = tmp_path / "shopping_queries_dataset"
    pq.write_table(pa.Table.from_pylist(examples), f"{stem}_examples.parquet")
    pq.write_table(pa.Table.from_pylist(products), f"{stem}_products.parquet")
    folder = prepared("esci", tmp_path / "out", tmp_path)
    found = counts(folder, "tasks/esci/")
    assert sum(found) == 485
    assert found[1] > 0
    assert found[2] == 0
    table = pq.read_table(folder / "tasks/esci/train-00000.parquet")
    by_id = {row["example_id"]: row for row in rows}
    for row in table.to_pylist():
        source = by_id[row["item_id"]]
        assert row["title"] == source["product_title"]
        assert row["query"] == source["query"]
        bullets = [part.strip() for part in source["product_bullet_point"].split("\n")]
        assert (row["bullet_points"] or []) == [part for part in bullets if part]
    assert read_task(folder / "tasks/esci").labels == ["E", "S", "C", "I"]
