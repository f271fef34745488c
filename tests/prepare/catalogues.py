"""Reads what `hlm prepare` made of a real catalogue, and states its rules a second time.

Nothing here comes from the package: names, paths and splits are worked out anew.
"""

import csv
import gzip
import hashlib
import html
import json
import re
import subprocess
import sys
import unicodedata
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import pyarrow.parquet as pq
import pytest

from hierarchy_lm.cli import main

REPOSITORY = Path(__file__).parents[2]
MAPPINGS = REPOSITORY / "experiments" / "datasets"
SCRIPTS = REPOSITORY / "scripts"
DATA = REPOSITORY.parent / "shared" / "data"
PAGE = REPOSITORY / "docs" / "catalogues.md"
SPLITS = ("train", "validation", "test")


class Item(NamedTuple):
    """A row of products or of a task; paths and labels are one set of names."""

    split: str
    title: str | None
    description: str | None = None
    bullets: tuple[str, ...] = ()
    names: frozenset = frozenset()
    other: str | None = None  # the locale of a product, the query of a task


# --- what is prepared -------------------------------------------------------------------------


def there(name):
    if not (DATA / name).exists():
        pytest.skip(f"the real data is not there: {DATA / name}")
    return DATA / name


def prepared(name, folder, root=DATA):
    output = folder / name
    config = str(MAPPINGS / f"{name}.yaml")
    assert main(["prepare", "--config", config, "--root", str(root), "--output", str(output)]) == 0
    return output


def convert(script, *arguments):
    command = [sys.executable, SCRIPTS / script, *arguments]
    return subprocess.run(command, capture_output=True, text=True, encoding="utf-8")


def converted(script, source, target):
    done = convert(script, source, target)
    assert done.returncode == 0, done.stderr
    return done.stdout


def tree_paths(folder):
    return pq.read_table(folder / "hierarchy.parquet")["path"].to_pylist()


def rows_of(folder, place="products"):
    """Rows by item id."""
    task = json.loads((folder / place / "task.json").read_text()) if place != "products" else {}
    names = task.get("labels") or tree_paths(folder)
    column, other = ("label_ids", "query") if task else ("node_ids", "locale")
    found = {}
    for split in SPLITS:
        for shard in (folder / place).glob(f"{split}-*.parquet"):
            for row in pq.read_table(shard).to_pylist():
                assert row["item_id"] not in found
                found[row["item_id"]] = Item(
                    split,
                    row["title"],
                    row["description"],
                    tuple(row["bullet_points"] or ()),
                    frozenset(names[number] for number in row[column]),
                    row[other],
                )
    return found


def section(folder, start):
    report = (folder / "report.md").read_text(encoding="utf-8")
    return next(part for part in re.split(r"\n(?=##+ )", report) if part.startswith(f"## {start}"))


def table(text):
    """Rows of a Markdown table below its head, without thousands separators."""
    lines = [line for line in text.splitlines() if line.startswith("|")][2:]
    return [
        [cell.strip().replace(",", "") for cell in line.strip("|").split("|")] for line in lines
    ]


def accounts(folder):
    """Of every file: what for, records, prepared, and the text of what was left out."""
    return [
        (Path(file).name, use, int(records), int(made), left)
        for file, use, records, made, left in table(section(folder, "Rows"))
    ]


def changes(folder):
    lines = section(folder, "Left out or changed").splitlines()
    pairs = [line[2:].rpartition(": ")[::2] for line in lines if line.startswith("- ")]
    return {name: int(count.replace(",", "")) for name, count in pairs}


def check_page(folder, *figures):
    """The line of docs/catalogues.md about the mapping that made the folder has the figures."""
    lines = PAGE.read_text(encoding="utf-8").splitlines()
    [line] = [line for line in lines if line.startswith(f"| `{folder.name}`")]
    if "| as " not in line:
        assert [figure for figure in figures if f" {figure} " not in line] == []


def check(folder, expected, place="products"):
    """Every row; the counts of dataset.json, the report and docs/catalogues.md."""
    found = rows_of(folder, place)
    wrong = [(key, found.get(key), row) for key, row in expected.items() if found.get(key) != row]
    assert wrong[:2] == []
    assert len(found) == len(expected)
    info = json.loads((folder / "dataset.json").read_text())
    prefix = "" if place == "products" else f"{place}/"
    splits = Counter(row.split for row in expected.values())
    assert [info["counts"][f"{prefix}{split}"] for split in SPLITS] == [splits[s] for s in SPLITS]
    part = section(folder, "Products" if not prefix else f"Task {place.removeprefix('tasks/')}")
    missing = {split: [0, 0, 0] for split in SPLITS}
    for row in expected.values():
        for number, value in enumerate((row.title, row.description, row.bullets)):
            missing[row.split][number] += not value
    for line in table(part)[: len(info["files"])]:
        if line[0] in SPLITS and len(line) == 9:
            assert [int(cell) for cell in line[1:5]] == [splits[line[0]], *missing[line[0]]]
    if not prefix or "train" not in info["counts"]:
        check_page(folder, " / ".join(f"{splits[split]:,}" for split in SPLITS))
    if not prefix:
        several = sum(len(row.names) > 1 for row in expected.values())
        without = sum(not row.names for row in expected.values())
        assert f"- {several:,} of {len(expected):,} rows " in part
        assert re.search(rf"- {without:,} of {len(expected):,} rows \([0-9.]+%\) have none", part)


def check_tree(folder, paths, page=True):
    """Every node, and how many stand on each level; returns that."""
    wanted = with_prefixes(paths)
    assert set(tree_paths(folder)) == {" > ".join(path) for path in wanted}
    levels = Counter(map(len, wanted))
    given = pq.read_table(folder / "hierarchy.parquet")["level"].to_pylist()
    assert Counter(given) == levels
    sizes = [levels[level] for level in sorted(levels)]
    if page:
        check_page(folder, f"{len(wanted):,}", ", ".join(f"{size:,}" for size in sizes))
    return sizes


# --- the rules, a second time -----------------------------------------------------------------


def plain(name):
    """The one form of names: entities, invisible marks, NFC, white space, until nothing changes."""
    entity = r"&(#\d+|#[xX][0-9a-fA-F]+|[A-Za-z]\w*);"
    while True:
        text = re.sub(entity, lambda match: html.unescape(match[0]), name)
        if not text.isascii():
            text = "".join(
                c for c in text
                if c in "\u200c\u200d" or (unicodedata.category(c) != "Cf" and c != "\u034f")
            )  # fmt: skip
        text = unicodedata.normalize("NFC", text)
        spaced = (" " if c.isspace() or unicodedata.category(c) == "Cc" else c for c in text)
        text = " ".join("".join(spaced).split()).strip("\u200c\u200d ")
        if text == name:
            return name
        name = text


def path_of(names):
    """Names up to the first missing one; ` > ` in a name becomes ` › `."""
    kept = []
    for name in names:
        name = plain(name or "").replace(" > ", " › ")
        if not name:
            break
        kept.append(name)
    return tuple(kept)


def with_prefixes(paths):
    return {path[:depth] for path in paths for depth in range(1, len(path) + 1)}


def labels(*paths):
    """The most specific ones, as texts."""
    above = {path[:depth] for path in paths for depth in range(len(path))}
    return frozenset(" > ".join(path) for path in paths if path and path not in above)


def split_by(key):
    start = hashlib.md5(key.encode()).hexdigest()[:8]
    return "train" if start < "cccccccc" else "validation" if start < "e6666666" else "test"


def held_out(split, key):
    return "validation" if split == "train" and split_by(key) == "validation" else split


def text(value):
    return value if value and value.strip() else None


def read_csv(path, encoding="utf-8", **options):
    with gzip.open(path, "rt", encoding=encoding, newline="") as stream:
        return list(csv.DictReader(stream, **options))
