"""Further columns from other files: several joins, names that differ, one that needs another."""

import pytest


def write(folder, **files):
    for name, text in files.items():
        (folder / f"{name}.csv").write_text(text)


def mapping(join, **products):
    columns = {"item_id": "id", "title": "title", "paths": [{"columns": ["dep", "cat"]}]}
    return {"products": {**columns, "input": {"files": "p.csv", "join": join}, **products}}


def test_a_list_of_joins_in_which_one_needs_another(tmp_path, prepare):
    write(
        tmp_path,
        p="id,sku,cat_id\n1,a,c1\n2,b,c2\n3,zz,c1\n4,a,\n",
        text="SKU,title,text\na,Title A,long a\nb,Title B,\n",
        cats="code,cat,dep_id\nc1,Cat 1,d1\nc2,Cat 2,d2\n",
        deps="dep_id,dep\nd1,Dep 1\nd2,Dep 2\n",
    )
    joins = [
        {"files": "text.csv", "keys": {"sku": "SKU"}},
        {"files": "cats.csv", "keys": {"cat_id": "code"}},
        {"files": "deps.csv", "keys": ["dep_id"]},
    ]
    made = prepare(mapping(joins, description="text"))
    assert made.nodes() == {
        "1": ["Dep 1 > Cat 1"], "2": ["Dep 2 > Cat 2"], "3": ["Dep 1 > Cat 1"], "4": [],
    }  # fmt: skip
    texts = {key: (row["title"], row["description"]) for key, row in made.rows().items()}
    assert texts == {"1": ("Title A", "long a"), "2": ("Title B", None), "3": (None, None),
                     "4": ("Title A", "long a")}  # fmt: skip


def test_keys_of_other_types_meet_as_texts(tmp_path, prepare):
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pa.table({"k": [1.0, 2.0, None], "title": ["x", "y", "z"]})
    pq.write_table(table, tmp_path / "t.parquet")
    write(tmp_path, p="id,k,dep,cat\n1, 1 ,D,C\n2,2,D,C\n3,,D,C\n")
    made = prepare(mapping({"files": "t.parquet", "keys": ["k"]}))
    assert {key: row["title"] for key, row in made.rows().items()} == {
        "1": "x",
        "2": "y",
        "3": None,
    }


def test_a_column_of_both_sides_is_the_row_s_own(tmp_path, prepare):
    write(tmp_path, p="id,k,title,dep,cat\n1,a,mine,D,C\n", t="k,title,title_right\na,other,x\n")
    made = prepare(mapping({"files": "t.csv", "keys": ["k"]}))
    assert made.rows()["1"]["title"] == "mine"


@pytest.mark.parametrize(
    ("files", "join", "message"),
    [
        ({"t": "k,title\na,x\na,y\n"}, {"keys": ["k"]}, "the join key k 'a' stands there more"),
        ({"t": "k,title\na,x\n"}, {"keys": ["q"]}, "t.csv: no column 'q'"),
        ({"t": "k,title\na,x\n"}, {"keys": {"q": "k"}}, "p.csv: no column 'q'"),
        ({"t": "k,title\na,x\n"}, {}, "'keys' is missing"),
        ({"t": "k,txt\na,x\n"}, {"keys": ["k"]}, "no column 'title'"),
    ],
)
def test_joins_that_do_not_fit(tmp_path, error_of, files, join, message):
    write(tmp_path, p="id,k,dep,cat\n1,a,D,C\n", **files)
    assert message in error_of(mapping({"files": "t.csv", **join}))


def test_a_column_that_some_files_have_and_the_join_too(tmp_path, error_of):
    write(tmp_path, p1="id,k,title,dep,cat\n1,a,x,D,C\n", p2="id,k,dep,cat\n2,a,D,C\n",
          t="k,title\na,other\n")  # fmt: skip
    found = mapping({"files": "t.csv", "keys": ["k"]})
    found["products"]["input"]["files"] = ["p1.csv", "p2.csv"]
    assert "p2.csv: no column 'title', which other files of this input have" in error_of(found)


def test_rows_without_a_partner_are_counted(tmp_path, prepare):
    write(tmp_path, p="id,k,dep,cat\n1,a,D,C\n2,zz,D,C\n3,,D,C\n", t="k,title\na,x\n")
    made = prepare(mapping({"files": "t.csv", "keys": ["k"]}))
    assert "products: rows without a partner in join 1: 2" in made.report


def test_a_task_whose_products_are_unknown_says_so(tmp_path, prepare):
    write(tmp_path, p="id,title,dep,cat\n1,x,D,C\n", q="id,prod,l\n1,zz,a\n2,yy,b\n")
    found = mapping(None)
    found["products"]["input"] = {"files": "p.csv"}
    task = {"input": {"files": "q.csv"}, "item_id": "id", "label": "l", "product_id": "prod"}
    made = prepare({**found, "tasks": {"t": task}})
    assert "tasks.t: rows whose product has no node: 2" in made.report
