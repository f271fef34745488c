"""Tasks on products: their nodes, a share of their rows, and colour variants that stay together."""

import hashlib
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from benchmarks.export_catalogue import export_catalogue
from hierarchy_lm.cli import main

from .conftest import Prepared, run

REPOSITORY = Path(__file__).parents[2]
HM = REPOSITORY / "experiments" / "datasets" / "hm.yaml"
JOINT = REPOSITORY / "benchmarks" / "transfer" / "hm_flipkart.yaml"
CODES, COLOURS = 300, 4


def article(code: int, colour: int) -> dict[str, str]:
    """Chains cross: merchandise by the last digit of the code, organisation by the one before."""
    return {
        "article_id": f"{code:04d}{colour:02d}",
        "product_code": f"{code:04d}",
        "prod_name": f"piece {code}",
        "detail_desc": f"in colour {colour}",
        "index_group_name": "Group",
        "garment_group_name": f"Garment {code % 2}",
        "product_type_name": f"Type {code % 10}",
        "index_name": f"Index {code // 10 % 2}",
        "section_name": f"Section {code // 10 % 4}",
        "department_name": f"Department {code // 10 % 8}",
    }


@pytest.fixture(scope="module")
def articles(tmp_path_factory) -> Prepared:
    """A made-up catalogue of the form of H&M's, by the shipped mapping."""
    root = tmp_path_factory.mktemp("articles")
    rows = [article(code, colour) for code in range(CODES) for colour in range(COLOURS)]
    (root / "hm_articles").mkdir()
    pq.write_table(pa.Table.from_pylist(rows), root / "hm_articles" / "articles.parquet")
    assert run(root, yaml.safe_load(HM.read_text(encoding="utf-8"))) == 0
    return Prepared(root / "out")


def code_of(item: str) -> str:
    return item[:4]


def codes_by_split(rows: dict[str, dict]) -> dict[str, set[str]]:
    found = {"train": set(), "validation": set(), "test": set()}
    for item, row in rows.items():
        found[row["split"]].add(code_of(item))
    return found


def assert_apart(first: dict[str, set[str]], second: dict[str, set[str]]) -> None:
    for split, codes in first.items():
        assert codes
        for other, others in second.items():
            assert split == other or not codes & others, (split, other)


@pytest.mark.parametrize("task", ["department", "section"])
def test_no_colour_variant_stands_in_two_splits_of_products_and_tasks(articles, task):
    products = codes_by_split(articles.rows())
    rows = codes_by_split(articles.rows(f"tasks/{task}"))
    assert_apart(rows, rows)
    assert_apart(rows, products)


def test_the_tasks_labels_are_the_chain_that_the_tree_lacks(articles):
    assert len(articles.task("department").labels) == 8
    assert len(articles.task("section").labels) == 4
    for item, [label] in articles.labels("department").items():
        number = int(code_of(item)) // 10
        names = ["Group", f"Index {number % 2}", f"Section {number % 4}"]
        assert label == " > ".join([*names, f"Department {number % 8}"])
    assert not any("Index" in path or "Department" in path for path in articles.paths)


def test_rows_of_a_task_have_their_product_s_nodes(articles):
    paths, products = articles.paths, articles.rows()
    for task in ("department", "section"):
        for item, row in articles.rows(f"tasks/{task}").items():
            code = int(code_of(item))
            assert row["node_ids"] == products[item]["node_ids"]
            names = [paths[node] for node in row["node_ids"]]
            assert names == [f"Group > Garment {code % 2} > Type {code % 10}"]


def test_a_share_keeps_whole_groups_and_their_splits(articles):
    """Digits 9 to 16 of the group's MD5, below 0.3 of their range."""
    kept = {
        f"{code:04d}"
        for code in range(CODES)
        if int(hashlib.md5(f"{code:04d}".encode()).hexdigest()[8:16], 16) < 0.3 * 16**8
    }
    assert 60 < len(kept) < 120
    section, department = (articles.rows(f"tasks/{name}") for name in ("section", "department"))
    assert len(department) == CODES * COLOURS
    assert len(section) == len(kept) * COLOURS
    assert {code_of(item) for item in section} == kept
    assert all(row["split"] == department[item]["split"] for item, row in section.items())
    lost = (CODES - len(kept)) * COLOURS
    assert f"tasks.section: rows left out by 'share': {lost}" in articles.report


def test_two_shops_in_one_tree_keep_their_splits(articles, tmp_path):
    other = "\n".join(["id,t,c", *[f"f{n},thing {n},Things/Kind {n % 3}" for n in range(100)]])
    (tmp_path / "p.csv").write_text(other, encoding="utf-8")
    paths = [{"column": "c", "separator": "/"}]
    products = {"input": {"files": "p.csv"}, "item_id": "id", "title": "t", "paths": paths}
    assert run(tmp_path, {"products": products}) == 0
    shop = Prepared(tmp_path / "out")
    export_catalogue(articles.folder, tmp_path / "catalogues" / "hm")
    export_catalogue(shop.folder, tmp_path / "catalogues" / "flipkart")
    places = ["--root", str(tmp_path / "catalogues"), "--output", str(tmp_path / "joint")]
    assert main(["prepare", "--config", str(JOINT), "--threads", "1", *places]) == 0
    joint = Prepared(tmp_path / "joint")
    assert sorted(joint.paths) == sorted([*articles.paths, *shop.paths])
    assert joint.nodes() == articles.nodes() | shop.nodes()
    splits = {item: row["split"] for item, row in (articles.rows() | shop.rows()).items()}
    assert {item: row["split"] for item, row in joint.rows().items()} == splits


def test_pairs_are_linked_by_the_product_s_id(tmp_path, prepare):
    (tmp_path / "p.csv").write_text("id,t,c\na,x,A/B\nb,y,A/C\nc,z,\n")
    (tmp_path / "q.csv").write_text("id,q,p,l\n1,s,b,0\n2,s,a,1\na,s,zz,0\n4,s,,1\n5,s,c,0\n")
    paths = [{"column": "c", "separator": "/"}]
    pairs = {"input": {"files": "q.csv"}, "item_id": "id", "query": "q", "label": "l"}
    mapping = {
        "products": {"input": {"files": "p.csv"}, "item_id": "id", "title": "t", "paths": paths},
        "tasks": {"linked": pairs | {"product_id": "p"}, "own_id": pairs},
    }
    made = prepare(mapping)
    found = {
        task: {
            item: row["node_ids"] and [made.paths[node] for node in row["node_ids"]]
            for item, row in made.rows(f"tasks/{task}").items()
        }
        for task in ("linked", "own_id")
    }
    none = dict.fromkeys(["1", "2", "a", "4", "5"])
    assert found["linked"] == none | {"1": ["A > C"], "2": ["A > B"]}
    assert found["own_id"] == none | {"a": ["A > B"]}
    assert "tasks.linked: rows whose product has no node: 3" in made.report
    assert "tasks.own_id: rows whose product has no node: 4" in made.report


def test_a_task_of_other_products_has_no_column_of_nodes(tmp_path, prepare):
    (tmp_path / "p.csv").write_text("id,t,c\na,x,A\n")
    (tmp_path / "q.csv").write_text("id,t,l\n1,s,0\n2,s,1\n")
    task = {"input": {"files": "q.csv"}, "item_id": "id", "title": "t", "label": "l"}
    paths = [{"columns": ["c"]}]
    made = prepare(
        {
            "products": {"input": {"files": "p.csv"}, "item_id": "id", "paths": paths},
            "tasks": {"t1": task},
        }
    )
    for file in (made.folder / "tasks" / "t1").glob("*.parquet"):
        assert "node_ids" not in pq.read_schema(file).names


@pytest.mark.parametrize("share", [0, 1.2])
def test_an_impossible_share(tmp_path, error_of, share):
    (tmp_path / "p.csv").write_text("id,t,l\n1,s,0\n")
    task = {"input": {"files": "p.csv"}, "item_id": "id", "label": "l", "split": {"share": share}}
    assert "tasks.t1: split.share must be above 0 and at most 1" in error_of(
        {"tasks": {"t1": task}}
    )
