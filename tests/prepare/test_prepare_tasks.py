"""Tasks: kinds, labels, pairs, and what a task takes over from the products."""

import pytest


def task(**options):
    return {
        "tasks": {"t1": {"input": {"files": "p.csv"}, "item_id": "id", "title": "t", **options}}
    }


def write(tmp_path, header, *rows):
    (tmp_path / "p.csv").write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")


def test_multiclass_labels_are_sorted_and_unlabelled_rows_counted(tmp_path, prepare):
    write(tmp_path, "id,t,l", "1,x,b", "2,x,a", "3,x, b ", "4,x,")
    made = prepare(task(label="l"))
    assert made.task("t1").labels == ["a", "b"]
    assert made.task("t1").pair is False
    assert made.labels("t1") == {"1": ["b"], "2": ["a"], "3": ["b"]}
    assert "tasks.t1: rows left out for want of a label: 1" in made.report
    assert made.info.tasks == ["t1"]
    assert not (made.folder / "hierarchy.parquet").exists()


def test_labels_of_several_columns_are_joined(tmp_path, prepare):
    write(tmp_path, "id,t,a,b", "1,x,A,B", "2,x,A,C")
    assert prepare(task(label=["a", "b"])).labels("t1") == {"1": ["A > B"], "2": ["A > C"]}


def test_multilabel_keeps_rows_without_labels(tmp_path, prepare):
    write(tmp_path, "id,t,l", "1,x,b;a;b", "2,x,", "3,x,c")
    made = prepare(task(label="l", label_separator=";", kind="multilabel"))
    assert made.labels("t1") == {"1": ["a", "b"], "2": [], "3": ["c"]}
    assert "1 of 3 rows (33.3%) have several labels" in made.report
    assert "1 of 3 rows (33.3%) have none" in made.report


def test_binary_labels_take_the_given_order(tmp_path, prepare):
    write(tmp_path, "id,t,l", "1,x,yes", "2,x,no", "3,x,yes")
    made = prepare(task(label="l", kind="binary", labels=["yes", "no"]))
    assert {key: row["label_ids"] for key, row in made.rows("tasks/t1").items()} == {
        "1": [0], "2": [1], "3": [0],
    }  # fmt: skip


def test_pairs_with_a_query_grouped_by_it(tmp_path, prepare):
    rows = [f"{number},t{number},q{number // 5},{number % 4}" for number in range(100)]
    write(tmp_path, "id,t,q,l", *rows)
    made = prepare(task(label="l", query="q", split={"group": "q"}))
    assert made.task("t1").pair is True
    by_query = {}
    for row in made.rows("tasks/t1").values():
        by_query.setdefault(row["query"], set()).add(row["split"])
    assert len(by_query) == 20
    assert all(len(splits) == 1 for splits in by_query.values())


def test_labels_unseen_in_training_stay_and_are_counted(tmp_path, prepare):
    write(tmp_path, "id,t,l,s", "1,x,a,train", "2,x,b,train", "3,x,c,test")
    made = prepare(task(label="l", split={"column": "s"}))
    assert made.task("t1").labels == ["a", "b", "c"]
    assert "| t1 | 3 | 3 | 0 | 1 | 3 |" in made.report


def test_a_task_on_the_products_takes_their_rows_and_split(tmp_path, prepare):
    write(tmp_path, "id,t,a,l,g", *[f"{n},x{n},A,{n % 3},{n // 2}" for n in range(60)])
    made = prepare(
        {
            "products": {
                "input": {"files": "p.csv"}, "item_id": "id", "title": "t",
                "paths": [{"columns": ["a"]}], "split": {"group": "g"},
            },
            "tasks": {"t1": {"label": "l"}},
        }
    )  # fmt: skip
    items = {key: (row["title"], row["split"]) for key, row in made.rows().items()}
    assert {
        key: (row["title"], row["split"]) for key, row in made.rows("tasks/t1").items()
    } == items


def test_further_columns_by_a_join(tmp_path, prepare):
    write(tmp_path, "id,sku,loc,l", "1,a,us,E", "2,b,us,S", "3,a,de,E", "4,zz,us,E", "5,a,fr,E")
    (tmp_path / "sku.csv").write_text("sku,loc,t,bul\na,us,A us,x|y\nb,us,B,\na,de,A de,z\n")
    join = {"files": "sku.csv", "keys": ["sku", "loc"]}
    mapping = task(label="l", bullet_points="bul", bullet_separator="|")
    mapping["tasks"]["t1"]["input"] |= {"join": join, "keep": {"loc": ["us", "de"]}}
    made = prepare(mapping)
    rows = made.rows("tasks/t1")
    titles = {key: row["title"] for key, row in rows.items()}
    assert titles == {"1": "A us", "2": "B", "3": "A de", "4": None}
    assert rows["1"]["bullet_points"] == ["x", "y"]
    assert "rows left out by 'keep': 1" in made.report


def test_a_join_key_that_repeats_is_an_error(tmp_path, error_of):
    write(tmp_path, "id,sku,l", "1,a,E")
    (tmp_path / "sku.csv").write_text("sku,t\na,x\na,y\n")
    mapping = task(label="l")
    mapping["tasks"]["t1"]["input"]["join"] = {"files": "sku.csv", "keys": ["sku"]}
    assert "the join key sku 'a' stands there more than once" in error_of(mapping)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        pytest.param({}, "'label' is missing", id="no label"),
        pytest.param({"label": "zz"}, "no column 'zz'; the file has: id, t, l", id="no column"),
        pytest.param(
            {"label": "l", "labels": ["a", "b", "d"]}, "the label 'a+c' is not among", id="unknown"
        ),
        pytest.param({"label": "l", "kind": "binary"}, "needs two labels", id="not binary"),
        pytest.param(
            {"label": "l", "label_separator": "+"}, "row 3 has several labels", id="several"
        ),
    ],
)
def test_mistakes(tmp_path, error_of, options, message):
    write(tmp_path, "id,t,l", "1,x,a", "2,x,b", "3,x,a+c", "4,x,d")
    assert message in error_of(task(**options))


def test_no_label_anywhere(tmp_path, error_of):
    write(tmp_path, "id,t,l", "1,x,", "2,x, ")
    assert "no row has a label" in error_of(task(label="l"))


def test_a_task_needs_rows(error_of):
    assert "a task needs its own 'input'" in error_of({"tasks": {"t1": {"label": "l"}}})


def test_a_task_name_is_a_folder_name(tmp_path, error_of):
    write(tmp_path, "id,t,l", "1,x,a")
    mapping = task(label="l")
    mapping["tasks"] = {"../up": mapping["tasks"]["t1"]}
    assert "'../up' cannot be a folder's name" in error_of(mapping)


def test_an_empty_mapping(error_of):
    assert "neither 'products' nor 'tasks'" in error_of({})
