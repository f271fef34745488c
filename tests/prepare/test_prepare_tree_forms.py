"""The published forms of category trees, the shop's own keys, and products to be classified."""

import json

import pyarrow.parquet as pq
import pytest
from openpyxl import Workbook

GOOGLE = (
    "# Google_Product_Taxonomy_Version: 2021-09-21\n"
    "1 - Animals & Pet Supplies\n"
    "3237 - Animals & Pet Supplies > Live Animals\n"
    "632 - Hardware\n"
)
SHOPIFY = (
    "# Shopify Product Taxonomy - Categories: 2025-08\n# Format: {GID} : ...\n\n"
    "gid://shopify/TaxonomyCategory/ap     : Animals & Pet Supplies\n"
    "gid://shopify/TaxonomyCategory/ap-1   : Animals & Pet Supplies > Live Animals\n"
    "gid://shopify/TaxonomyCategory/ha     : Hardware\n"
)
SHOPIFY_JSON = json.dumps(
    {
        "version": "2025-08",
        "verticals": [
            {"name": "Animals", "prefix": "ap", "categories": [
                {"id": "gid://shopify/TaxonomyCategory/ap", "full_name": "Animals & Pet Supplies"},
                {"id": "gid://shopify/TaxonomyCategory/ap-1",
                 "full_name": "Animals & Pet Supplies > Live Animals"},
            ]},
            {"name": "Hardware", "prefix": "ha", "categories": [
                {"id": "gid://shopify/TaxonomyCategory/ha", "full_name": "Hardware"}]},
        ],
    }
)  # fmt: skip
GPC_XML = (
    '<?xml version="1.0" encoding="UTF-8"?><schema languageCode="EN">'
    '<segment code="50000000" text="Food" definition="x">'
    '<family code="50200000" text="Drinks &amp; more"><class code="50202300" text="Sodas">'
    '<brick code="10000201" text="Cola"><attType code="20000100" text="Caffeine">'
    '<attValue code="30000001" text="YES"/></attType></brick></class></family></segment>'
    '<segment code="70000000" text="Arts"/></schema>'
)
GPC_JSON = json.dumps(
    {
        "LanguageCode": "EN",
        "Schema": [
            {"Level": 1, "Code": 50000000, "Title": "Food", "Childs": [
                {"Level": 2, "Code": 50200000, "Title": "Drinks & more", "Childs": [
                    {"Level": 3, "Code": 50202300, "Title": "Sodas", "Childs": [
                        {"Level": 4, "Code": 10000201, "Title": "Cola", "Childs": [
                            {"Level": 5, "Code": 20000100, "Title": "Caffeine"}]}]}]}]},
            {"Level": 1, "Code": 70000000, "Title": "Arts", "Childs": []},
        ],
    }
)  # fmt: skip
ANIMALS = ["Animals & Pet Supplies", "Hardware", "Animals & Pet Supplies > Live Animals"]
FOOD = ["Arts", "Food", "Food > Drinks & more", "Food > Drinks & more > Sodas",
        "Food > Drinks & more > Sodas > Cola"]  # fmt: skip


def gpc_excel(folder):
    book = Workbook()
    header = [f"{level}{part}" for level in ("Segment", "Family", "Class", "Brick")
              for part in ("Code", "Title")]  # fmt: skip
    book.active.append([*header, "AttributeTitle"])
    row = [50000000, "Food", 50200000, "Drinks & more", 50202300, "Sodas", 10000201, "Cola"]
    book.active.append([*row, "Caffeine"])
    book.active.append([*row, "Size"])
    book.active.append([70000000, "Arts"])
    book.save(folder / "tree.xlsx")


def prepared(prepare, folder, form, file, node):
    (folder / "p.csv").write_text(f"id,t,n\n1,x,{node}\n2,y,\n")
    products = {
        "input": {"files": "p.csv"},
        "item_id": "id",
        "title": "t",
        "paths": [{"node": "n"}],
    }
    return prepare({"products": products, "tree": {"input": {"files": file, "format": form}}})


@pytest.mark.parametrize(
    ("form", "file", "text", "node", "paths"),
    [
        ("google", "taxonomy-with-ids.en-US.txt", GOOGLE, "3237", ANIMALS),
        ("shopify", "categories.txt", SHOPIFY, "gid://shopify/TaxonomyCategory/ap-1", ANIMALS),
        ("shopify", "categories.json", SHOPIFY_JSON, "gid://shopify/TaxonomyCategory/ap-1",
         ANIMALS),
        ("gs1", "gpc.xml", GPC_XML, "10000201", FOOD),
        ("gs1", "gpc.json", GPC_JSON, "10000201", FOOD),
        ("gs1", "tree.xlsx", None, "10000201", FOOD),
    ],
)  # fmt: skip
def test_published_forms(tmp_path, prepare, form, file, text, node, paths):
    if text is None:
        gpc_excel(tmp_path)
    else:
        (tmp_path / file).write_text(text, encoding="utf-8")
    made = prepared(prepare, tmp_path, form, file, node)
    assert made.paths == paths
    assert made.nodes() == {"1": [paths[-1]], "2": []}
    keys = pq.ParquetFile(made.folder / "hierarchy.parquet").read()["key"].to_pylist()
    assert keys[-1] == node
    assert None not in keys


def test_google_s_form_without_ids(tmp_path, prepare):
    text = "".join(line.partition(" - ")[2] or line for line in GOOGLE.splitlines(keepends=True))
    (tmp_path / "taxonomy.txt").write_text(text)
    (tmp_path / "p.csv").write_text("id,t,n\n1,x,Animals & Pet Supplies > Live Animals\n")
    paths = [{"column": "n", "separator": " > "}]
    products = {"input": {"files": "p.csv"}, "item_id": "id", "title": "t", "paths": paths}
    tree = {"input": {"files": "taxonomy.txt", "format": "google"}}
    made = prepare({"products": products, "tree": tree})
    assert (made.paths, made.nodes()) == (ANIMALS, {"1": [ANIMALS[-1]]})
    assert "comment lines: 1" in made.report


@pytest.mark.parametrize(
    ("form", "text", "message"),
    [
        ("shopify", "ap : Animals\n", "line 1 is no node of this form: 'ap : Animals'"),
        ("shopify", "{}", "no categories.json of Shopify"),
        ("gs1", "<schema><segment text='x'/></schema>", "no GPC of GS1"),
        ("gs1", "<schema>", "no GPC of GS1"),
        ("gs1", "[1]", "no GPC of GS1"),
    ],
)
def test_another_form_is_refused(tmp_path, error_of, form, text, message):
    (tmp_path / "tree.txt").write_text(text)
    (tmp_path / "p.csv").write_text("id,t,n\n1,x,1\n")
    products = {
        "input": {"files": "p.csv"},
        "item_id": "id",
        "title": "t",
        "paths": [{"node": "n"}],
    }
    line = error_of(
        {"products": products, "tree": {"input": {"files": "tree.txt", "format": form}}}
    )
    assert f"tree.txt: {message}" in line
    assert "format" in line


def test_the_shop_s_keys_stay_with_the_nodes(tmp_path, prepare):
    (tmp_path / "tree.csv").write_text("k,p,n\nr,,All\na,r,A\nb,r,B\nc,a,C\nc,b,C\n")
    (tmp_path / "p.csv").write_text("id,t,n\n1,x,c\n")
    products = {
        "input": {"files": "p.csv"},
        "item_id": "id",
        "title": "t",
        "paths": [{"node": "n"}],
    }
    tree = {"input": {"files": "tree.csv"}, "key": "k", "parent": "p", "name": "n"}
    tree |= {"multi_parent": "duplicate", "drop_super_root": True}
    made = prepare({"products": products, "tree": tree})
    table = pq.ParquetFile(made.folder / "hierarchy.parquet").read()
    keys = dict(zip(table["path"].to_pylist(), table["key"].to_pylist(), strict=True))
    assert keys == {"A": "a", "B": "b", "A > C": "c", "B > C": "c"}
    assert "nodes of several parents: 1" in made.report
    assert "nodes added by 'multi_parent: duplicate': 1" in made.report


def test_items_to_be_classified_need_no_category(tmp_path, prepare, error_of):
    (tmp_path / "tree.csv").write_text("k,p,n\na,,A\nb,a,B\n")
    (tmp_path / "p.csv").write_text("id,t\n1,x\n2,y\n3,z\n")
    products = {"input": {"files": "p.csv"}, "item_id": "id", "title": "t"}
    assert "'paths' is missing" in error_of({"products": products})
    tree = {"input": {"files": "tree.csv"}, "key": "k", "parent": "p", "name": "n"}
    made = prepare({"products": products, "tree": tree})
    assert made.paths == ["A", "A > B"]
    assert made.nodes() == {"1": [], "2": [], "3": []}
    assert {row["split"] for row in made.rows().values()} == {"test"}
    assert "## Warnings" not in made.report


def test_the_tree_of_a_dataset_folder_serves_another(tmp_path, prepare):
    (tmp_path / "p.csv").write_text("id,t,c\n1,x,Bath &amp; Body/B > C\n2,y,D\n")
    paths = [{"column": "c", "separator": "/"}]
    products = {"input": {"files": "p.csv"}, "item_id": "id", "title": "t", "paths": paths}
    first = prepare({"products": products})
    first.folder.rename(tmp_path / "shop")
    tree = {"input": {"files": "shop/hierarchy.parquet"}}
    tree["path"] = {"column": "path", "separator": " > "}
    (tmp_path / "new.csv").write_text("id,t\n9,z\n")
    new = {"input": {"files": "new.csv"}, "item_id": "id", "title": "t"}
    assert prepare({"products": new, "tree": tree}).paths == [
        "Bath & Body", "D", "Bath & Body > B › C",
    ]  # fmt: skip


def test_parents_of_whole_floats_and_keys_of_one_path(tmp_path, prepare, error_of):
    (tmp_path / "p.csv").write_text("id,t,n\n1,x,2\n")
    products = {"input": {"files": "p.csv"}, "item_id": "id", "paths": [{"node": "n"}]}
    (tmp_path / "tree.csv").write_text("k,p,n\n1,,A\n2,1.0,B\n")
    tree = {"input": {"files": "tree.csv"}, "key": "k", "parent": "p", "name": "n"}
    made = prepare({"products": products, "tree": tree})
    assert made.nodes() == {"1": ["A > B"]}
    made.folder.rename(tmp_path / "first")
    (tmp_path / "tree.csv").write_text("k,p\n1,A\n2,A &gt; B\n3,A\n")
    tree = {"input": {"files": "tree.csv"}, "key": "k", "path": {"column": "p"}}
    message = error_of({"products": products, "tree": tree})
    assert "tree.csv: row 3: the keys '1' and '3' have the same path 'A'" in message
    made = prepare({"products": products, "tree": {**tree, "same_names": "merge"}})
    assert made.nodes() == {"1": ["A › B"]}
