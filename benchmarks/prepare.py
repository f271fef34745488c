"""`hlm prepare` on a CSV catalogue, beside what DuckDB and polars need to read and sort it."""

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
ROUNDS = 5
GIB = 2**30


@dataclass(frozen=True)
class Size:
    """What to generate."""

    rows: int
    nodes: int


def run(quick: bool) -> Report:
    """Time 100,000 rows in turn, and watch the memory of 1,000,000; or 300 and 1,000 rows."""
    timed = Size(300, 100) if quick else Size(100_000, 100_000)
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
        f"in all; one in five holds quotes and a line feed. Timed: {timed.rows:,} rows, watched: "
        f"{watched.rows:,} rows; {watched.nodes:,} leaves in the tree.",
        INTERLEAVED.format(rounds=rounds),
        "DuckDB and polars read the file as texts, sort it by id and write Parquet (zstd): what "
        "any tool has to do. `hlm prepare` counts records, cleans texts, makes the tree, gives "
        "ids and splits, looks for repeated texts, and checks and hashes every shard.",
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
            levels = [f"{name} {leaf // share}" for name, share in
                      (("Department", 5_000), ("Group", 250), ("Family", 10), ("Leaf", 1))]  # fmt: skip
            description = text(90) + (', with "quotes"\nand a line' if number % 5 == 0 else "")
            bullets = " | ".join(text(6) for _ in range(3))
            brand = f"brand{number % 300}"
            writer.writerow([f"sku{number}", text(8), description, bullets, *levels, brand])


def _times(folder: Path, rounds: int) -> Table:
    source = folder / "timed.csv"
    variants: dict[str, Callable[[], object]] = {
        "`hlm prepare`": partial(_prepare, source, folder / "out"),
        "DuckDB": partial(_duckdb, source, folder / "duckdb.parquet"),
        "polars": partial(_polars, source, folder / "polars.parquet"),
    }
    timings = interleave(variants, rounds)
    rows = [
        [name, f"{timings.median(name):.1f}", spread(timings.ratios(name, "DuckDB"), ".2f")]
        for name in variants
    ]
    return Table("Time", ["what", "CPU s", "times DuckDB's"], rows)


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
    row = [f"{size.rows:,} rows, two tasks, one of {size.nodes:,} labels",
           f"{done.peak_bytes / GIB:.2f}", f"{done.seconds:.0f}", f"{size.rows / done.seconds:,.0f}"]  # fmt: skip
    return Table("Memory", ["`hlm prepare`, all cores", "peak GiB", "seconds", "rows/s"], [row])
