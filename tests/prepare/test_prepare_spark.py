"""The same folder from Spark as from DuckDB: every file, the report and the refusals."""

import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import yaml

from hierarchy_lm.cli import main

from .conftest import run
from .made_catalogues import MADE

REPOSITORY = Path(__file__).parents[2]
MAPPINGS = REPOSITORY / "experiments" / "datasets"
CASES = REPOSITORY.parent / "shared" / "cases"

pytestmark = pytest.mark.skipif(shutil.which("java") is None, reason="Spark needs Java")
pytest.importorskip("pyspark", reason="Spark is not installed")


def files(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def assert_equal(spark: Path, duck: Path) -> None:
    """Byte by byte, and for a message that helps, table by table first."""
    theirs, ours = files(spark), files(duck)
    assert theirs.keys() == ours.keys()
    for name in ours:
        if name.endswith(".parquet"):
            assert pq.read_table(spark / name).equals(pq.read_table(duck / name)), name
            assert pq.read_schema(spark / name).metadata == pq.read_schema(duck / name).metadata
        assert theirs[name] == ours[name], name


def by_both(root: Path, mapping: dict) -> None:
    assert run(root, mapping, "duck") == 0
    assert run(root, {**mapping, "engine": "spark"}, "spark") == 0
    assert_equal(root / "spark", root / "duck")


@pytest.mark.parametrize("name", [
    pytest.param(path.stem, marks=[] if path.stem in ("esci", "flipkart") else pytest.mark.slow)
    for path in sorted(MAPPINGS.glob("*.yaml"))
])  # fmt: skip
def test_every_shipped_mapping(name, tmp_path):
    MADE[name](tmp_path)
    mapping = yaml.safe_load((MAPPINGS / f"{name}.yaml").read_text(encoding="utf-8"))
    by_both(tmp_path, {**mapping, "rows_per_shard": 40})


def test_every_shipped_mapping_has_a_made_input():
    assert MADE.keys() == {path.stem for path in MAPPINGS.glob("*.yaml")}


@pytest.mark.slow
@pytest.mark.parametrize(
    "case", sorted(path.name for path in CASES.glob("*") if path.is_dir()) or ["none"]
)
def test_every_case(case, tmp_path, capsys, monkeypatch):
    if not (CASES / case).is_dir():
        pytest.skip("the cases are not there")
    shutil.copytree(CASES / case, tmp_path / "case")
    monkeypatch.chdir(tmp_path / "case")
    status, lines = {}, {}
    for engine in ("duckdb", "spark"):
        options = ["--config", "mapping.yaml", "--output", f"../{engine}", "--threads", "1"]
        status[engine] = main(["prepare", *options, "--engine", engine])
        lines[engine] = capsys.readouterr().err.strip().splitlines()
    assert status["spark"] == status["duckdb"]
    if status["duckdb"]:
        assert [line for line in lines["spark"] if line.startswith("hlm:")] == lines["duckdb"]
        assert len(lines["duckdb"]) == 1
    else:
        assert_equal(tmp_path / "spark", tmp_path / "duckdb")


def test_odd_rows_and_separators(tmp_path):
    """What engines differ in: patterns in separators, order of characters, missing texts."""
    rows = [
        "2,b,one|two,A|B|C,x+y,,1", "10,B,|,A|B,x,de,", "1,é,a.b|c,A|Ż|z,y,fr,2.5",
        "3,,,,,,", "4,😀,x,A|B|C,x,,1", "5,￮,x,A|B|C,x+x,,1",
    ]  # fmt: skip
    (tmp_path / "a|b[1].csv").write_text("\n".join(["id,t,b,c,l,loc,w", *rows[:3]]))
    (tmp_path / "z.csv").write_text("\n".join(["w,loc,l,c,b,t,id", *(",".join(
        reversed(row.split(","))) for row in rows[3:])]))  # fmt: skip
    products = {
        "input": {"files": ["a|b[1].csv", "z.csv"]}, "title": "t", "bullet_points": "b",
        "bullet_separator": "|", "locale": "loc", "weight": "w",
        "paths": [{"column": "c", "separator": "|"}],
    }  # fmt: skip
    tasks = {"t": {"label": "l", "label_separator": "+", "kind": "multilabel"}}
    by_both(tmp_path, {"products": products, "tasks": tasks, "rows_per_shard": 2})


def test_a_tree_joins_repeated_ids_and_rows_left_out(tmp_path):
    (tmp_path / "tree.csv").write_text("k,p,n\na,,All\nb,a,B\nc,a,C\nd,b,D\nd,c,D\n")
    rows = [f"{n % 25},{n},{'abcdz'[n % 5]},{n % 3}" for n in range(40)]
    (tmp_path / "p.csv").write_text("\n".join(["id,sku,node,year", *rows]))
    (tmp_path / "t.csv").write_text("\n".join(["SKU,title", *(f"{n},name {n}" for n in range(30))]))
    products = {
        "input": {"files": "p.csv", "keep": {"year": ["0", "1"]},
                  "join": [{"files": "t.csv", "keys": {"sku": "SKU"}}]},
        "item_id": "id", "title": "title", "paths": [{"node": "node"}],
        "duplicate_ids": "first", "unknown_node": "drop_row",
        "split": {"hold_out_validation": True, "column": "year",
                  "values": {"0": "train", "1": "test"}, "share": 0.7},
    }  # fmt: skip
    tree = {"input": {"files": "tree.csv"}, "key": "k", "parent": "p", "name": "n",
            "multi_parent": "duplicate", "drop_super_root": True}  # fmt: skip
    by_both(tmp_path, {"products": products, "tree": tree})


def test_urls_of_input_and_output(tmp_path):
    place = tmp_path / "split=v2" / "a[1]"
    place.mkdir(parents=True)
    (place / "p.csv").write_text("id,t,c\n1,x,A\n2,y,B\n")
    products = {"item_id": "id", "title": "t", "paths": [{"columns": ["c"]}]}
    for engine in ("duckdb", "spark"):
        config = tmp_path / f"{engine}.yaml"
        mapping = {"name": "n", "source": "s", "licence": "l",
                   "products": {**products, "input": {"files": "p.csv"}}}  # fmt: skip
        config.write_text(yaml.safe_dump(mapping))
        places = ["--root", f"file://{place}", "--output", f"file://{tmp_path}/title=zzz/{engine}"]
        options = ["--config", str(config), *places, "--engine", engine, "--threads", "1"]
        assert main(["prepare", *options]) == 0
    made = tmp_path / "title=zzz"
    assert_equal(made / "spark", made / "duckdb")
    assert sorted(path.name for path in made.iterdir()) == ["duckdb", "spark"]
