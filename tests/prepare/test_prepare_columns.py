"""Files and columns are the ones named, wherever they lie and whatever they are called."""

import gzip
import json
import shutil
import zipfile

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from openpyxl import Workbook

from .conftest import Prepared, run

ROWS = [{"id": "1", "title": "one", "cat": "A/B"}, {"id": "2", "title": "two", "cat": "A/C"}]
COLUMNS = {"item_id": "id", "title": "title", "paths": [{"column": "cat", "separator": "/"}]}
NODES = {"1": ["A > B"], "2": ["A > C"]}


def mapping(files, **options):
    return {"products": {**COLUMNS, "input": {"files": files, **options}}}


def write(path, rows=ROWS):
    """A file of the format that its name says."""
    path.parent.mkdir(parents=True, exist_ok=True)
    names = list(rows[0])
    lines = "\n".join([",".join(names), *(",".join(row.values()) for row in rows)])
    if path.suffix == ".csv":
        path.write_text(lines)
    elif path.suffix == ".jsonl":
        path.write_text("\n".join(map(json.dumps, rows)))
    elif path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    elif path.suffix == ".xlsx":
        book = Workbook()
        for row in [names, *(list(row.values()) for row in rows)]:
            book.active.append(row)
        book.save(path)


FORMATS = ("csv", "jsonl", "parquet", "xlsx")


@pytest.mark.parametrize("ending", FORMATS)
@pytest.mark.parametrize(
    "folder", ["x", "cat=Shoes", "title=zzz/split=v2", "locale=de", "weight=0", "a[1]/b*c?"]
)
def test_a_folder_s_name_is_no_data(tmp_path, folder, ending):
    write(tmp_path / folder / f"p.{ending}")
    output = f"{folder}/out"
    assert run(tmp_path, mapping(f"{folder}/p.{ending}"), output) == 0
    made = Prepared(tmp_path / output)
    assert made.nodes() == NODES
    assert {row["title"] for row in made.rows().values()} == {"one", "two"}
    assert all(row["locale"] is None and row["weight"] == 1 for row in made.rows().values())


PATTERNS = ["a[1]", "x*", "q?", "{a,b}", "[!c]", 'it\'s "q";--', "ü#%25"]


@pytest.mark.parametrize("ending", ["csv", "parquet"])
@pytest.mark.parametrize("name", PATTERNS)
def test_a_name_with_pattern_marks_is_that_file(tmp_path, prepare, name, ending):
    others = [{**row, "title": "wrong"} for row in ROWS]
    for other in ("a1", "xy", "qq", "a", "b", "d"):
        write(tmp_path / f"{other}.{ending}", others)
    write(tmp_path / f"{name}.{ending}")
    made = prepare(mapping(f"{name}.{ending}"))
    assert {key: row["title"] for key, row in made.rows().items()} == {"1": "one", "2": "two"}


def test_a_pattern_still_matches_where_no_file_has_its_name(tmp_path, prepare):
    write(tmp_path / "a1.csv", ROWS[:1])
    write(tmp_path / "a2.csv", ROWS[1:])
    write(tmp_path / "a3.csv", [{"id": "3", "title": "three", "cat": "A"}])
    assert prepare(mapping("a[12].csv")).nodes() == NODES


ODD = ("source_row", "source_file", "left_out", "item_id", "split", "path_0", "c0", "item", "ids",
       "row", "text_hash", "number", "a.b", "a b", "select", "title_right", "ünï")  # fmt: skip


@pytest.mark.parametrize("ending", FORMATS)
@pytest.mark.parametrize(
    ("item_id", "title", "description", "path"),
    [
        ("item_id", "source_row", "left_out", "path_0"),
        ("number", "text_hash", "a.b", "split"),
        ("ids", "source_file", "title_right", "a b"),
        ("ünï", "select", "c0", "item"),
    ],
)
def test_a_column_may_have_any_name(tmp_path, prepare, ending, item_id, title, description, path):
    write(tmp_path / f"p.{ending}", [{name: f"{name} {n}" for name in ODD} for n in (1, 2)])
    products = {"item_id": item_id, "title": title, "description": description}
    products |= {"paths": [{"columns": [path]}], "input": {"files": f"p.{ending}"}}
    made = prepare({"products": products})
    assert made.nodes() == {f"{item_id} {n}": [f"{path} {n}"] for n in (1, 2)}
    texts = {(row["title"], row["description"]) for row in made.rows().values()}
    assert texts == {(f"{title} {n}", f"{description} {n}") for n in (1, 2)}


@pytest.mark.parametrize("ending", FORMATS)
def test_columns_that_differ_in_case_are_two(tmp_path, prepare, ending):
    write(tmp_path / f"p.{ending}", [{**row, "Title": "UPPER", "TITLE": "ALL"} for row in ROWS])
    made = prepare(mapping(f"p.{ending}"))
    assert {row["title"] for row in made.rows().values()} == {"one", "two"}


def test_a_repeated_column_is_refused_in_every_format(tmp_path, error_of):
    (tmp_path / "p.csv").write_text("id,title,cat,title\n1,a,A,b\n")
    table = pa.table([["1"], ["a"], ["A"], ["b"]], names=["id", "title", "cat", "title"])
    pq.write_table(table, tmp_path / "p.parquet")
    (tmp_path / "p.json").write_text('{"id": "1", "title": "a", "cat": "A", "title": "b"}')
    write(tmp_path / "p.xlsx", [{"id": "1", "title": "a", "cat": "A", "title ": "b"}])
    for ending in ("csv", "parquet", "json", "xlsx"):
        message = error_of(mapping(f"p.{ending}"))
        assert f"p.{ending}" in message
        assert "title" in message
        assert "two columns" in message or "twice" in message


def test_what_a_mac_adds_is_not_read(tmp_path, prepare):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("p.csv", "id,title,cat\n1,one,A/B\n2,two,A/C\n")
        archive.writestr("__MACOSX/._p.csv", b"\x00\x05\x16\x07\xff")
        archive.writestr(".DS_Store", b"\x00\x00")
    assert prepare(mapping("a.zip")).nodes() == NODES
    shutil.rmtree(tmp_path / "out")
    write(tmp_path / "d" / "p.csv")
    (tmp_path / "d" / "._p.csv").write_bytes(b"\x00\x05\x16\x07\xff")
    assert prepare(mapping("d/*.csv")).nodes() == NODES


@pytest.mark.parametrize("name", ["P.CSV", "p.Csv.gz", "P.CSV.GZ", "P.JSONL", "P.PARQUET"])
def test_endings_are_told_without_regard_to_case(tmp_path, prepare, name):
    plain = name.lower().removesuffix(".gz")
    write(tmp_path / plain)
    data = (tmp_path / plain).read_bytes()
    (tmp_path / plain).unlink()
    (tmp_path / name).write_bytes(gzip.compress(data) if name.lower().endswith("gz") else data)
    assert prepare(mapping(name)).nodes() == NODES


def test_files_of_one_catalogue_may_name_a_column_differently(tmp_path, prepare, error_of):
    write(tmp_path / "en.csv", ROWS[:1])
    write(tmp_path / "de.csv", [{"id": "2", "Titel": "zwei", "Kategorie": "A/C"}])
    assert "de.csv: no column 'title'" in error_of(mapping(["en.csv", "de.csv"]))
    rename = {"Titel": "title", "Kategorie": "cat"}
    made = prepare(mapping(["en.csv", "de.csv"], rename=rename))
    assert made.nodes() == NODES
    assert made.rows()["2"]["title"] == "zwei"


def test_renaming_to_a_name_that_is_there_is_refused(tmp_path, error_of):
    write(tmp_path / "p.csv")
    assert "two columns are called 'cat'" in error_of(mapping("p.csv", rename={"title": "cat"}))


def test_sheets_header_rows_and_types_of_excel(tmp_path, prepare, error_of):
    book = Workbook()
    book.active.append(["a cover sheet"])
    sheet = book.create_sheet("Data")
    for row in [["export of May"], ["id", "title", "cat", None], [11.0, "x", "A/B"],
                [None, None, None], [12, 1.5, "A/C"]]:  # fmt: skip
        sheet.append(row)
    book.save(tmp_path / "p.xlsx")
    made = prepare(mapping("p.xlsx", sheet="Data", skip_rows=1))
    assert made.nodes() == {"11": ["A > B"], "12": ["A > C"]}
    assert made.rows()["12"]["title"] == "1.5"
    assert "blank lines: 1" in made.report
    assert "no sheet 'data'; it has Sheet, Data" in error_of(mapping("p.xlsx", sheet="data"), "x")


def test_a_broken_excel_file_is_one_line(tmp_path, error_of):
    (tmp_path / "p.xlsx").write_bytes(b"PK\x03\x04 no workbook")
    assert "p.xlsx: no readable .xlsx file" in error_of(mapping("p.xlsx"))


@pytest.mark.parametrize("mark", ["#", "~", "|", "null", "yes", "-", "#x", "{a}", "*", "''"])
def test_what_means_something_to_yaml_is_a_text_in_quotes(tmp_path, prepare, mark):
    header = ",".join(["id", mark, "cat"])
    (tmp_path / "p.csv").write_text(f"{header}\n1,one{mark}two,A\n")
    products = {"item_id": "id", "title": mark, "bullet_points": mark, "bullet_separator": mark,
                "paths": [{"column": "cat"}], "input": {"files": "p.csv"}}  # fmt: skip
    rows = prepare({"products": products}).rows()
    assert rows["1"]["title"] == f"one{mark}two"
    assert rows["1"]["bullet_points"] == ["one", "two"]
