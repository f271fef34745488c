"""File formats, compression, globs and encodings; every mistake is one line that names the file."""

import gzip
import json
import shutil
import zipfile

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

ROWS = [{"id": "1", "t": 'a "b", c\nd', "a": "A"}, {"id": "02", "t": "é", "a": "B"}]
CSV = 'id,t,a\n1,"a ""b"", c\nd",A\n02,é,B\n'
TITLES = {"1": 'a "b", c\nd', "02": "é"}


def mapping(files, **options):
    columns = {"item_id": "id", "title": "t", "paths": [{"columns": ["a"]}]}
    return {"products": {**columns, "input": {"files": files, **options}}}


def titles(made):
    return {key: row["title"] for key, row in made.rows().items()}


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("p.csv", CSV),
        ("p.tsv", 'id\tt\ta\n1\t"a ""b"", c\nd"\tA\n02\té\tB\n'),
        ("p.jsonl", "\n".join(map(json.dumps, ROWS))),
        ("p.json", json.dumps(ROWS, indent=1)),
        ("p.json", "\n".join(json.dumps(row, ensure_ascii=False) for row in ROWS)),
    ],
)
@pytest.mark.parametrize("packing", ["plain", "gz", "zip", "zip of gz"])
def test_text_formats(tmp_path, prepare, name, content, packing):
    data = content.encode()
    if packing == "plain":
        (tmp_path / name).write_bytes(data)
    elif packing == "gz":
        (tmp_path / f"{name}.gz").write_bytes(gzip.compress(data))
    else:
        inner = (f"{name}.gz", gzip.compress(data)) if "of" in packing else (name, data)
        with zipfile.ZipFile(tmp_path / "p.zip", "w") as archive:
            archive.writestr(*inner)
            archive.writestr("readme.md", "no table")
    files = {"plain": name, "gz": f"{name}.gz"}.get(packing, f"p.zip::{name}*")
    assert titles(prepare(mapping(files))) == TITLES


def test_parquet_with_numbers_and_several_files(tmp_path, prepare):
    (tmp_path / "d").mkdir()
    pq.write_table(
        pa.table({"id": [1, 2], "t": ["x", "y"], "a": ["A", "A"]}), tmp_path / "d/1.parquet"
    )
    pq.write_table(pa.table({"a": ["B"], "id": ["3"], "t": ["z"]}), tmp_path / "d/2.parquet")
    (tmp_path / "d/3.parquet.gz").write_bytes(
        gzip.compress((tmp_path / "d/2.parquet").read_bytes())
    )
    made = prepare(mapping("d/*.parquet"))
    assert titles(made) == {"1": "x", "2": "y", "3": "z"}
    shutil.rmtree(made.folder)
    assert titles(prepare(mapping("d/3.parquet.gz"))) == {"3": "z"}


def test_numbers_in_json_keep_their_text(tmp_path, prepare):
    (tmp_path / "p.json").write_text(
        '{"id": 1, "t": "2020-01-01", "a": 1.50}\n{"id": 2.5, "t": "x", "a": null}'
    )
    made = prepare(mapping("p.json"))
    assert titles(made) == {"1": "2020-01-01", "2.5": "x"}


def test_csv_without_header_and_unquoted(tmp_path, prepare):
    (tmp_path / "p.txt").write_text('1;6" pipe;A\n2;"x;B\n')
    options = {"column_names": ["id", "t", "a"], "delimiter": ";", "quote": ""}
    assert titles(prepare(mapping("p.txt", **options))) == {"1": '6" pipe', "2": '"x'}


def test_globs_and_lists_of_files(tmp_path, prepare):
    for number in range(3):
        (tmp_path / f"p{number}.csv").write_text(f"id,t,a\n{number},x{number},A\n")
    (tmp_path / "q.csv").write_text("id,t,a\n9,x9,A\n")
    made = prepare(mapping(["p*.csv", "q.csv"]))
    assert titles(made) == {"0": "x0", "1": "x1", "2": "x2", "9": "x9"}


def test_keep_filters_and_counts(tmp_path, prepare):
    (tmp_path / "p.csv").write_text("id,t,a,l\n1,x,A,us\n2,y,A,de\n3,z,A,\n")
    made = prepare(mapping("p.csv", keep={"l": ["us"]}))
    assert titles(made) == {"1": "x"}
    assert "rows left out by 'keep': 2" in made.report


@pytest.mark.parametrize(
    ("encoding", "data", "title"),
    [
        ("utf-8", b"\xef\xbb\xbfid,t,a\n1,\xc3\xa9,A\n", "é"),
        ("latin-1", b"id,t,a\n1,\xe9\x81,A\n", "é\x81"),
        ("cp1252", b"id,t,a\n1,\x80,A\n", "€"),
        (
            "utf-8-replace",
            "id,t,a\n1,\ufffd é,A\n".encode().replace(b" ", b"\xff\xfe"),
            "\ufffd\ufffd\ufffdé",
        ),
    ],
)
def test_encodings(tmp_path, prepare, encoding, data, title):
    (tmp_path / "p.csv").write_bytes(data)
    made = prepare(mapping("p.csv", encoding=encoding))
    assert titles(made) == {"1": title}
    assert ("characters replaced: 2" in made.report) == (encoding == "utf-8-replace")


def test_a_byte_order_mark_inside_a_file_is_text(tmp_path, prepare):
    (tmp_path / "p.csv").write_text("t,id,a\n\ufeffx,1,A\n\ufeffy,2,A\n", encoding="utf-8-sig")
    assert titles(prepare(mapping("p.csv"))) == {"1": "\ufeffx", "2": "\ufeffy"}


def test_a_text_of_ten_megabytes_is_kept(tmp_path, prepare):
    text = "word " * 2_000_000
    (tmp_path / "p.csv").write_text(f"id,t,a\n1,{text},A\n2,x,A\n")
    made = prepare(mapping("p.csv"))
    assert made.rows()["1"]["title"] == text


def test_empty_texts_and_missing_descriptions_are_kept_and_counted(tmp_path, prepare):
    (tmp_path / "p.csv").write_text("id,t,a,d\n1,,A,\n2, ,A,\n3,x,A,\n")
    options = mapping("p.csv")
    options["products"]["description"] = "d"
    made = prepare(options)
    assert titles(made) == {"1": None, "2": None, "3": "x"}
    assert all(row["description"] is None for row in made.rows().values())
    lines = made.report.splitlines()
    rows = [line.split(" | ") for line in lines if line.startswith(("| tr", "| va", "| te"))]
    # Columns: split, rows, no title, no description, no bullet points, no text at all, ...
    assert [sum(int(row[column]) for row in rows) for column in range(1, 6)] == [3, 2, 3, 3, 2]


CSV_GZ = gzip.compress(CSV.encode())
PARQUET = pa.BufferOutputStream()
pq.write_table(pa.table({"id": ["1"], "t": ["x"], "a": ["A"]}), PARQUET)
PARQUET_BYTES = PARQUET.getvalue().to_pybytes()


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        pytest.param("p.csv", b"", "p.csv: the file is empty", id="zero bytes"),
        pytest.param("p.parquet", b"", "p.parquet: the file is empty", id="zero-byte parquet"),
        pytest.param("p.csv.gz", gzip.compress(b""), "p.csv.gz: the file is empty", id="empty gz"),
        pytest.param("p.csv.gz", CSV_GZ[:-9], "p.csv.gz: broken archive", id="cut gzip"),
        pytest.param("p.csv.gz", b"no gzip at all", "p.csv.gz: broken archive", id="no gzip"),
        pytest.param("p.zip", b"PK\x03\x04 cut", "p.zip: broken archive", id="cut zip"),
        pytest.param("p.parquet", PARQUET_BYTES[:-20], "p.parquet: ", id="cut parquet"),
        pytest.param("p.parquet", b"PAR1" * 9, "p.parquet: ", id="no parquet"),
        pytest.param(
            "p.csv",
            b"id,t,a\n1,x,A\n2,x,A,B\n",
            "row 2, line 3: 4 values for 3 columns",
            id="long row",
        ),
        pytest.param(
            "p.csv",
            b"id,t,a\n1,x,A\n2,x\n",
            "row 2, line 3: 2 values for 3 columns",
            id="short row",
        ),
        pytest.param(
            "p.csv", b'id,t,a\n1,x,A\n2,"x,A\n', "line 3: a quote opens here", id="open quote"
        ),
        pytest.param("p.csv", b"id,t\n1,x\n", "no column 'a'; the file has: id, t", id="column"),
        pytest.param("p.csv", b"id,t,a,a\n1,x,A,A\n", "two columns are called", id="two columns"),
        pytest.param("p.csv", b"id,t,a\n1,x,A\n2,\xff,A", "line 3 is not utf-8", id="bytes"),
        pytest.param(
            "p.json", b'{"id": "1", "t": "x"}\n{"id": ', "row 2, line 2: no JSON", id="cut json"
        ),
        pytest.param("p.json", b"[]", "no column 'id'", id="empty json"),
        pytest.param("p.csv", b"id,t,a\n", "p.csv; check the files", id="only a header"),
        pytest.param("p.xls", b"x", "p.xls: old Excel files are not read", id="old Excel"),
        pytest.param("p.xyz", b"x", "p.xyz: unknown format 'xyz'", id="format"),
    ],
)
def test_broken_files(tmp_path, error_of, name, content, message):
    (tmp_path / name).write_bytes(content)
    line = error_of(mapping(name))
    assert message in line
    assert name in line
    assert len(line) < 600


def test_a_missing_file_names_the_pattern(tmp_path, error_of):
    assert f"{tmp_path / 'z*.csv'}: no such file" in error_of(mapping("z*.csv"))


def test_a_missing_member_names_what_is_there(tmp_path, error_of):
    with zipfile.ZipFile(tmp_path / "p.zip", "w") as archive:
        archive.writestr("x.csv", "id,t,a\n1,x,A\n")
    assert "no member 'y.csv' in the archive; it holds ['x.csv']" in error_of(
        mapping("p.zip::y.csv")
    )


def test_a_folder_that_holds_something_is_left_alone(tmp_path, error_of):
    (tmp_path / "p.csv").write_text(CSV)
    (tmp_path / "out").mkdir()
    (tmp_path / "out/mine").write_text("x")
    assert "is there already" in error_of(mapping("p.csv"))
    assert (tmp_path / "out/mine").read_text() == "x"


def test_an_empty_folder_is_taken(tmp_path, prepare):
    (tmp_path / "p.csv").write_text(CSV)
    (tmp_path / "out").mkdir()
    assert titles(prepare(mapping("p.csv"))) == TITLES


def test_a_folder_that_cannot_be_written(tmp_path, error_of):
    (tmp_path / "p.csv").write_text(CSV)
    (tmp_path / "file").write_text("x")
    assert "cannot be written" in error_of(mapping("p.csv"), output="file/out")


@pytest.mark.parametrize(
    ("place", "key"),
    [("products", "tittle"), ("input", "encodin"), ("paths", "colums"), (None, "naem")],
)
def test_a_mistyped_key_is_named(tmp_path, error_of, place, key):
    (tmp_path / "p.csv").write_text(CSV)
    wrong = mapping("p.csv")
    products = wrong["products"]
    target = {"products": products, "input": products["input"], "paths": products["paths"][0]}
    target.get(place, wrong)[key] = "x"
    assert f"'{key}'" in error_of(wrong) or f'"{key}"' in error_of(wrong)
