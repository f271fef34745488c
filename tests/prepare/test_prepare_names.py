"""One normal form of names, keys and labels; what is blank; look-alikes; lists given twice."""

import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_modules.prepare.names import look_alike, node_name, normal_name

FORMS = [
    ("Red", "Red"),
    ("  Re   d\t", "Re d"),
    ("Caf\u0065\u0301", "Caf\u00e9"),
    ("a\u00a0\u2003b", "a b"),
    ("a\u200bb\u200e\ufeff", "ab"),
    ("\u202aMen\u2019s\u202c", "Men\u2019s"),
    ("soft\u00adhyphen", "softhyphen"),
    ("Bath &amp; Body", "Bath & Body"),
    ("Bath &amp;amp; Body", "Bath & Body"),
    ("AT&T", "AT&T"),
    ("Food&notions;", "Food&notions;"),
    ("Shoes&notebooks", "Shoes&notebooks"),
    ("&#233;t&#xe9;", "été"),
    ("a&nbsp;b", "a b"),
    ("a\x00b\nc", "a b c"),
    ("می\u200cخواهم", "می\u200cخواهم"),
    ("👩\u200d🚀", "👩\u200d🚀"),
    ("\u200d x \u200c", "x"),
    ("", ""),
    ("\u3000\u200b", ""),
]


@pytest.mark.parametrize(("text", "form"), FORMS)
def test_normal_forms_by_hand(text, form):
    assert normal_name(text) == form


@given(st.text(st.sampled_from("aé&;#x3am p\u0301\u00a0\u200b\u200d\u00ad>\n\u202e<lt")))
@settings(max_examples=300, deadline=None, derandomize=True)
def test_the_form_of_a_form_is_itself(text):
    form = normal_name(text)
    assert normal_name(form) == form == unicodedata.normalize("NFC", form)
    assert form == " ".join(form.split())
    assert node_name(node_name(text)) == node_name(text)
    assert " > " not in f" {node_name(text)} "


@pytest.mark.parametrize(
    ("first", "second"),
    [("T-Shirts", "t shirt"), ("Men's Shoes", "Men\u2019s  SHOE"), ("Straße", "STRASSE")],
)
def test_look_alikes(first, second):
    assert look_alike(first) == look_alike(second)


@pytest.mark.parametrize(("first", "second"), [("Dress", "Dresser"), ("C", "C++ 2"), ("++", "--")])
def test_no_look_alikes(first, second):
    assert look_alike(first) != look_alike(second)


NAMES = ["Bath &amp; Body", " Bath  & Body", "Bath\u00a0&\u200b Body", "bath & body", "Baths, Body"]


def test_names_keys_and_labels_have_one_form(tmp_path, prepare):
    rows = [f'{n},t{n},"{name}",{n}' for n, name in enumerate(NAMES)]
    (tmp_path / "p.csv").write_text("\n".join(["id,t,c,n", *rows]), encoding="utf-8")
    products = {"input": {"files": "p.csv"}, "item_id": "id", "title": "t"}
    made = prepare(
        {
            "products": {**products, "paths": [{"columns": ["c"]}]},
            "tasks": {"t": {"label": "c"}, "two": {"label": ["c", "c"]}},
        }
    )
    assert made.paths == ["Bath & Body", "Baths, Body", "bath & body"]
    assert [made.nodes()[n] for n in "012"] == [["Bath & Body"]] * 3
    assert made.task("t").labels == made.paths
    assert made.task("two").labels == [f"{name} > {name}" for name in made.paths]
    assert made.report.count("### Look-alikes: 1\n") == 3  # of nodes and of both tasks
    assert "- Bath & Body; 'Baths, Body'; 'bath & body'" in made.report


def test_keys_of_the_tree_and_of_products_meet_in_one_form(tmp_path, prepare):
    (tmp_path / "tree.csv").write_text("k,p,n\n A\u00a01,,Root\nB&amp;1,A 1,Leaf\n", "utf-8")
    (tmp_path / "p.csv").write_text("id,t,n\n1,x,B & 1\n2,y,B&1\n3,z,A  1\u200b\n", "utf-8")
    products = {"input": {"files": "p.csv"}, "item_id": "id", "title": "t",
                "paths": [{"node": "n"}], "unknown_node": "drop_label"}  # fmt: skip
    tree = {"input": {"files": "tree.csv"}, "key": "k", "parent": "p", "name": "n"}
    made = prepare({"products": products, "tree": tree})
    assert made.nodes() == {"1": [], "2": ["Root > Leaf"], "3": ["Root"]}


@pytest.mark.parametrize(
    "blank", ["", " ", "\u00a0", "\u3000", "\u200b", "\ufeff\u200e", "\t", "\u2028", "\x7f"]
)
def test_blank_beyond_ascii(tmp_path, prepare, blank):
    row = {"id": "1", "t": blank, "c": "A"}
    (tmp_path / "p.csv").write_text(f'id,t,c\n1,"{blank}",A\n2,"{blank}x",A\n', encoding="utf-8")
    products = {"input": {"files": "p.csv"}, "item_id": "id", "title": "t"}
    made = prepare({"products": {**products, "paths": [{"columns": ["c"]}]}})
    assert made.rows()["1"]["title"] is None
    assert made.rows()["2"]["title"] == f"{blank}x"
    assert row["c"] == "A"


@pytest.mark.parametrize("labels", [["x", "y", "x"], ["x", "y", " x\u200b "], ["&#120;", "y", "x"]])
def test_a_label_listed_twice_is_refused(tmp_path, error_of, labels):
    (tmp_path / "p.csv").write_text("id,t,l\n1,a,x\n2,b,y\n")
    task = {"input": {"files": "p.csv"}, "item_id": "id", "title": "t", "label": "l"}
    message = error_of({"tasks": {"t": {**task, "labels": labels}}})
    assert "tasks.t.labels: 'x' stands there 2 times; name it once" in message


def test_a_label_of_two_columns_needs_both(tmp_path, prepare):
    (tmp_path / "p.csv").write_text("id,t,a,b\n1,x,A,B\n2,x,,B\n3,x,A,\u00a0\n4,x,,\n")
    task = {"input": {"files": "p.csv"}, "item_id": "id", "title": "t", "label": ["a", "b"]}
    made = prepare({"tasks": {"t": task}})
    assert made.labels("t") == {"1": ["A > B"]}
    assert "3 left out for want of a label" in made.report


def test_siblings_of_one_name_are_all_named_or_merged(tmp_path, prepare, error_of):
    rows = ["a,,A", "b,a,Toys", "c,a,Toys ", "d,b,Dolls", "e,c,Dolls", "f,c,Cars", "g,,G", "h,,G"]
    (tmp_path / "tree.csv").write_text("\n".join(["k,p,n", *rows]))
    (tmp_path / "p.csv").write_text("id,t,n\n1,x,d\n2,y,e\n3,z,f\n4,z,h\n")
    products = {
        "input": {"files": "p.csv"},
        "item_id": "id",
        "title": "t",
        "paths": [{"node": "n"}],
    }
    tree = {"input": {"files": "tree.csv"}, "key": "k", "parent": "p", "name": "n"}
    message = error_of({"products": products, "tree": tree})
    assert "nodes 'b' and 'c' have the same path 'A > Toys'" in message
    assert "nodes 'g' and 'h' have the same path 'G'" in message
    assert "same_names: merge" in message
    made = prepare({"products": products, "tree": {**tree, "same_names": "merge"}})
    assert made.paths == ["A", "G", "A > Toys", "A > Toys > Cars", "A > Toys > Dolls"]
    dolls, cars = ["A > Toys > Dolls"], ["A > Toys > Cars"]
    assert made.nodes() == {"1": dolls, "2": dolls, "3": cars, "4": ["G"]}
    assert "nodes merged with a sibling of the same name: 3" in made.report
