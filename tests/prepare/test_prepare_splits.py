"""Splits: hashed (against hashlib), by a column, by files, held out; and unique ids."""

import hashlib

import pytest


def split_of(key):
    start = hashlib.md5(key.encode()).hexdigest()[:8]
    return "train" if start < "cccccccc" else "validation" if start < "e6666666" else "test"


def mapping(files="p.csv", **products):
    options = {"item_id": "id", "title": "t", "paths": [{"columns": ["a"]}]}
    return {"products": {**options, "input": {"files": files}, **products}}


def write(tmp_path, name, header, rows):
    (tmp_path / name).write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")


def splits(made):
    return {item: row["split"] for item, row in made.rows().items()}


def test_hashed_by_the_item_id(tmp_path, prepare):
    ids = [f"item é {number}" for number in range(400)]
    write(tmp_path, "p.csv", "id,t,a", [f"{key},x,A" for key in ids])
    found = splits(prepare(mapping()))
    assert found == {key: split_of(key) for key in ids}
    assert set(found.values()) == {"train", "validation", "test"}


def test_hashed_by_a_group_or_the_id_where_there_is_none(tmp_path, prepare):
    rows = [(str(number), str(number // 3) if number % 7 else "") for number in range(300)]
    write(tmp_path, "p.csv", "id,t,a,g", [f"{key},x,A,{group}" for key, group in rows])
    made = prepare(mapping(split={"group": "g"}))
    assert splits(made) == {key: split_of(group or key) for key, group in rows}


def test_a_column_names_the_split(tmp_path, prepare):
    write(tmp_path, "p.csv", "id,t,a,s", ["1,x,A,tr", "2,x,A,dev", "3,x,A,te", "4,x,A,tr"])
    split = {"column": "s", "values": {"tr": "train", "dev": "validation", "te": "test"}}
    made = prepare(mapping(split=split))
    assert splits(made) == {"1": "train", "4": "train", "2": "validation", "3": "test"}
    assert made.info.counts["train"] == 2


@pytest.mark.parametrize("value", ["dev", ""])
def test_an_unexplained_split_names_the_row(tmp_path, error_of, value):
    write(tmp_path, "p.csv", "id,t,a,s", ["1,x,A,train", f"2,x,A,{value}"])
    message = error_of(mapping(split={"column": "s"}))
    assert f"p.csv: row 2: column 's' holds '{value}'" in message


def test_a_value_must_stand_for_a_split(tmp_path, error_of):
    write(tmp_path, "p.csv", "id,t,a,s", ["1,x,A,train"])
    message = error_of(mapping(split={"column": "s", "values": {"train": "training"}}))
    assert "'training'; use train, validation, test" in message


def test_files_per_split(tmp_path, prepare):
    write(tmp_path, "a.csv", "id,t,a", ["1,x,A"])
    write(tmp_path, "b.csv", "a,id,t", ["B,2,x"])
    write(tmp_path, "c.csv", "id,t,a", ["3,x,A"])
    made = prepare(mapping({"train": ["a.csv", "b.csv"], "test": "c.csv"}))
    assert splits(made) == {"1": "train", "2": "train", "3": "test"}
    assert made.nodes()["2"] == ["B"]


def test_an_unknown_split_of_files_is_refused(tmp_path, error_of):
    write(tmp_path, "a.csv", "id,t,a", ["1,x,A"])
    assert "'valid' is no split" in error_of(mapping({"train": "a.csv", "valid": "a.csv"}))


def test_validation_is_held_out_of_train(tmp_path, prepare):
    write(tmp_path, "a.csv", "id,t,a", [f"{number},x,A" for number in range(300)])
    write(tmp_path, "b.csv", "id,t,a", [f"t{number},x,A" for number in range(50)])
    files = {"train": "a.csv", "test": "b.csv"}
    found = splits(prepare(mapping(files, split={"hold_out_validation": True})))
    expected = {str(number): split_of(str(number)) for number in range(300)}
    expected = {key: "train" if split == "test" else split for key, split in expected.items()}
    assert found == {**expected, **{f"t{number}": "test" for number in range(50)}}
    assert 0 < list(found.values()).count("validation") < 60


def test_made_ids_are_stable_unique_and_keep_copies_together(tmp_path, prepare):
    rows = ["same,A", "other,A", "same,B", "same,A"] + [f"t{number},A" for number in range(40)]
    write(tmp_path, "p.csv", "t,a", rows)
    options = {"item_id": ""}
    made = prepare(mapping(**options))
    items = made.rows()
    same = sorted(key for key, row in items.items() if row["title"] == "same")
    assert len(items) == 44
    assert [key.partition("-")[2] for key in same] == ["", "1", "2"]
    assert len({items[key]["split"] for key in same}) == 1
    assert made.nodes()[same[1]] == ["B"]
    assert all(row["split"] == split_of(key.partition("-")[0]) for key, row in items.items())


def test_a_repeated_id_is_an_error_or_the_first_row_stays(tmp_path, prepare, error_of):
    write(tmp_path, "p.csv", "id,t,a", ["1,x,A", "2,first,A", "2,second,B", "2,third,C"])
    assert "the id '2' stands in 3 rows" in error_of(mapping())
    made = prepare(mapping(duplicate_ids="first"))
    assert made.rows()["2"]["title"] == "first"
    assert made.paths == ["A"]
    assert "products: rows left out for a repeated id: 2" in made.report


def test_a_missing_id_names_the_row(tmp_path, error_of):
    write(tmp_path, "p.csv", "id,t,a", ["1,x,A", " ,x,A"])
    assert "p.csv: row 2 has no 'id'" in error_of(mapping())


def test_weights_and_locales(tmp_path, prepare, error_of):
    write(tmp_path, "p.csv", "id,t,a,w,l", ["1,x,A,2.5,en", "2,x,A,,", "3,x,A,0,de"])
    made = prepare(mapping(weight="w", locale="l"))
    assert {key: row["weight"] for key, row in made.rows().items()} == {"1": 2.5, "2": 1, "3": 0}
    assert [made.rows()[key]["locale"] for key in "123"] == ["en", None, "de"]


@pytest.mark.parametrize("weight", ["heavy", "-1", "nan", "inf"])
def test_a_weight_must_be_a_number_from_zero_on(tmp_path, error_of, weight):
    write(tmp_path, "p.csv", "id,t,a,w", ["1,x,A,1", f"2,x,A,{weight}"])
    assert f"row 2, column 'w' holds '{weight}', which is no number" in error_of(
        mapping(weight="w")
    )
