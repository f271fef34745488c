"""What every role takes from a column, and how it becomes a text."""

import datetime
import decimal
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

PATHS = [{"column": "cat", "separator": "/"}]


def mapping(files="p.parquet", paths=PATHS, **products):
    options = products.pop("options", {})
    columns = {"item_id": "id", "title": "t", "paths": paths}
    return {"products": {**columns, **products, "input": {"files": files, **options}}}


def write(folder, titles, kind=None, name="p.parquet"):
    count = len(titles)
    columns = {"id": [str(n) for n in range(count)], "t": pa.array(titles, kind),
               "cat": ["A/B"] * count}  # fmt: skip
    pq.write_table(pa.table(columns), folder / name)


def titles(made):
    rows = made.rows()
    return [rows[str(number)]["title"] for number in range(len(rows))]


@pytest.mark.parametrize(
    ("values", "kind", "expected"),
    [
        pytest.param([11.0, 2.5, None, float("nan"), 1e20], pa.float64(),
                     ["11", "2.5", None, None, "100000000000000000000"], id="floats"),
        pytest.param([11.0, 0.1], pa.float32(), ["11", "0.1"], id="float32"),
        pytest.param([2**63], pa.uint64(), ["9223372036854775808"], id="uint64"),
        pytest.param([True, None], pa.bool_(), ["true", None], id="bools"),
        pytest.param([decimal.Decimal("11.00"), decimal.Decimal("2.50")], pa.decimal128(6, 2),
                     ["11", "2.50"], id="decimals"),
        pytest.param([datetime.date(2026, 5, 1)], pa.date32(), ["2026-05-01"], id="dates"),
        pytest.param([b"\xc3\xa9t\xc3\xa9", None], pa.binary(), ["été", None], id="binary"),
        pytest.param([b"\xc3\xa9"], pa.large_binary(), ["é"], id="large binary"),
        pytest.param(["a", None], pa.large_string(), ["a", None], id="large strings"),
        pytest.param(["a", "b", "a"], pa.dictionary(pa.int8(), pa.string()), ["a", "b", "a"],
                     id="categories"),
        pytest.param([None, None], pa.null(), [None, None], id="nulls"),
    ],
)  # fmt: skip
def test_types_of_parquet(tmp_path, prepare, values, kind, expected):
    write(tmp_path, values, kind)
    assert titles(prepare(mapping())) == expected


def test_whole_floats_are_the_keys_of_integers(tmp_path, prepare):
    """A column with gaps comes out of many tools as floats; as texts, too."""
    table = {"id": [1.0, 2.0, 3.0], "t": ["x", "y", "z"], "cat": [11.0, None, 12.0]}
    pq.write_table(pa.table(table), tmp_path / "p.parquet")
    (tmp_path / "p.csv").write_text("id,t,cat\n1,x,11.0\n2,y,\n3,z,12\n")
    (tmp_path / "tree.csv").write_text("k,p,n\n11,,A\n12,11,B\n")
    tree = {"input": {"files": "tree.csv"}, "key": "k", "parent": "p", "name": "n"}
    for number, file in enumerate(("p.parquet", "p.csv")):
        made = prepare({**mapping(file, [{"node": "cat"}]), "tree": tree})
        assert made.nodes() == {"1": ["A"], "2": [], "3": ["A > B"]}
        made.folder.rename(tmp_path / f"done{number}")


def test_bytes_that_are_no_text(tmp_path, prepare, error_of):
    write(tmp_path, [b"ok", b"\xe9"], pa.binary())
    assert "p.parquet: row 2, column 't' is not utf-8 (byte 0xe9)" in error_of(mapping())
    made = prepare(mapping(options={"encoding": "utf-8-replace"}))
    assert titles(made) == ["ok", "\ufffd"]
    assert "characters replaced: 1" in made.report


@pytest.mark.parametrize(
    ("titles", "message"),
    [
        pytest.param(["x", ["a", "b"]], "row 2, column 't' holds a list", id="list"),
        pytest.param(["x", {"en": "a", "de": "b"}],
                     "row 2, column 't' holds an object with the members en, de", id="object"),
    ],
)  # fmt: skip
def test_a_text_role_takes_no_lists_and_objects(tmp_path, error_of, titles, message):
    rows = [{"id": str(n), "t": title, "cat": "A"} for n, title in enumerate(titles)]
    (tmp_path / "p.json").write_text("\n".join(map(json.dumps, rows)))
    assert message in error_of(mapping("p.json"))
    pq.write_table(pa.Table.from_pylist(rows[1:]), tmp_path / "p.parquet")
    assert message.replace("row 2", "row 1") in error_of(mapping())


CRUMBS = [{"id": 1, "name": "Toys"}, {"id": 2, "name": "Dolls"}]


@pytest.mark.parametrize(
    ("values", "path", "expected"),
    [
        pytest.param([CRUMBS, [], None], {"field": "name"}, [["Toys > Dolls"], [], []],
                     id="breadcrumbs"),
        pytest.param([[CRUMBS, CRUMBS[:1]], None], {"field": "name"}, [["Toys > Dolls"], []],
                     id="several breadcrumbs"),
        pytest.param([{"path": "Toys/Dolls"}], {"field": "path", "separator": "/"},
                     [["Toys > Dolls"]], id="object with a path"),
        pytest.param([["A/B", "C"], []], {"separator": "/"}, [["C", "A > B"], []], id="texts"),
        pytest.param([[1, 2.0], [None, 3]], {}, [["1 > 2"], []], id="numbers as names"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("kind", ["json", "csv", "parquet"])
def test_paths_in_lists_and_objects(tmp_path, prepare, values, path, expected, kind):
    rows = [{"id": str(n), "t": "x", "cat": value} for n, value in enumerate(values)]
    options = {}
    if kind == "json":
        (tmp_path / "p.json").write_text(json.dumps(rows, indent=1))
    elif kind == "csv":
        lines = [f'{row["id"]},x,"{json.dumps(row["cat"]).replace(chr(34), chr(34) * 2)}"'
                 for row in rows]  # fmt: skip
        (tmp_path / "p.csv").write_text("\n".join(["id,t,cat", *lines]))
        options = {"json_columns": ["cat"]}
    else:
        if values == [[1, 2.0], [None, 3]]:
            rows = [{**row, "cat": [v and float(v) for v in row["cat"]]} for row in rows]
        pq.write_table(pa.Table.from_pylist(rows), tmp_path / "p.parquet")
    found = mapping(f"p.{kind}", [{"column": "cat", **path}], options=options)
    if expected[-1] == [] and values[-1] == [None, 3]:
        found["tree"] = {"gaps": "cut"}
    made = prepare(found)
    assert made.nodes() == {str(n): paths for n, paths in enumerate(expected)}


def test_keys_in_objects(tmp_path, prepare):
    (tmp_path / "p.json").write_text(json.dumps([{"id": "1", "t": "x", "cat": CRUMBS}]))
    (tmp_path / "tree.csv").write_text("k,p,n\n1,,A\n2,1,B\n")
    tree = {"input": {"files": "tree.csv"}, "key": "k", "parent": "p", "name": "n"}
    made = prepare({**mapping("p.json", [{"node": "cat", "field": "id"}]), "tree": tree})
    assert made.nodes() == {"1": ["A > B"]}


@pytest.mark.parametrize(
    ("values", "path", "message"),
    [
        (["A", CRUMBS], {}, "row 2, column 'cat' holds objects; name the member to read"),
        (["A", ["B"]], {}, "row 2, column 'cat' holds lists, other rows hold texts"),
        ([["A", ["B"]]], {}, "row 1, column 'cat' mixes texts and lists"),
        ([CRUMBS, [{"id": 3}]], {"field": "name"}, "row 2, column 'cat' holds an object without"),
        (["A"], {"field": "name"}, "row 1, column 'cat' holds 'A', where 'field: name'"),
    ],
)
def test_mixed_and_nested_paths_are_refused(tmp_path, error_of, values, path, message):
    rows = [{"id": str(n), "t": "x", "cat": value} for n, value in enumerate(values)]
    (tmp_path / "p.json").write_text("\n".join(map(json.dumps, rows)))
    assert f"p.json: {message}" in error_of(mapping("p.json", [{"column": "cat", **path}]))


def test_bullet_points_of_objects(tmp_path, prepare, error_of):
    points = [{"name": "Size", "value": 3.0}, {"name": "Colour", "value": " red"}]
    rows = [{"id": "1", "t": "x", "cat": "A", "b": points}, {"id": "2", "t": "y", "cat": "A"},
            {"id": "3", "t": "z", "cat": "A", "b": [" a ", "", None, "b"]},
            {"id": "4", "t": "z", "cat": "A", "b": "one"}]  # fmt: skip
    (tmp_path / "p.json").write_text(json.dumps(rows))
    message = error_of(mapping("p.json", bullet_points="b"))
    assert "row 1, column 'b' holds an object with the members name, value" in message
    assert "bullet_format" in message
    made = prepare(mapping("p.json", bullet_points="b", bullet_format="{name}: {value}"))
    points = {key: row["bullet_points"] for key, row in made.rows().items()}
    assert points == {"1": ["Size: 3", "Colour:  red"], "2": [], "3": ["a", "b"], "4": ["one"]}
    message = error_of(mapping("p.json", bullet_points="b", bullet_format="{nam}"), "other")
    assert "row 1, column 'b'" in message
    assert "'bullet_format' does not fit" in message


def test_a_column_that_should_hold_json(tmp_path, error_of):
    (tmp_path / "p.csv").write_text('id,t,cat\n1,x,"[""A""]"\n2,x,[A]\n')
    options = {"json_columns": ["cat"]}
    message = error_of(mapping("p.csv", [{"column": "cat"}], options=options))
    assert "p.csv: row 2, column 'cat' holds no JSON" in message


def test_objects_with_different_keys(tmp_path, prepare):
    rows = [{"id": str(n), "t": f"x{n}", "cat": "A/B", **{f"k{n}_{k}": k for k in range(100)}}
            for n in range(300)]  # fmt: skip
    for text in ("\n".join(map(json.dumps, rows)), json.dumps(rows, indent=2)):
        (tmp_path / "p.json").write_text(text)
        made = prepare(mapping("p.json"))
        assert {key: row["title"] for key, row in made.rows().items()} == {
            row["id"]: row["t"] for row in rows
        }
        made.folder.rename(tmp_path / f"done{len(text)}")


def test_half_a_surrogate_pair(tmp_path, prepare, error_of):
    (tmp_path / "p.json").write_text('{"id": "0", "t": "\\ud83d!", "cat": "A"}')
    message = error_of(mapping("p.json"))
    assert "row 1, column 't' holds half of a surrogate pair" in message
    made = prepare(mapping("p.json", options={"encoding": "utf-8-replace"}))
    assert titles(made) == ["\ufffd!"]


@pytest.mark.parametrize(("text", "weight"), [("1,5", 1.5), ("1.234,5", 1234.5), ("2", 2.0)])
def test_decimal_commas(tmp_path, prepare, text, weight):
    (tmp_path / "p.csv").write_text(f"id;t;cat;w\n1;x;A;{text}\n")
    made = prepare(mapping("p.csv", weight="w", options={"delimiter": ";", "decimal": ","}))
    assert made.rows()["1"]["weight"] == weight


@pytest.mark.parametrize("kind", ["json", "parquet", "csv"])
def test_decimal_commas_concern_texts_alone(tmp_path, prepare, error_of, kind):
    row = {"id": "1", "t": "x", "cat": "A", "w": 1.234}
    options = {"decimal": ","}
    if kind == "json":
        (tmp_path / "p.json").write_text(json.dumps(row))
    elif kind == "parquet":
        pq.write_table(pa.Table.from_pylist([row]), tmp_path / "p.parquet")
    else:
        (tmp_path / "p.csv").write_text("id,t,cat,w\n1,x,A,12.34\n")
        message = error_of(mapping("p.csv", weight="w", options=options))
        assert "row 1, column 'w' holds '12.34', which is no number" in message
        return
    made = prepare(mapping(f"p.{kind}", weight="w", options=options))
    assert made.rows()["1"]["weight"] == pytest.approx(1.234, rel=1e-6)


@pytest.mark.parametrize("weight", ["1e39", "Infinity", "1,5"])
def test_weights_that_float32_does_not_hold(tmp_path, error_of, weight):
    (tmp_path / "p.csv").write_text(f'id,t,cat,w\n1,x,A,"{weight}"\n')
    message = error_of(mapping("p.csv", weight="w"))
    assert f"row 1, column 'w' holds '{weight}'" in message
    assert ("set 'decimal'" in message) == ("," in weight)


def test_infinity_of_json_is_not_missing(tmp_path, error_of):
    (tmp_path / "p.json").write_text('{"id": 1, "t": "x", "cat": "A", "w": Infinity}')
    assert "column 'w' holds 'Infinity'" in error_of(mapping("p.json", weight="w"))


def test_lists_of_a_fixed_size(tmp_path, prepare):
    kind = pa.list_(pa.string(), 2)
    columns = {"id": ["1", "2"], "t": ["x", "y"], "cat": pa.array([["A", "B"], None], kind)}
    pq.write_table(pa.table(columns), tmp_path / "p.parquet")
    made = prepare(mapping(paths=[{"column": "cat"}]))
    assert made.nodes() == {"1": ["A > B"], "2": []}


def test_a_number_of_five_thousand_digits_is_one_line(tmp_path, error_of):
    (tmp_path / "p.json").write_text(f'{{"id": 1, "t": "x", "cat": "A", "z": {"1" * 5_000}}}')
    assert "p.json: row 1, line 1: no JSON (a number has too many digits)" in error_of(
        mapping("p.json")
    )
