"""Every refusal says what to do, and doing it helps."""

import copy

import pytest
import yaml

from hierarchy_lm.cli import main

from .conftest import Prepared

BASE = {
    "products": {
        "input": {"files": "p.csv"}, "item_id": "id", "title": "t",
        "paths": [{"column": "c", "separator": "/"}],
    }
}  # fmt: skip
TREE = {"input": {"files": "tree.csv"}, "key": "k", "parent": "p", "name": "n"}


def changed(*keys, value, base=BASE):
    mapping = copy.deepcopy(base)
    target = mapping
    for key in keys[:-1]:
        target = target.setdefault(key, {})
    target[keys[-1]] = value
    return mapping


def by_node(**tree):
    mapping = changed("products", "paths", value=[{"node": "c"}])
    return {**mapping, "tree": {**TREE, **tree}}


INPUT = ("products", "input")
CASES = [
    pytest.param(
        {"p.csv": b"id,t,c\n1,caf\xe9,A\n"}, BASE, ["p.csv: line 2 is not utf-8", "latin-1"],
        [changed(*INPUT, "encoding", value=name) for name in
         ("utf-8-replace", "latin-1", "cp1252")], id="bytes"),
    pytest.param(
        {"p.csv": b"id,t,c\n1,\x81,A\n"}, BASE, ["line 2 is not utf-8", "utf-8-replace or latin-1"],
        [changed(*INPUT, "encoding", value=name) for name in ("utf-8-replace", "latin-1")],
        id="bytes that cp1252 lacks"),
    pytest.param(
        {"p.csv": "id,t,c\n1,été,A\n".encode("utf-16-le")}, BASE, ["p.csv", "utf-16-le"],
        [changed(*INPUT, "encoding", value="utf-16-le")], id="utf-16-le without a mark"),
    pytest.param(
        {"p.csv": "id,t,c\n1,été,A\n".encode("utf-16-be")},
        changed(*INPUT, "encoding", value="utf-16"), ["p.csv", "utf-16-be"],
        [changed(*INPUT, "encoding", value="utf-16-be")], id="utf-16-be without a mark"),
    pytest.param(
        {"p.csv": b'id,t,c\n1,"a \\"b\\" c",A\n'}, BASE, ["p.csv: line 2", "'escape'"],
        [changed(*INPUT, "escape", value="\\")], id="escaped quotes"),
    pytest.param(
        {"p.csv": b'id,t,c\n1,"a" b,A\n'}, BASE, ["p.csv: line 2", "double the quotes"],
        [BASE], id="text behind a quote"),
    pytest.param(
        {"p.csv": b'id,t,c\n1,"24 inch,A\n2,x,A\n'}, BASE, ["p.csv: line 2", "quote: \"\""],
        [changed(*INPUT, "quote", value="")], id="open quote"),
    pytest.param(
        {"p.csv": b"id;t;c\n1;x;A\n"}, BASE, ["p.csv: no column 'id'", "delimiter ';'"],
        [changed(*INPUT, "delimiter", value=";")], id="delimiter"),
    pytest.param(
        {"p.csv": b"id,t,c,t\n1,x,A,y\n"}, BASE,
        ["p.csv: two columns are called 't'", "column_names", "skip_rows: 1"],
        [changed(*INPUT, "column_names", value=["id", "t", "c", "u"],
                 base=changed(*INPUT, "skip_rows", value=1))], id="repeated column"),
    pytest.param(
        {"p.csv": b"id,t,c\n1,x,A\n1,y,B\n"}, BASE,
        ["'1' stands in 2 rows", "duplicate_ids: first"],
        [changed("products", "duplicate_ids", value="first")], id="repeated id"),
    pytest.param(
        {"p.csv": b"id,t,c\n1,x,A\n,y,B\n"}, BASE, ["p.csv: row 2 has no 'id'", "drop 'item_id'"],
        [changed("products", "item_id", value="")], id="missing id"),
    pytest.param(
        {"p.csv": b"id,t,c\n1,x,A//B\n"}, BASE, ["p.csv: row 1", "tree.gaps: cut"],
        [changed("tree", "gaps", value="cut")], id="gap"),
    pytest.param(
        {"p.csv": b"id,t,c\n1,x,a\n2,y,zz\n", "tree.csv": b"k,p,n\na,,A\n"}, by_node(),
        ["p.csv: row 2: the tree has no node 'zz'", "drop_label or drop_row"],
        [changed("products", "unknown_node", value=policy, base=by_node())
         for policy in ("drop_label", "drop_row")], id="unknown node"),
    pytest.param(
        {"p.csv": b"id,t,c\n1,x,c\n", "tree.csv": b"k,p,n\na,,A\nb,,B\nc,a,C\nc,b,C\n"}, by_node(),
        ["tree: node 'c' has 2 parents", "multi_parent: duplicate"],
        [by_node(multi_parent="duplicate")], id="two parents"),
    pytest.param(
        {"p.csv": b"id,t,c\n1,x,c\n", "tree.csv": b"k,p,n\na,,A\nb,a,B\nc,a,B\n"}, by_node(),
        ["nodes 'b' and 'c' have the same path", "same_names: merge"],
        [by_node(same_names="merge")], id="siblings of one name"),
    pytest.param(
        {"p.csv": b"id,t,c,y\n1,x,A,2020\n"}, changed(*INPUT, "keep", value={"y": [2020]}),
        ["products.input.keep: 2020 is a number; put it in quotes"],
        [changed(*INPUT, "keep", value={"y": ["2020"]})], id="number in keep"),
    pytest.param(
        {"p.json": b'{"id": 1, "t": "x", "c": [{"id": 7, "name": "A"}]}'},
        changed(*INPUT, "files", value="p.json",
                base=changed("products", "paths", value=[{"column": "c"}])),
        ["p.json: row 1, column 'c' holds objects", "'field'"],
        [changed(*INPUT, "files", value="p.json",
                 base=changed("products", "paths", value=[{"column": "c", "field": "name"}]))],
        id="objects"),
]  # fmt: skip


def run(folder, mapping):
    config = folder / "mapping.yaml"
    text = yaml.safe_dump({"name": "n", "source": "s", "licence": "l", "threads": 1, **mapping})
    config.write_text(text, encoding="utf-8")
    places = ["--root", str(folder), "--output", str(folder / "out")]
    return main(["prepare", "--config", str(config), *places])


@pytest.mark.parametrize(("files", "mapping", "says", "remedies"), CASES)
def test_a_refusal_and_its_remedies(tmp_path, capsys, files, mapping, says, remedies):
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    assert run(tmp_path, mapping) == 2
    [line] = capsys.readouterr().err.strip().splitlines()
    for part in says:
        assert part in line
    for word in ("Possible", "DuckDB", "duckdb", "CSV Error", "read_csv", "Traceback", "Py4J"):
        assert word not in line
    for number, remedy in enumerate(remedies):
        if remedy is mapping:  # the file is to be mended
            (tmp_path / "p.csv").write_bytes(b'id,t,c\n1,"a"" b",A\n')
        assert run(tmp_path, remedy) == 0
        (tmp_path / "out").rename(tmp_path / f"done{number}")


def test_a_key_written_twice_is_refused(tmp_path, capsys):
    (tmp_path / "m.yaml").write_text(
        "name: n\nsource: s\nlicence: l\nproducts:\n  item_id: a\n  title: t\n  item_id: b\n"
    )
    assert main(["prepare", "--config", str(tmp_path / "m.yaml"), "--output", "x"]) == 2
    message = capsys.readouterr().err
    assert "the key 'item_id' stands on line 5 and again on line 7" in message


def test_too_little_memory_says_which_option(tmp_path, capsys):
    rows = "\n".join(f"{n},{'x' * 400},A/{n % 50}" for n in range(60_000))
    (tmp_path / "p.csv").write_text(f"id,t,c\n{rows}\n")
    assert run(tmp_path, {**BASE, "memory_limit": "6MB"}) == 2
    [line] = [text for text in capsys.readouterr().err.splitlines() if text.startswith("hlm: ")]
    assert "6MB are not enough; raise --memory_limit or lower --threads" in line


@pytest.mark.parametrize(
    ("mapping", "message"),
    [
        (changed("products", "split", value={"column": "t", "values": {1: "train"}}),
         "products.split.values: the key 1 is no text to YAML; put it in quotes"),
        (changed(*INPUT, "keep", value={True: ["x"]}), "products.input.keep: the key true"),
        (changed("tasks", value={"1": {"label": "c"}}) | {"tasks": {1: {"label": "c"}}},
         "tasks: the key 1 is no text"),
        (changed("tasks", value={"a/b": {"label": "c"}}), "'a/b' cannot be a folder's name"),
        (changed("tree", value={"max_depth": -1}), "tree.max_depth must not be negative, got -1"),
        (changed(*INPUT, "skip_rows", value=-1), "products.input.skip_rows must not be negative"),
        (changed(*INPUT, "comment", value=None), "the key 'comment' on line"),
        (changed(*INPUT, "null_values", value=None), "has no value; put the text in quotes"),
        (changed(*INPUT, "files", value=[]), "files: the list is empty"),
        (changed(*INPUT, "files", value=["p.csv", "./p.csv"]), "p.csv: 'files' names it twice"),
        (changed(*INPUT, "files", value="d"), "d: is a folder; name files, as in d/*.csv"),
        (changed("threads", value=100_000), "threads must be from 1 to 1024, got 100000"),
        (changed("memory_limit", value="1KB"), "1KB are not enough; raise --memory_limit"),
        (changed(*INPUT, "keep", value={"c": ["no"]}), "no row is left of the 1 in"),
    ],
)  # fmt: skip
def test_mappings_that_cannot_be_meant(tmp_path, capsys, mapping, message):
    (tmp_path / "p.csv").write_text("id,t,c\n1,x,A\n")
    (tmp_path / "d").mkdir()
    assert run(tmp_path, mapping) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("hlm: ")]
    assert len(lines) == 1
    assert message in lines[0]
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("p.csv", b"\x1f\x8b\x08\x00", "p.csv: this is a gzip file, not text"),
        ("p.csv", b"PK\x03\x04rest", "p.csv: this is a zip or Excel file, not text"),
        ("p.json", b"PAR1rest", "p.json: this is a Parquet file, not text"),
        ("p.csv", "id,t,c\n".encode("utf-32"), "p.csv: this is UTF-32; save it as UTF-8"),
        ("p.csv", b"sep=;\nid;t;c\n1;x;A\n", "set 'skip_rows: 1' and 'delimiter' to ';'"),
    ],
)
def test_a_look_at_the_bytes(tmp_path, capsys, name, data, message):
    (tmp_path / name).write_bytes(data)
    assert run(tmp_path, changed(*INPUT, "files", value=name)) == 2
    assert message in capsys.readouterr().err


def test_what_mysql_and_spark_write(tmp_path):
    (tmp_path / "p.csv").write_text('id,t,c\n1,\\N,A\n2,"a,\\N,b",A\n3,\\N,\\N\n4,a\\,b,A\n')
    assert run(tmp_path, changed(*INPUT, "escape", value="\\")) == 0
    rows = Prepared(tmp_path / "out").rows()
    assert {key: row["title"] for key, row in rows.items()} == {
        "1": None, "2": "a,N,b", "3": None, "4": "a,b",
    }  # fmt: skip
    (tmp_path / "p.csv").write_text('id,t,c\n1,"a ""b""",A\n')
    (tmp_path / "out").rename(tmp_path / "first")
    assert run(tmp_path, changed(*INPUT, "escape", value='"')) == 0
    assert Prepared(tmp_path / "out").rows()["1"]["title"] == 'a "b"'


@pytest.mark.parametrize("name", ["a'\"b", "a\\b", "a\nb", "a\tb", "ü ß", "%25"])
def test_output_folders_of_any_name(tmp_path, name):
    (tmp_path / "p.csv").write_text("id,t,c\n1,x,A\n")
    config = tmp_path / "m.yaml"
    config.write_text(yaml.safe_dump({"name": "n", "source": "s", "licence": "l", **BASE}))
    output = tmp_path / name / "out"
    places = ["--root", str(tmp_path), "--output", str(output)]
    assert main(["prepare", "--config", str(config), *places]) == 0
    assert set(Prepared(output).rows()) == {"1"}
    assert sorted(path.name for path in output.parent.iterdir()) == ["out"]


def test_a_mapping_in_another_encoding(tmp_path, capsys):
    (tmp_path / "m.yaml").write_bytes("name: Gesch\u00e4ft\n".encode("latin-1"))
    assert main(["prepare", "--config", str(tmp_path / "m.yaml"), "--output", "x"]) == 2
    assert "is not UTF-8; save it as UTF-8" in capsys.readouterr().err
