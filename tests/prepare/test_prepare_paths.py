"""Every way of giving category paths, with the trees and labels worked out by hand."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest


def mapping(file, *paths, tree=None, **products):
    products = {"item_id": "id", "title": "t", "paths": list(paths), **products}
    products["input"] = {"files": file, **products.pop("options", {})}
    return {"products": products, **({"tree": tree} if tree else {})}


def test_columns_one_per_level_stop_at_the_first_missing_name(tmp_path, prepare):
    (tmp_path / "p.csv").write_text("id,t,a,b,c\n1,x,A,B,C\n2,x,A,,\n3,x,,,\n4,x,A,B,\n")
    made = prepare(mapping("p.csv", {"columns": ["a", "b", "c"]}))
    assert made.paths == ["A", "A > B", "A > B > C"]
    assert made.nodes() == {"1": ["A > B > C"], "2": ["A"], "3": [], "4": ["A > B"]}
    assert "| 1 | 1 | 3 |" in made.report
    assert "1 of 4 rows (25.0%) have none" in made.report


def test_one_text_is_cut_at_the_separator(tmp_path, prepare):
    (tmp_path / "p.csv").write_text('id,t,p\n1,x,"[""A >> B  b>>C""]"\n2,x,A>>\n3,x,\n')
    made = prepare(mapping("p.csv", {"column": "p", "separator": ">>", "trim": '["]'}))
    assert made.nodes() == {"1": ["A > B b > C"], "2": ["A"], "3": []}


def test_several_paths_in_one_text(tmp_path, prepare):
    (tmp_path / "p.csv").write_text("id,t,p\n1,x,A/B|A/C|A\n2,x,D\n")
    made = prepare(mapping("p.csv", {"column": "p", "separator": "/", "path_separator": "|"}))
    assert made.paths == ["A", "D", "A > B", "A > C"]
    # "A" is an ancestor of the other two and therefore no label of its own.
    assert made.nodes() == {"1": ["A > B", "A > C"], "2": ["D"]}


@pytest.mark.parametrize("kind", ["json", "parquet"])
@pytest.mark.parametrize(
    ("values", "options", "expected"),
    [
        pytest.param([["A", "B"], [], None], {}, [["A > B"], [], []], id="list of names"),
        pytest.param(
            [[["A", "B"], ["C"]], [["A"]], None],
            {},
            [["C", "A > B"], ["A"], []],
            id="list of lists",
        ),
        pytest.param(
            [["A/B", "C"], ["A"], None],
            {"separator": "/"},
            [["C", "A > B"], ["A"], []],
            id="list of texts",
        ),
    ],
)
def test_lists(tmp_path, prepare, kind, values, options, expected):
    rows = [{"id": str(number), "t": "x", "p": value} for number, value in enumerate(values)]
    if kind == "json":
        (tmp_path / "p.json").write_text("\n".join(map(json.dumps, rows)))
    else:
        pq.write_table(pa.Table.from_pylist(rows), tmp_path / "p.parquet")
    made = prepare(mapping(f"p.{kind}", {"column": "p", **options}))
    assert made.nodes() == dict(zip("012", expected, strict=True))


def test_several_sources_together_make_several_paths(tmp_path, prepare):
    (tmp_path / "p.csv").write_text("id,t,a,b,p\n1,x,A,B,A/C\n2,x,A,B,A/B\n3,x,A,,\n")
    paths = [{"columns": ["a", "b"]}, {"column": "p", "separator": "/"}]
    made = prepare(mapping("p.csv", *paths))
    assert made.nodes() == {"1": ["A > B", "A > C"], "2": ["A > B"], "3": ["A"]}
    assert "1 of 3 rows (33.3%) have several nodes" in made.report


def test_names_are_cleaned(tmp_path, prepare):
    (tmp_path / "p.csv").write_text("id,t,a,b\n1,x, A   a,B > b\n2,x,A a,> b >\n")
    made = prepare(mapping("p.csv", {"columns": ["a", "b"]}))
    assert made.paths == ["A a", "A a > B › b", "A a > › b ›"]


def test_a_last_name_like_the_title_is_dropped(tmp_path, prepare):
    rows = [
        "1,Red  Shirt XL,Clothes/Shirts/red shirt xl",
        "2,Blue Shirt,Clothes/Shirts/Blue Shirt (L)",
        "3,Blue Shirt,Clothes/Shirts",
        "4,Hat,Hat",
        "5,Clothes,Clothes/Shirts",
        "6,,Clothes/Shirts",
    ]
    (tmp_path / "p.csv").write_text("\n".join(["id,t,p", *rows]))
    made = prepare(mapping("p.csv", {"column": "p", "separator": "/", "title_leaf": 8}))
    expected = {item: ["Clothes > Shirts"] for item in "123456"}
    assert made.nodes() == {**expected, "4": []}
    assert "rows whose path lost a last name like the title: 3" in made.report


def test_a_text_that_means_missing_is_no_name(tmp_path, prepare):
    (tmp_path / "p.csv").write_text("id,t,a,b\n1,nan,A,nan\n2,x,A,B\n")
    made = prepare(mapping("p.csv", {"columns": ["a", "b"]}, options={"null_values": ["nan"]}))
    assert made.nodes() == {"1": ["A"], "2": ["A > B"]}
    assert made.rows()["1"]["title"] is None


def test_max_depth_and_min_items_move_products_up(tmp_path, prepare):
    rows = ["1,x,A,B,C", "2,x,A,B,D", "3,x,A,E,F", "4,x,G,H,I"]
    (tmp_path / "p.csv").write_text("\n".join(["id,t,a,b,c", *rows]))
    tree = {"max_depth": 2, "min_items": 2}
    made = prepare(mapping("p.csv", {"columns": ["a", "b", "c"]}, tree=tree))
    assert made.nodes() == {"1": ["A > B"], "2": ["A > B"], "3": ["A"], "4": []}


def test_a_gap_is_an_error_that_names_the_row(tmp_path, error_of):
    (tmp_path / "p.csv").write_text("id,t,a,b,c\n1,x,A,B,C\n2,x,A,,C\n")
    message = error_of(mapping("p.csv", {"columns": ["a", "b", "c"]}))
    assert "p.csv: row 2: the path 'A > > C' misses a name in its middle" in message


def test_a_gap_can_be_cut_and_is_counted(tmp_path, prepare):
    (tmp_path / "p.csv").write_text("id,t,a,b,c\n1,x,A,B,C\n2,x,A,,C\n")
    made = prepare(mapping("p.csv", {"columns": ["a", "b", "c"]}, tree={"gaps": "cut"}))
    assert made.nodes() == {"1": ["A > B > C"], "2": ["A"]}
    assert "rows with a path cut at a missing name: 1" in made.report


@pytest.mark.parametrize(
    "path", [{"trim": "x"}, {"columns": ["a"], "column": "a"}, {"node": "a", "column": "a"}]
)
def test_a_path_has_one_source(tmp_path, error_of, path):
    (tmp_path / "p.csv").write_text("id,t,a\n1,x,A\n")
    assert "give one of 'columns', 'column' and 'node'" in error_of(mapping("p.csv", path))
