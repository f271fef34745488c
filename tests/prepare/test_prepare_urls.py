"""Input and output by URL, on a file system in memory."""

import fsspec
import pytest
import yaml

from hierarchy_lm.cli import main

from .conftest import Prepared


@pytest.fixture
def memory():
    system = fsspec.filesystem("memory")
    system.store.clear()
    yield system
    system.store.clear()


def run(tmp_path, root, output, files="in/*.csv"):
    products = {"input": {"files": files}, "item_id": "id", "title": "t"}
    products["paths"] = [{"columns": ["c"]}]
    config = tmp_path / "m.yaml"
    config.write_text(yaml.safe_dump(
        {"name": "n", "source": "s", "licence": "l", "products": products}))  # fmt: skip
    places = ["--root", root, "--output", output, "--threads", "1"]
    return main(["prepare", "--config", str(config), *places])


def test_a_folder_made_by_url_is_the_same(tmp_path, memory):
    for number in (1, 2):
        text = f"id,t,c\n{number},x,A\n1{number},y,B\n"
        memory.pipe(f"/bucket/split=v2/in/{number}.csv", text.encode())
        path = tmp_path / "in" / f"{number}.csv"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    assert run(tmp_path, "memory://bucket/split=v2", "memory://out/title=z/made") == 0
    assert run(tmp_path, str(tmp_path), str(tmp_path / "made")) == 0
    memory.get("/out/title=z/made", str(tmp_path / "copy"), recursive=True)
    theirs, ours = Prepared(tmp_path / "copy"), Prepared(tmp_path / "made")
    assert theirs.info == ours.info
    assert theirs.rows() == ours.rows()
    assert main(["check", str(tmp_path / "copy")]) == 0
    assert {name.split("/")[1] for name in memory.find("/")} == {"bucket", "out"}


def test_refusals_leave_nothing_below_a_url(tmp_path, memory, capsys):
    memory.pipe("/bucket/in/1.csv", b"id,t,c\n1,x,A\n1,y,B\n")
    assert run(tmp_path, "memory://bucket", "memory://out/made") == 2
    assert "the id '1' stands in 2 rows" in capsys.readouterr().err
    assert not memory.find("/out")
    memory.pipe("/out/made/mine", b"x")
    assert run(tmp_path, "memory://bucket", "memory://out/made") == 2
    assert "memory://out/made: is there already" in capsys.readouterr().err
    assert memory.cat("/out/made/mine") == b"x"


@pytest.mark.parametrize("place", ["nosuch://bucket/x", "s3://"])
def test_a_url_that_leads_nowhere_is_one_line(tmp_path, capsys, place):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "p.csv").write_text("id,t,c\n1,x,A\n")
    assert run(tmp_path, str(tmp_path), place) == 2
    [line] = capsys.readouterr().err.strip().splitlines()
    assert f"{place}: cannot be written" in line
    assert run(tmp_path, place, str(tmp_path / "out")) == 2
    [line] = capsys.readouterr().err.strip().splitlines()
    assert place in line
