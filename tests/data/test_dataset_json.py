"""``dataset.json`` and ``task.json``: round trip and refusals."""

import json
from dataclasses import replace

import pytest

from hierarchy_lm.dataset import (
    DatasetInfo,
    FileRecord,
    TaskInfo,
    read_dataset,
    read_task,
    write_json,
)
from hierarchy_lm.errors import UserError

TASK = {"name": "relevance", "kind": "multiclass", "labels": ["low", "high"], "pair": True}
DATASET = {"name": "toy", "source": "by hand", "licence": "none", "fingerprint": "0"}


def refusal(read, folder) -> str:
    with pytest.raises(UserError) as caught:
        read(folder)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(str(folder))
    return str(caught.value)


def test_round_trip(tmp_path):
    task = TaskInfo("größe", "multilabel", ["a", "b"], pair=True)
    write_json(tmp_path / "task.json", task)
    assert read_task(tmp_path) == task
    info = DatasetInfo("toy", "s", "l", "f", {"nodes": 3}, ["größe"])
    write_json(tmp_path / "dataset.json", info)
    assert read_dataset(tmp_path) == info
    info = replace(info, hierarchy_fingerprint="h", files={"a": FileRecord(None, 3, 9, "f", "s")})
    write_json(tmp_path / "dataset.json", info)
    assert read_dataset(tmp_path) == info
    assert sorted(path.name for path in tmp_path.iterdir()) == ["dataset.json", "task.json"]


def test_outputs_and_fingerprint():
    assert TaskInfo("t", "binary", ["no", "yes"]).num_outputs == 1
    assert TaskInfo("t", "multiclass", ["no", "yes"]).num_outputs == 2
    tasks = [("binary", ["a", "b"]), ("multiclass", ["a", "b"]), ("multiclass", ["b", "a"])]
    assert len({TaskInfo("t", *task).fingerprint for task in tasks}) == 3


@pytest.mark.parametrize(
    ("read", "file"), [(read_task, "task.json"), (read_dataset, "dataset.json")]
)
@pytest.mark.parametrize("content", [b"", b"{", b"[1, 2]", b"null", b'{"name": "x"}', b"\xff\xfe{"])
def test_broken_files(tmp_path, read, file, content):
    assert f"no {file} there" in refusal(read, tmp_path)
    (tmp_path / file).write_bytes(content)
    assert file in refusal(read, tmp_path)


def test_unknown_and_missing_keys_are_named(tmp_path):
    (tmp_path / "task.json").write_text(json.dumps(TASK | {"lables": []}))
    assert "'lables'" in refusal(read_task, tmp_path)
    (tmp_path / "task.json").write_text(json.dumps({"name": "x", "kind": "binary"}))
    assert "'labels'" in refusal(read_task, tmp_path)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"kind": "regression"}, "'regression' is none of multiclass, binary, multilabel"),
        ({"labels": "low"}, "labels must be a list of names"),
        ({"labels": [1, 2]}, "labels must be a list of names"),
        ({"labels": []}, "needs more labels than 0"),
        ({"kind": "binary", "labels": ["yes"]}, "needs more labels than 1"),
    ],
    ids=str,
)
def test_tasks_that_cannot_be(tmp_path, change, named):
    (tmp_path / "task.json").write_text(json.dumps(TASK | change))
    assert named in refusal(read_task, tmp_path)


@pytest.mark.parametrize("further", [{}, {"a_key_of_tomorrow": 1}])
def test_another_schema_version_is_said_before_anything_else(tmp_path, further):
    content = DATASET | {"schema_version": 3} | further
    (tmp_path / "dataset.json").write_text(json.dumps(content))
    assert "schema version 3, this release reads 1 and 2" in refusal(read_dataset, tmp_path)


@pytest.mark.parametrize(
    ("files", "named"),
    [
        (["products/train-00000.parquet"], "'files' must hold an object for each file"),
        ({"a": 1}, "'files' must hold an object for each file"),
        ({"a": {"rows": 3}}, "'split'"),
        ({"a": {"split": None, "rows": 3, "size": 9, "footer": "f", "sha": "s"}}, "'sha'"),
    ],
    ids=str,
)
def test_a_list_of_files_that_cannot_be(tmp_path, files, named):
    (tmp_path / "dataset.json").write_text(json.dumps(DATASET | {"files": files}))
    assert named in refusal(read_dataset, tmp_path)


def test_a_folder_of_an_older_release_is_read(tmp_path):
    (tmp_path / "dataset.json").write_text(json.dumps(DATASET | {"schema_version": 1}))
    info = read_dataset(tmp_path)
    assert (info.schema_version, info.files, info.hierarchy_fingerprint) == (1, None, None)
