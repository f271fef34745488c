"""Peak memory of the whole way from nothing to batches: sample, prepare, token cache."""

import sys
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import yaml

from benchmarks.corpus import minilm_folder
from benchmarks.export_catalogue import export_catalogue
from benchmarks.memory import CommandRun, peak_of_command
from benchmarks.report import Report, Table
from hierarchy_lm.dataset import read_dataset

GIB = 2**30
HLM = [str(Path(sys.executable).with_name("hlm"))]
MAPPING = {
    "name": "scale",
    "source": "generated",
    "licence": "none",
    "products": {
        "input": {"files": "*.parquet"},
        "item_id": "item_id",
        "title": "title",
        "description": "description",
        "bullet_points": "bullet_points",
        "weight": "weight",
        "locale": "locale",
        "paths": [{"column": "categories", "separator": " > "}],
    },
}


@dataclass(frozen=True)
class Size:
    """What to generate."""

    items: int
    nodes: int
    depth: int


def run(quick: bool) -> Report:
    """Measure 1,000,000 items in a tree of 30,000 nodes, or 500 in one of 120."""
    size = Size(500, 120, 4) if quick else Size(1_000_000, 30_000, 10)
    with TemporaryDirectory() as name:
        folder = Path(name)
        sampled = peak_of_command(_sample_command(size, folder / "sample"))
        export_catalogue(folder / "sample", folder / "catalogue")
        prepared = peak_of_command(_prepare_command(folder))
        cached = peak_of_command(_read_command(folder))
        counts = read_dataset(folder / "prepared").counts
    rows = [
        _row("`hlm sample`", sampled, size.items),
        _row("`hlm prepare` (Parquet with path texts)", prepared, size.items),
        _row("token caches and one epoch of batches", cached, size.items),
    ]
    notes = [
        f"{size.items:,} items; the prepared folder has {counts['nodes']:,} nodes on "
        f"{counts['levels']} levels. Each step is a command of its own with its default options.",
        "Peak memory: the highest sum, over all processes of the command alive at one time, of "
        "the peak of each. Shared pages count more than once, so it is an upper bound.",
        "Other work ran on the machine: rows/s are a lower bound.",
    ]
    table = Table("Memory and time", ["step", "peak GiB", "seconds", "items/s"], rows)
    return Report("One million items" if not quick else "A few items", notes, [table])


def _sample_command(size: Size, output: Path) -> list[str]:
    numbers = {"items": size.items, "nodes": size.nodes, "depth": size.depth, "seed": 0}
    options = [part for key, value in numbers.items() for part in (f"--{key}", str(value))]
    return [*HLM, "sample", str(output), *options]


def _prepare_command(folder: Path) -> list[str]:
    mapping = folder / "mapping.yaml"
    mapping.write_text(yaml.safe_dump(MAPPING), encoding="utf-8")
    paths = ["--root", str(folder / "catalogue"), "--output", str(folder / "prepared")]
    return [*HLM, "prepare", "--config", str(mapping), *paths]


def _read_command(folder: Path) -> list[str]:
    script = Path(__file__).with_name("read_epoch.py")
    return [sys.executable, str(script), str(folder / "prepared"), minilm_folder()]


def _row(step: str, run: CommandRun, items: int) -> list[str]:
    return [
        step,
        f"{run.peak_bytes / GIB:.2f}",
        f"{run.seconds:.0f}",
        f"{items / run.seconds:,.0f}",
    ]
