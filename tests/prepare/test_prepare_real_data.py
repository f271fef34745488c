"""The shipped mappings on the real files, held row by row to what Python's csv and json read."""

import csv
import gzip
import hashlib
import io
import json
import re
import zipfile
from collections import Counter, defaultdict

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from .catalogues import (
    DATA,
    MAPPINGS,
    SPLITS,
    Item,
    accounts,
    changes,
    check,
    check_tree,
    held_out,
    labels,
    path_of,
    plain,
    prepared,
    read_csv,
    rows_of,
    section,
    split_by,
    text,
    there,
)

BOILERPLATE = ("Make sure this fits by entering your model number.", "N/A")


@pytest.mark.parametrize("file", sorted(MAPPINGS.glob("*.yaml")), ids=lambda file: file.stem)
def test_every_mapping_states_origin_and_licence(file):
    content = file.read_text(encoding="utf-8")
    assert content.startswith("#")
    assert {"name", "source", "licence"} <= set(yaml.safe_load(content))
    if file.stem != "hm_both":  # it refers to hm.yaml
        assert "# From:" in content
        assert "# Licence:" in content


def test_mwpd2020(tmp_path):
    root = there("mwpd2020_gpc")
    folder = prepared("mwpd2020", tmp_path)
    items, level3, paths = {}, {}, set()
    for archive, splits in (("train_val", SPLITS[:2]), ("testset", SPLITS[2:])):
        with zipfile.ZipFile(root / f"task2_{archive}_with_labels.zip") as opened:
            members = [name for name in opened.namelist() if name.endswith(".json")]
            for split in splits:
                [member] = [name for name in members if split in name or len(members) == 1]
                for line in opened.read(member).decode().splitlines():
                    row = json.loads(line)
                    path = path_of([row["lvl1"], row["lvl2"], row["lvl3"]])
                    paths.add(path)
                    item = Item(split, text(row["Name"]), text(row["Description"]))
                    items[row["ID"]] = item._replace(names=labels(path))
                    level3[row["ID"]] = item._replace(names=frozenset([path[2]]))
    check(folder, items)
    check(folder, level3, "tasks/gpc_level3")
    assert check_tree(folder, paths) == [37, 76, 284]
    assert [count[2:] for count in accounts(folder)] == 2 * [
        (10_012, 10_012, "0"), (3_000, 3_000, "0"), (3_107, 3_107, "0")
    ]  # fmt: skip
    # One name stands below two parents; the official labels are names.
    assert len(set().union(*(row.names for row in level3.values()))) == 283
    report = (folder / "report.md").read_text(encoding="utf-8")
    assert "106 of validation, 3 of test" in report


MERCHANDISE = ("index_group_name", "garment_group_name", "product_type_name")
ORGANISATION = ("index_group_name", "index_name", "section_name", "department_name")


@pytest.mark.parametrize(
    ("name", "chains", "levels"),
    [
        ("hm", (MERCHANDISE,), [5, 72, 985]),
        ("hm_organisation", (ORGANISATION,), [5, 10, 64, 299]),
        ("hm_both", (MERCHANDISE, ORGANISATION), [5, 72 + 10, 985 + 64, 299]),
    ],
)
def test_hm(name, chains, levels, tmp_path):
    source = there("hm_articles/articles.parquet")
    folder = prepared(name, tmp_path)
    columns = {"article_id", "product_code", "prod_name", "detail_desc", *sum(chains, ())}
    columns |= {*ORGANISATION} if name == "hm" else set()
    items, tasks, paths = {}, {"department": {}, "section": {}}, set()
    forms = {}
    for row in pq.read_table(source, columns=sorted(columns)).to_pylist():
        key = str(row["product_code"])
        for chain in chains:
            raw = tuple(row[column] for column in chain)
            forms.setdefault(raw, path_of(raw))
        own = [forms[tuple(row[column] for column in chain)] for chain in chains]
        paths.update(own)
        item = Item(split_by(key), text(row["prod_name"]), text(row["detail_desc"]))
        items[str(row["article_id"])] = item._replace(names=labels(*own))
        if name == "hm":
            place = [plain(row[column]) for column in ORGANISATION]
            whole = item._replace(names=frozenset([" > ".join(place)]))
            tasks["department"][str(row["article_id"])] = whole
            if hashlib.md5(key.encode()).hexdigest()[8:16] < f"{round(0.3 * 16**8):08x}":
                short = item._replace(names=frozenset([" > ".join(place[:3])]))
                tasks["section"][str(row["article_id"])] = short
    assert len(items) == 105_542
    check(folder, items)
    assert check_tree(folder, paths) == levels
    if name == "hm":
        check(folder, tasks["department"], "tasks/department")
        check(folder, tasks["section"], "tasks/section")
        names = [set().union(*(row.names for row in rows.values())) for rows in tasks.values()]
        assert list(map(len, names)) == [299, 64]
        kept = len(tasks["section"])
        left = f"{105_542 - kept} left out by 'share'"
        assert accounts(folder)[-1][1:] == ("tasks.section", 105_542, kept, left)
        assert "| 3 | 985 | 105,542 | 0 | 56 | 364 |" in section(folder, "Tree")


def flipkart_items(rows):
    items, paths, cut = {}, set(), 0
    for key, title, description, tree in rows:
        [whole] = json.loads(tree)
        path = path_of(whole.split(" >> "))
        if path and path[-1].lower().startswith(plain(title).lower()[:15]):
            path, cut = path[:-1], cut + 1
        paths.add(path)
        items[key] = Item(split_by(title), title, text(description), (), labels(path))
    return items, paths, cut


def test_flipkart(tmp_path):
    source = there("flipkart20k/flipkart20k_id_title_tree_noheader.csv.gz")
    folder = prepared("flipkart", tmp_path)
    rows = read_csv(source, fieldnames=["key", "title", "tree"])
    items, paths, cut = flipkart_items((r["key"], r["title"], None, r["tree"]) for r in rows)
    assert len(items) == 20_000
    check(folder, items)
    assert check_tree(folder, paths) == [32, 186, 797, 1763, 1511, 1176, 21]
    assert changes(folder) == {"products: rows whose path lost a last name like the title": cut}
    assert accounts(folder)[0][1:] == ("products", 20_000, 20_000, "0")


def test_flipkart_with_descriptions(tmp_path):
    source = there("flipkart20k/flipkart_first_rows_all_columns.csv.gz")
    folder = prepared("flipkart_described", tmp_path)
    rows = read_csv(source)
    full = [row for row in rows if any(value.strip() for value in row.values())]
    items, paths, cut = flipkart_items(
        (r["uniq_id"], r["product_name"], r["description"], r["product_category_tree"])
        for r in full
    )
    check(folder, items)
    assert check_tree(folder, paths) == [22, 51, 148, 116, 83, 122]
    assert sum(row.description is None for row in items.values()) == 1
    empty = len(rows) - 999
    left = f"{empty:,} left out for being empty".replace(",", "")
    assert accounts(folder)[0][1:] == ("products", len(rows), 999, left)
    assert changes(folder) == {
        "products: rows left out for being empty": empty,
        "products: rows whose path lost a last name like the title": cut,
    }


def amazon_items(split):
    items, paths = {}, set()
    for row in read_csv(there("amazon_promptcloud_1k/test_sample_1000.csv.gz")):
        bullets = (part.strip() for part in row["About Product"].split(" | "))
        kept = tuple(part for part in bullets if part and part not in BOILERPLATE)
        path = path_of(row["Category"].split(" | "))
        paths.add(path)
        key = row["Uniq Id"]
        items[key] = Item(split or split_by(key), text(row["Product Name"]), None, kept,
                          frozenset() if split else labels(path))  # fmt: skip
    return items, paths


def test_amazon_sample(tmp_path):
    items, paths = amazon_items(None)
    folder = prepared("amazon_sample", tmp_path)
    check(folder, items)
    assert check_tree(folder, paths) == [19, 59, 154, 148, 106, 21, 3]
    assert sum(not row.names for row in items.values()) == 86
    assert accounts(folder)[0][2:] == (1_000, 1_000, "0")


def shopify(language):
    """Names from the root on, as they stand, by key."""
    with gzip.open(there(f"shopify_taxonomy/{language}.categories.txt.gz"), "rt", "utf-8") as file:
        lines = [line.strip() for line in file if line.strip() and not line.startswith("#")]
    pairs = [re.split(r"\s+:\s+", line, maxsplit=1) for line in lines]
    return {key: tuple(path.split(" > ")) for key, path in pairs}


@pytest.fixture(scope="module")
def english():
    return {key: path_of(names) for key, names in shopify("en").items()}


def test_shopify(english, tmp_path):
    folder = prepared("shopify", tmp_path)
    assert check_tree(folder, english.values()) == [26, 211, 1467, 3724, 3431, 1300, 386, 50]
    wanted = Counter()
    for language in ("de", "fr", "es", "it"):
        for key, path in shopify(language).items():
            wanted[path[-1], path, labels(english[key])] += 1
    found = rows_of(folder)
    assert Counter((row.title, row.bullets, row.names) for row in found.values()) == wanted
    splits = defaultdict(set)
    for row in found.values():
        splits[row.bullets].add(row.split)
    assert {len(several) for several in splits.values()} == {1}  # ids are made of the text
    assert [account[2:] for account in accounts(folder)] == 5 * [(10_595, 10_595, "0")]
    nodes = pq.read_table(folder / "hierarchy.parquet")
    keys = dict(zip(nodes["key"].to_pylist(), nodes["path"].to_pylist(), strict=True))
    assert keys == {key: " > ".join(path) for key, path in english.items()}


def test_amazon_in_shopify_is_a_test_split_without_labels(english, tmp_path):
    items, _ = amazon_items("test")
    folder = prepared("amazon_in_shopify", tmp_path)
    check(folder, items)
    check_tree(folder, english.values())
    assert "## Warnings" not in (folder / "report.md").read_text(encoding="utf-8")


def test_harmonized_system(tmp_path):
    source = there("harmonized_system/harmonized-system.csv.gz")
    folder = prepared("harmonized_system", tmp_path)
    rows = {row["hscode"]: row for row in read_csv(source) if row["hscode"] != "TOTAL"}

    def path(code):
        above = path(rows[code]["parent"]) if rows[code]["parent"] != "TOTAL" else ()
        return (*above, *path_of([rows[code]["description"]]))

    assert check_tree(folder, map(path, rows)) == [97, 1229, 5610]
    items = {
        code: Item(split_by(code), row["description"], names=labels(path(row["parent"])))
        for code, row in rows.items()
        if len(code) == 6
    }
    assert len(items) == 5_613
    check(folder, items)
    assert [account[1:] for account in accounts(folder)] == [
        ("products", 6_940, 5_613, "1327 left out by 'keep'"),
        ("tree", 6_940, 6_939, "1 left out by 'keep'"),
    ]
    assert changes(folder)["tree: nodes merged with a sibling of the same name"] == 5613 - 5610


# --- tasks alone ------------------------------------------------------------------------------


def task_info(folder, name):
    return json.loads((folder / "tasks" / name / "task.json").read_text())


def test_banking77(tmp_path):
    source = there("banking77")
    folder = prepared("banking77", tmp_path)
    found = Counter(
        ("test" if row.split == "test" else "train", row.title, *row.names)
        for row in rows_of(folder, "tasks/intent").values()
    )
    assert found == Counter(
        (split, row["text"], row["category"])
        for split in ("train", "test")
        for row in read_csv(source / f"{split}.csv.gz")
    )
    names = json.loads((source / "categories.json").read_text())
    assert task_info(folder, "intent")["labels"] == sorted(names)
    counts = json.loads((folder / "dataset.json").read_text())["counts"]
    assert 900 < counts["tasks/intent/validation"] < 1_100
    assert counts["tasks/intent/train"] + counts["tasks/intent/validation"] == 10_003


def test_crowdflower(tmp_path):
    there("crowdflower")
    folder = prepared("crowdflower", tmp_path)
    items = {}
    for fold in range(1, 11):
        for row in read_csv(DATA / f"crowdflower/{fold}-test.csv.gz"):
            items[row["id"]] = Item(
                split_by(row["query"]),
                text(row["product_title"]),
                text(row["product_description"]),
                (),
                frozenset([row["median_relevance"]]),
                row["query"],
            )
    check(folder, items, "tasks/relevance")
    assert sum(row.description is None for row in items.values()) == 2_444
    info = task_info(folder, "relevance")
    assert (info["labels"], info["pair"]) == (["1", "2", "3", "4"], True)
    marks = Counter(label for row in items.values() for label in row.names)
    assert [marks[label] for label in info["labels"]] == [774, 1_476, 1_737, 6_171]
    assert len({row.other for row in items.values()}) == 261


def test_home_depot(tmp_path):
    source = there("home_depot/train.csv.zip")
    folder = prepared("home_depot", tmp_path)
    with zipfile.ZipFile(source) as archive:
        content = archive.read("train.csv").decode("latin-1")
    items = {
        row["id"]: Item(
            split_by(row["search_term"]),
            text(row["product_title"]),
            names=frozenset([f"{float(row['relevance']):g}"]),
            other=row["search_term"],
        )
        for row in csv.DictReader(io.StringIO(content, newline=""))
    }
    assert len(items) == 74_067
    check(folder, items, "tasks/relevance")
    assert task_info(folder, "relevance")["labels"] == [
        *("1", "1.25", "1.33", "1.5", "1.67", "1.75", "2"),
        *("2.25", "2.33", "2.5", "2.67", "2.75", "3"),
    ]


def test_esci_with_the_published_schema(tmp_path):
    rows = read_csv(there("esci_partial/sample_2c_full_data.csv.gz"))
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
    items = {}
    for row in rows:
        bullets = (part.strip() for part in row["product_bullet_point"].split("\n"))
        items[row["example_id"]] = Item(
            held_out(row["split"], row["query_id"]),
            text(row["product_title"]),
            text(row["product_description"]),
            tuple(part for part in bullets if part),
            frozenset([row["esci_label"]]),
            row["query"],
        )
    assert len(items) == 485
    check(folder, items, "tasks/esci")
    assert Counter(row.split for row in items.values())["validation"] > 0
    assert task_info(folder, "esci")["labels"] == ["E", "S", "C", "I"]
    assert [account[1:] for account in accounts(folder)] == [
        ("tasks.esci join 1", 485, 485, "0"), ("tasks.esci", 485, 485, "0")
    ]  # fmt: skip
