"""Records of a file = rows prepared + rows left out, by cause; and what the report warns of."""

import csv
import gzip
import random

import pytest

from data_modules.prepare.reading.csv_records import CsvReader
from data_modules.prepare.shards import Slice

PATHS = [{"column": "c", "separator": "/"}]


def account(report):
    """The cells of the report's table of rows."""
    section = report.partition("## Rows\n")[2].partition("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("| ")][2:]
    return [tuple(line.strip("| ").split(" | ")) for line in lines]


def test_every_file_and_every_cause(tmp_path, prepare):
    rows = [f"{n % 40},t{n},{'AB'[n % 2]}/{'xyz'[n % 3]},{n % 5},{n % 7}" for n in range(100)]
    (tmp_path / "p1.csv").write_text(
        "\n".join(["# made by hand", "id,t,c,k,s", *rows[:60], "", ""])
    )
    (tmp_path / "p2.csv.gz").write_bytes(
        gzip.compress("\n".join(["id,t,c,k,s", *rows[60:]]).encode())
    )
    (tmp_path / "tree.csv").write_text("p\nA/x\nA/y\nB/x\nB/y\nB/z\n")
    (tmp_path / "j.csv").write_text("s,d\n0,zero\n1,one\n")
    products = {
        "input": {"files": ["p1.csv", "p2.csv.gz"], "keep": {"k": ["0", "1", "2"]}, "comment": "#",
                  "join": {"files": "j.csv", "keys": ["s"]}},
        "item_id": "id", "title": "t", "description": "d", "paths": PATHS,
        "duplicate_ids": "first", "unknown_node": "drop_row", "split": {"share": 0.8},
    }  # fmt: skip
    tree = {"input": {"files": "tree.csv"}, "path": {"column": "p", "separator": "/"}}
    made = prepare({"products": products, "tree": tree})
    # By hand: of 100 rows 60 have k in 0 to 2; what the other causes take is counted here.
    kept = [n for n in range(100) if n % 5 < 3]
    firsts = {}
    for n in kept:
        firsts.setdefault(n % 40, n)
    repeated = [n for n in kept if firsts[n % 40] != n]
    found = {use: (name, records, prepared, causes) for name, use, records, prepared, causes
             in account(made.report) if not name.endswith("p2.csv.gz")}  # fmt: skip
    assert found["products, join 1"][1:] == ("2", "2", "0")
    assert found["tree"][1:] == ("5", "5", "0")
    both = [row for row in account(made.report) if row[1] == "products"]
    assert [row[2] for row in both] == ["60", "40"]
    counted = {}
    for _, _, records, prepared, causes in both:
        parts = [part.split(" left out ") for part in causes.split("; ")]
        assert int(records) == int(prepared) + sum(int(number) for number, _ in parts)
        for number, cause in parts:
            counted[cause] = counted.get(cause, 0) + int(number)
    assert counted["by 'keep'"] == 40
    assert counted["for a repeated id"] == len(repeated)
    assert sum(int(row[3]) for row in both) == len(made.rows())
    for line in ("blank lines: 1", "comment lines: 1"):
        assert f"- {line}" in made.report


@pytest.mark.parametrize("lost", [0, 1, 49])
def test_a_row_that_a_reader_loses_is_a_refusal(tmp_path, error_of, monkeypatch, lost):
    """The reader's batches against the records that it counted."""
    (tmp_path / "p.csv").write_text("\n".join(["id,t,c", *(f"{n},t,A" for n in range(50))]))
    whole = CsvReader.batches

    def batches(self, wanted):
        for batch in whole(self, wanted):
            columns = {name: values.slice(0, lost) for name, values in batch.columns.items()}
            yield type(batch)(batch.first, lost, columns)

    monkeypatch.setattr(CsvReader, "batches", batches)
    products = {"input": {"files": "p.csv"}, "item_id": "id", "title": "t", "paths": PATHS}
    message = error_of({"products": products})
    assert f"p.csv: 50 records, of which {lost} were read and 0 left out" in message


def test_a_row_that_the_engine_loses_is_a_refusal(tmp_path, error_of, monkeypatch):
    (tmp_path / "p.csv").write_text("\n".join(["id,t,c", *(f"{n},t,A" for n in range(50))]))
    products = {"input": {"files": "p.csv"}, "item_id": "id", "title": "t", "paths": PATHS}
    with monkeypatch.context() as patch:
        patch.setattr("data_modules.prepare.products.identify",
                      lambda places, rows, options, use: rows.filter(rows["source_row"] != 7)
                      .mutate(split=rows["title"].upper()))  # fmt: skip
        message = error_of({"products": products})
    assert "p.csv: 50 records, but 49 rows are accounted for" in message
    monkeypatch.setattr("data_modules.prepare.shards._cut",
                        lambda places, rows: [(Slice(places[0], 0, 1),)])  # fmt: skip
    assert "products: 50 rows are to be written, but 3 were" in error_of({"products": products})


def test_regular_and_irregular_csv_are_read_alike(tmp_path, prepare):
    """A quote inside an unquoted value makes the slow parser take over in the middle of a file."""
    rng = random.Random(0)
    rows = [[str(n), f"t{n} {'x' * rng.randrange(2_000)}", "A/B"] for n in range(9_000)]
    rows[4_000][1] = 'a 24" screen'
    rows[8_000][1] = 'quoted, "and"\nbroken'
    lines = [["id", "t", "c"], *rows]
    with (tmp_path / "p.csv").open("w", newline="") as stream:
        for row in lines:
            if row[0] == "4000":
                stream.write(",".join(row) + "\r\n")
            else:
                csv.writer(stream).writerow(row)
    made = prepare({"products": {"input": {"files": "p.csv"}, "item_id": "id", "title": "t",
                                 "paths": PATHS}})  # fmt: skip
    assert {key: row["title"] for key, row in made.rows().items()} == {
        key: title for key, title, _ in rows
    }


def warnings(report):
    section = report.partition("## Warnings\n")[2].partition("\n## ")[0]
    return [line.removeprefix("- ") for line in section.splitlines() if line]


def test_empty_splits_and_labels_of_the_test_split_alone(tmp_path, prepare, capsys):
    rows = ["1,x,A/B,train,l", "2,y,A/C,test,m", "3,z,A/B,test,l"]
    (tmp_path / "p.csv").write_text("\n".join(["id,t,c,s,l", *rows]))
    products = {"input": {"files": "p.csv"}, "item_id": "id", "title": "t", "paths": PATHS,
                "split": {"column": "s"}}  # fmt: skip
    made = prepare({"products": products, "tasks": {"t": {"label": "l"}}})
    assert warnings(made.report) == [
        "products: the validation split is empty; see 'split' in the mapping",
        "products: nodes that occur in the test split alone: 1, 'A > C'",
        "tasks.t: the validation split is empty; see 'split' in the mapping",
        "tasks.t: labels that occur in the test split alone: 1, 'm'",
    ]
    printed = " ".join(capsys.readouterr().out.split())
    assert "Warning: tasks.t: the validation split is empty; see 'split' in the mapping" in printed


@pytest.mark.parametrize("policy", ["drop_row", "drop_label"])
def test_a_tree_that_fits_few_rows(tmp_path, prepare, policy):
    (tmp_path / "tree.csv").write_text("p\nA\n")
    (tmp_path / "p.csv").write_text(
        "\n".join(["id,t,c", "0,x,A", *(f"{n},x,a{n}" for n in range(1, 9))])
    )
    products = {"input": {"files": "p.csv"}, "item_id": "id", "title": "t", "paths": PATHS,
                "unknown_node": policy}  # fmt: skip
    tree = {"input": {"files": "tree.csv"}, "path": {"column": "p"}}
    found = "\n".join(warnings(prepare({"products": products, "tree": tree}).report))
    what = "left out 8 of 9 rows" if policy == "drop_row" else "took a node from 8 of 9 rows"
    assert f"unknown_node: {policy} {what}; do the rows and the tree use the same names" in found


@pytest.mark.parametrize(
    ("cells", "options", "message"),
    [
        ([f"A{n}>B" for n in range(300)], {}, "300 nodes on a single level, such as 'A0>B'"),
        (['"[""A"", ""B""]"'] * 9, {}, '1 names begin with { or [, such as \'["A", "B"]\''),
        (["nan", "A", "NULL"], {}, "2 names look like a writer's word for missing, such as 'NULL'"),
    ],
)
def test_an_odd_tree(tmp_path, prepare, cells, options, message):
    (tmp_path / "p.csv").write_text(
        "\n".join(["id,t,c", *(f"{n},x,{c}" for n, c in enumerate(cells))])
    )
    products = {"input": {"files": "p.csv", **options}, "item_id": "id", "title": "t"}
    made = prepare({"products": {**products, "paths": [{"column": "c"}]}})
    assert any(message in line for line in warnings(made.report)), warnings(made.report)


def test_ids_made_from_text_keep_a_task_s_test_rows_out_of_training(tmp_path, prepare):
    rows = [f"title {n % 70},text {n % 3},A/{n % 4},{n % 5},q{n}" for n in range(200)]
    (tmp_path / "p.csv").write_text("\n".join(["t,d,c,l,q", *rows]))
    products = {"input": {"files": "p.csv"}, "title": "t", "description": "d", "paths": PATHS}
    own = {"input": {"files": "p.csv"}, "title": "t", "description": "d", "label": "l"}
    other_text = {"label": "l", "title": "d", "description": "q"}
    pairs = {"label": "l", "query": "q"}
    tasks = {"same": {"label": "l"}, "own": own, "other": other_text, "pairs": pairs}
    made = prepare({"products": products, "tasks": tasks})
    splits = {key: row["split"] for key, row in made.rows().items()}
    assert len(splits) == 200
    for task in tasks:
        rows = made.rows(f"tasks/{task}")
        assert {key: row["split"] for key, row in rows.items()} == splits, task


def test_empty_rows_of_a_spreadsheet_are_left_out_and_counted(tmp_path, prepare, error_of):
    rows = ["1,x,A,", ",,,", ", ,\u00a0,", "2,y,A,", ",,,seen"]
    (tmp_path / "p.csv").write_text("\n".join(["id,t,c,note", *rows]), encoding="utf-8")
    products = {"input": {"files": "p.csv"}, "item_id": "id", "title": "t", "paths": PATHS}
    made = prepare({"products": products})
    assert set(made.rows()) == {"1", "2"}
    assert account(made.report) == [("p.csv", "products", "5", "2", "3 left out for being empty")]
    (tmp_path / "p.csv").write_text("id,t,c\n1,x,A\n,y,\n")
    assert "p.csv: row 2 has no 'id'" in error_of({"products": products}, "other")


def test_paths_that_a_tree_option_moves_or_drops_are_counted(tmp_path, prepare):
    (tmp_path / "p.csv").write_text("id,t,c\n1,x,A/B\n2,y,A/C\n3,z,A/C\n4,w,D\n5,v,A/C/E\n")
    products = {"input": {"files": "p.csv"}, "item_id": "id", "title": "t", "paths": PATHS}
    made = prepare({"products": products, "tree": {"min_items": 2, "max_depth": 2}})
    assert made.nodes() == {"1": ["A"], "2": ["A > C"], "3": ["A > C"], "4": [], "5": ["A > C"]}
    assert "cut by 'max_depth' or moved up by 'min_items': 2" in made.report
    assert "dropped by 'min_items': 1" in made.report


def test_what_duplication_and_merging_did_is_counted_apart(tmp_path, prepare):
    """c has two parents; d and e, both called D, are repeated with it and merged."""
    (tmp_path / "tree.csv").write_text("k,p,n\na,,A\nb,,B\nc,a,C\nc,b,C\nd,c,D\ne,c,D\n")
    (tmp_path / "p.csv").write_text("id,t,c\n1,x,d\n2,y,e\n")
    products = {"input": {"files": "p.csv"}, "item_id": "id", "paths": [{"node": "c"}]}
    tree = {"input": {"files": "tree.csv"}, "key": "k", "parent": "p", "name": "n"}
    tree |= {"multi_parent": "duplicate", "same_names": "merge"}
    made = prepare({"products": products, "tree": tree})
    assert made.paths == ["A", "B", "A > C", "B > C", "A > C > D", "B > C > D"]
    assert made.nodes() == {key: ["A > C > D", "B > C > D"] for key in "12"}
    assert "nodes of several parents: 1\n" in made.report
    assert "nodes added by 'multi_parent: duplicate': 3\n" in made.report
    assert "nodes merged with a sibling of the same name: 2\n" in made.report


def test_a_tree_file_is_filtered_like_rows(tmp_path, prepare):
    (tmp_path / "tree.csv").write_text("k,p,n,live\na,,A,1\nb,a,B,1\nz,a,Z,0\n")
    (tmp_path / "p.csv").write_text("id,t,c\n1,x,b\n")
    products = {"input": {"files": "p.csv"}, "item_id": "id", "paths": [{"node": "c"}]}
    tree = {"input": {"files": "tree.csv", "keep": {"live": ["1"]}}}
    tree |= {"key": "k", "parent": "p", "name": "n"}
    made = prepare({"products": products, "tree": tree})
    assert made.paths == ["A", "A > B"]
    assert ("tree.csv", "tree", "3", "2", "1 left out by 'keep'") in account(made.report)
