"""`hlm prepare` on a CSV catalogue, beside what DuckDB and polars need for the rows alone."""

import csv
import random
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory

import duckdb
import polars
import yaml
from rich.console import Console

from benchmarks.memory import peak_of_command
from benchmarks.report import Report, Table
from benchmarks.timing import INTERLEAVED, interleave, spread
from data_modules.prepare import run as prepare_run
from data_modules.prepare.mapping import InputOptions, PathOptions, ProductOptions

HLM = [str(Path(sys.executable).with_name("hlm"))]
HEADER = ["id", "title", "description", "bullets", "l1", "l2", "l3", "l4", "brand"]
LEVELS = {"Department": 5_000, "Group": 250, "Family": 10, "Leaf": 1}
"""Leaves below a node of each level."""
STEPS = "DuckDB, the steps in SQL"
ROUNDS = 5
GIB = 2**30


CLEANED = """
SELECT id, nullif(trim(title), '') AS title, nullif(trim(description), '') AS description,
       [trim(b) FOR b IN string_split(bullets, ' | ') IF trim(b) <> ''] AS bullets,
       concat_ws(' > ', trim(l1), trim(l2), trim(l3), trim(l4)) AS path,
       CASE WHEN md5(id)[:8] < 'cccccccc' THEN 'train'
            WHEN md5(id)[:8] < 'e6666666' THEN 'validation' ELSE 'test' END AS split
FROM read_csv('{source}', all_varchar = true, header = true)
"""
LABELLED = """
SELECT r.* EXCLUDE path, [n.node] AS node_ids FROM '{rows}' r
JOIN (SELECT path, row_number() OVER (ORDER BY path) AS node FROM '{rows}' GROUP BY path) n
USING (path)
"""
REPEATED_IDS = "SELECT count(*) FROM (SELECT id FROM '{rows}' GROUP BY id HAVING count(*) > 1)"
REPEATED_TEXTS = """
SELECT sum(n) FROM (SELECT count(*) AS n FROM '{rows}'
GROUP BY md5(concat_ws('|', title, description, array_to_string(bullets, '|'))) HAVING count(*) > 1)
"""


@dataclass(frozen=True)
class Size:
    """What to generate."""

    rows: int
    nodes: int


def run(quick: bool) -> Report:
    """Time 100,000 rows in turn, and watch the memory of 1,000,000; or 300 and 1,000 rows."""
    timed = Size(300, 100) if quick else Size(100_000, 1_000)
    watched = Size(1_000, 100) if quick else Size(1_000_000, 100_000)
    rounds = 1 if quick else ROUNDS
    with TemporaryDirectory() as name:
        folder = Path(name)
        write_catalogue(folder / "timed.csv", timed)
        times = _times(folder, rounds)
        write_catalogue(folder / "watched.csv", watched)
        memory = _memory(folder, watched)
    notes = [
        f"A row has four levels, a title, a description, bullet points and a brand, 800 characters "
        f"in all; one in five holds quotes and a line feed. Timed: {timed.rows:,} rows and "
        f"{timed.nodes:,} leaves; watched: {watched.rows:,} rows and {watched.nodes:,} leaves.",
        INTERLEAVED.format(rounds=rounds),
        "DuckDB's steps in SQL are those that a user would write: read as texts, blank texts to "
        "null, bullet points cut, splits by MD5, ids of the distinct paths, repeated ids and "
        "repeated texts counted, three sorted files (zstd). Read and sort alone is what any tool "
        "has to do. `hlm prepare` also counts the records before the engine does, checks the "
        "encoding, brings names to one form, and hashes every shard.",
    ]
    return Report("hlm prepare", notes, [times, memory])


def write_catalogue(path: Path, size: Size) -> None:
    """A CSV file whose rows are spread evenly over the leaves of a tree of four levels."""
    rng = random.Random(0)
    words = [f"w{n}" if n % 7 else f"wörd{n}" for n in range(5_000)]

    def text(count: int) -> str:
        return " ".join(rng.choices(words, k=count))

    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(HEADER)
        for number in range(size.rows):
            leaf = rng.randrange(size.nodes)
            levels = [f"{name} {leaf // leaves}" for name, leaves in LEVELS.items()]
            description = text(90) + (', with "quotes"\nand a line' if number % 5 == 0 else "")
            bullets = " | ".join(text(6) for _ in range(3))
            brand = f"brand{number % 300}"
            writer.writerow([f"sku{number}", text(8), description, bullets, *levels, brand])


def _times(folder: Path, rounds: int) -> Table:
    source = folder / "timed.csv"
    variants: dict[str, Callable[[], object]] = {
        "`hlm prepare`": partial(_prepare, source, folder / "out"),
        STEPS: partial(_duckdb_steps, source, folder),
        "DuckDB, read and sort": partial(_duckdb, source, folder / "duckdb.parquet"),
        "polars, read and sort": partial(_polars, source, folder / "polars.parquet"),
    }
    timings = interleave(variants, rounds)
    rows = [
        [name, f"{timings.median(name):.1f}", spread(timings.ratios(name, STEPS), ".2f")]
        for name in variants
    ]
    return Table("Time", ["what", "CPU s", f"times {STEPS}"], rows)


def _prepare(source: Path, output: Path) -> None:
    shutil.rmtree(output, ignore_errors=True)
    prepare_run.Console = partial(Console, file=StringIO())  # type: ignore[assignment,misc]
    prepare_run.prepare(
        output=str(output), name="n", source="s", licence="l", root=str(source.parent), threads=1,
        products=ProductOptions(
            input=InputOptions(source.name), item_id="id", title="title",
            description="description", bullet_points="bullets", bullet_separator=" | ",
            paths=[PathOptions(columns=["l1", "l2", "l3", "l4"])],
        ),
    )  # fmt: skip


def _duckdb_steps(source: Path, folder: Path) -> None:
    with duckdb.connect(config={"threads": 1}) as connection:
        rows, labelled = folder / "rows.parquet", folder / "labelled.parquet"
        connection.execute(f"COPY ({CLEANED.format(source=source)}) TO '{rows}' (FORMAT parquet)")
        connection.execute(f"COPY ({LABELLED.format(rows=rows)}) TO '{labelled}' (FORMAT parquet)")
        for query in (REPEATED_IDS, REPEATED_TEXTS):
            connection.execute(query.format(rows=labelled)).fetchall()
        for split in ("train", "validation", "test"):
            part = f"SELECT * FROM '{labelled}' WHERE split = '{split}' ORDER BY id"
            target = folder / f"{split}.parquet"
            connection.execute(f"COPY ({part}) TO '{target}' (FORMAT parquet, COMPRESSION zstd)")


def _duckdb(source: Path, output: Path) -> None:
    with duckdb.connect(config={"threads": 1}) as connection:
        connection.execute(
            f"COPY (SELECT * FROM read_csv('{source}', all_varchar = true, header = true) "
            f"ORDER BY id) TO '{output}' (FORMAT parquet, COMPRESSION zstd)"
        )


def _polars(source: Path, output: Path) -> None:
    frame = polars.scan_csv(source, infer_schema=False).sort("id")
    frame.sink_parquet(output, compression="zstd")


def _memory(folder: Path, size: Size) -> Table:
    mapping = {
        "name": "n", "source": "s", "licence": "l",
        "products": {
            "input": {"files": "watched.csv"}, "item_id": "id", "title": "title",
            "description": "description", "bullet_points": "bullets", "bullet_separator": " | ",
            "paths": [{"columns": ["l1", "l2", "l3", "l4"]}],
        },
        "tasks": {"brand": {"label": "brand"}, "leaf": {"label": "l4"}},
    }  # fmt: skip
    config = folder / "mapping.yaml"
    config.write_text(yaml.safe_dump(mapping), encoding="utf-8")
    places = ["--root", str(folder), "--output", str(folder / "watched")]
    done = peak_of_command([*HLM, "prepare", "--config", str(config), *places])
    row = [
        f"{size.rows:,} rows, two tasks, one of {size.nodes:,} labels",
        f"{done.peak_bytes / GIB:.2f}",
        f"{done.seconds:.0f}",
        f"{size.rows / done.seconds:,.0f}",
    ]
    return Table("Memory", ["`hlm prepare`, all cores", "peak GiB", "seconds", "rows/s"], [row])
