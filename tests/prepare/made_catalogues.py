"""Small files of the form of every public data set that a mapping is shipped for."""

import csv
import gzip
import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

ROWS = 60


def text_of(header, rows):
    stream = io.StringIO()
    csv.writer(stream).writerows([header, *rows] if header else rows)
    return stream.getvalue()


def place(root: Path, name: str) -> Path:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def crowdflower(root):
    header = ["id", "query", "product_title", "product_description", "median_relevance"]
    for fold in (1, 2):
        rows = [
            [f"{fold}{n}", f"query {n % 7}", f"thing {n}", "" if n % 3 else 'a, "b"\nc', n % 4 + 1]
            for n in range(ROWS)
        ]
        path = place(root, f"crowdflower/{fold}-test.csv.gz")
        path.write_bytes(gzip.compress(text_of(header, rows).encode()))


def esci(root):
    rows = [
        {"example_id": n, "query": f"q {n % 9}", "query_id": n % 9, "product_id": f"P{n % 20}",
         "product_locale": ["us", "es"][n % 5 == 0], "esci_label": "ESCI"[n % 4],
         "large_version": n % 7 > 0, "small_version": 1, "split": ["train", "test"][n % 3 == 0]}
        for n in range(ROWS)
    ]  # fmt: skip
    for row in rows:
        row["large_version"] = int(row["large_version"])
    pq.write_table(
        pa.Table.from_pylist(rows), place(root, "shopping_queries_dataset_examples.parquet")
    )
    products = [
        {"product_id": f"P{n}", "product_locale": locale, "product_title": f"title {n}",
         "product_description": None if n % 4 else "long\ntext",
         "product_bullet_point": f"one {n}\n\ntwo" if n % 2 else None}
        for n in range(19)  # one has no partner
        for locale in ("us", "es")
    ]  # fmt: skip
    pq.write_table(
        pa.Table.from_pylist(products), place(root, "shopping_queries_dataset_products.parquet")
    )


def flipkart(root):
    rows = [
        [f"id{n}", f"Red  Shirt number {n % 13} İ",
         f'["Clothing >> Shirts >> Kind {n % 5} &amp; more >> Red Shirt number {n % 13}..."]']
        for n in range(ROWS)
    ]  # fmt: skip
    rows += [["x", "Mug", '["Kitchen"]'], ["y", "", ""]]
    path = place(root, "flipkart20k/flipkart20k_id_title_tree_noheader.csv.gz")
    path.write_bytes(gzip.compress(text_of(None, rows).encode()))


def hm(root):
    rows = [
        {"article_id": 10 * n + colour, "product_code": n, "prod_name": f"piece {n}",
         "detail_desc": None if n % 5 == 0 else f"in colour {colour}",
         "index_group_name": f"Group {n % 2}", "garment_group_name": f"Garment {n % 4}",
         "product_type_name": f"Type {n % 8}", "index_name": f"Index {n % 3}",
         "section_name": f"Section {n % 6}", "department_name": f"Department {n % 12}"}
        for n in range(ROWS)
        for colour in range(2)
    ]  # fmt: skip
    pq.write_table(pa.Table.from_pylist(rows), place(root, "hm_articles/articles.parquet"))


def home_depot(root):
    header = ["id", "product_uid", "product_title", "search_term", "relevance"]
    rows = [[n, n % 11, f"caf\xe9 {n}", f"term {n % 8}", ["1", "2.33", "3"][n % 3]]
            for n in range(ROWS)]  # fmt: skip
    with zipfile.ZipFile(place(root, "home_depot/train.csv.zip"), "w") as archive:
        archive.writestr("train.csv", text_of(header, rows).encode("latin-1"))
        archive.writestr("__MACOSX/._train.csv", b"\x00\x05\x16\x07")


def mwpd2020(root):
    def rows(first):
        return "\n".join(
            json.dumps({"ID": str(n), "Name": f"offer {n}", "Description": None if n % 4 else "d",
                        "lvl1": f"A{n % 2}", "lvl2": f"B{n % 4}", "lvl3": f"C{n % 8}",
                        **{f"further {n}": n}})
            for n in range(first, first + ROWS)
        )  # fmt: skip

    train = place(root, "mwpd2020_gpc/task2_train_val_with_labels.zip")
    with zipfile.ZipFile(train, "w") as archive:
        archive.writestr("train.json", rows(0))
        archive.writestr("validation.json", rows(1_000))
    with zipfile.ZipFile(train.with_name("task2_testset_with_labels.zip"), "w") as archive:
        archive.writestr("testset.json", rows(2_000))


def wordnet(root):
    lines = [
        {"id": f"{n:08d}-n", "members": f"word {n}", "definition": "what it is",
         "paths": [["entity", f"kind {n % 3}", f"word {n}"], ["entity", f"kind {(n + 1) % 3}"]]}
        for n in range(ROWS)
    ]  # fmt: skip
    place(root, "synsets.jsonl").write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")


def shopify(root):
    lines = ["# Shopify", "", "gid://shopify/TaxonomyCategory/ap   : Animals"]
    lines += [
        f"gid://shopify/TaxonomyCategory/ap-{n} : Animals > Kind {n} &amp; co" for n in range(9)
    ]
    for language in ("en", "de", "fr", "es", "it"):
        text = "\n".join(lines).replace("Kind", {"en": "Kind"}.get(language, f"Kind {language}"))
        path = place(root, f"shopify_taxonomy/{language}.categories.txt.gz")
        path.write_bytes(gzip.compress(text.encode()))


def amazon(root):
    header = ["Uniq Id", "Product Name", "Category", "About Product"]
    rows = [
        [f"u{n}", f"Toy {n}", "" if n % 9 == 0 else f"Toys | Kind {n % 4} | Sort {n % 8}",
         f"one {n} | N/A |  | Make sure this fits by entering your model number."]
        for n in range(ROWS)
    ]  # fmt: skip
    path = place(root, "amazon_promptcloud_1k/test_sample_1000.csv.gz")
    path.write_bytes(gzip.compress(text_of(header, rows).encode()))
    shopify(root)


def banking77(root):
    for split, first in (("train", 0), ("test", 1_000)):
        rows = [[f"where is\ncard {first + n % 50}?", f"label_{n % 7}"] for n in range(ROWS)]
        path = place(root, f"banking77/{split}.csv.gz")
        path.write_bytes(gzip.compress(text_of(["text", "category"], rows).encode()))


def write_lines(path, rows):
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")


def cpv(root):
    tree = [{"code": "03", "parent": None, "name": "Farming"},
            {"code": "031", "parent": "03", "name": "Crops"},
            {"code": "09", "parent": None, "name": "Fuels"}]  # fmt: skip
    write_lines(place(root, "tree.jsonl"), tree)
    rows = [{"id": f"t{n}", "text": f"Suministro {n}", "split": ["train", "test"][n % 4 == 0],
             "divisions": [["03"], ["09", "03"], []][n % 3]} for n in range(ROWS)]  # fmt: skip
    write_lines(place(root, "tenders.jsonl"), rows)


def flipkart_described(root):
    header = ["uniq_id", "product_name", "product_category_tree", "description", "brand"]
    rows = [[f"u{n}", f"Cotton Shirt {n % 9}", json.dumps([f"Clothes >> Kind {n % 4}"]), "", "x"]
            for n in range(ROWS)]  # fmt: skip
    path = place(root, "flipkart20k/flipkart_first_rows_all_columns.csv.gz")
    path.write_bytes(gzip.compress(text_of(header, [*rows, [""] * 5, [""] * 5]).encode()))


def harmonized_system(root):
    rows = [
        ["TOTAL", "TOTAL", "Total", "TOTAL", "0"],
        ["I", "01", "Animals; live", "TOTAL", "2"],
        ["I", "0101", "Horses, asses", "01", "4"],
        ["I", "010121", "Horses", "0101", "6"],
        ["I", "010129", "Horses", "0101", "6"],
        ["I", "010130", "Asses", "0101", "6"],
    ]
    path = place(root, "harmonized_system/harmonized-system.csv.gz")
    header = ["section", "hscode", "description", "parent", "level"]
    path.write_bytes(gzip.compress(text_of(header, rows).encode()))


def openfoodfacts(root):
    tree = [{"key": key, "parent": parent, "name": name} for key, parent, name in [
        ("en:foods", None, "Foods"), ("en:plants", None, "Plants"), ("en:teas", "en:foods", "Teas"),
        ("en:teas", "en:plants", "Teas"), ("en:green", "en:teas", "Green teas")]]  # fmt: skip
    write_lines(place(root, "categories.jsonl"), tree)
    names = [{"id": f"fr:{n}", "name": f"th\u00e9 {n}", "synonyms": [f"s {n}", ""], "locale": "fr",
              "category": ["en:green", "en:teas"][n % 2]} for n in range(ROWS)]  # fmt: skip
    write_lines(place(root, "names.jsonl"), names)


MADE: dict[str, Callable[[Path], None]] = {
    "amazon_in_shopify": amazon,
    "amazon_sample": amazon,
    "banking77": banking77,
    "cpv": cpv,
    "crowdflower": crowdflower,
    "esci": esci,
    "flipkart": flipkart,
    "flipkart_described": flipkart_described,
    "harmonized_system": harmonized_system,
    "hm": hm,
    "hm_both": hm,
    "hm_organisation": hm,
    "home_depot": home_depot,
    "mwpd2020": mwpd2020,
    "openfoodfacts": openfoodfacts,
    "shopify": shopify,
    "wordnet": wordnet,
}
