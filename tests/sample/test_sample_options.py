import dataclasses
import inspect

import pytest

from data_modules.folders import new_folder
from data_modules.sample import SampleOptions, sample, write_sample
from hierarchy_lm.errors import UserError


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"items": 0}, "items"),
        ({"nodes": 0}, "nodes"),
        ({"depth": 0}, "depth"),
        ({"seed": -1}, "seed"),
        ({"task_items": -1}, "task_items"),
        ({"nodes": 5, "depth": 6}, "nodes"),
        ({"noise": "L3"}, "noise"),
        ({"wrong_labels": 1.5}, "wrong_labels"),
        ({"missing_fields": -0.1}, "missing_fields"),
        ({"missing_fields": float("nan")}, "missing_fields"),
        ({"misleading_text": 0.9}, "misleading_text"),
        ({"missing_labels": 0.95}, "missing_labels"),
    ],
)
def test_nonsense_is_one_line_that_names_the_option(options, named):
    with pytest.raises(UserError, match=named) as error:
        SampleOptions(**options)
    assert "\n" not in str(error.value)


def test_command_offers_every_option_with_the_same_default():
    offered = inspect.signature(sample).parameters
    fields = {field.name: field.default for field in dataclasses.fields(SampleOptions)}
    assert {name: offered[name].default for name in offered if name != "directory"} == fields


def test_command_writes_and_says_what_it_wrote(tmp_path, capsys):
    folder = tmp_path / "deep" / "made"
    sample(str(folder), items=200, nodes=60, depth=4, task_items=40, seed=7)
    printed = capsys.readouterr()
    assert "60" in printed.out
    assert "product_categorisation" in printed.out
    assert str(folder) in printed.out
    assert printed.err == ""
    assert sorted(path.name for path in folder.parent.iterdir()) == ["made"]


def test_folder_that_holds_something_is_left_alone(tmp_path):
    (tmp_path / "mine.txt").write_text("precious")
    with pytest.raises(UserError, match="is there already"):
        write_sample(tmp_path, SampleOptions(items=10))
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_empty_folder_is_filled(tmp_path):
    write_sample(tmp_path, SampleOptions(items=10, task_items=0))
    assert (tmp_path / "dataset.json").is_file()
    assert not (tmp_path / "tasks").exists()


def test_folder_that_cannot_be_written_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be written") as error:
        write_sample(tmp_path / "file" / "made", SampleOptions(items=10))
    assert "\n" not in str(error.value)


def test_new_folder_leaves_nothing_when_its_block_fails(tmp_path):
    def half_done():
        with new_folder(tmp_path / "made") as folder:
            (folder / "half").write_text("")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        half_done()
    assert list(tmp_path.iterdir()) == []
