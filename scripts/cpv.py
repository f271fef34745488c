"""The Common Procurement Vocabulary as a tree, and Spanish tenders with their divisions.

    python scripts/cpv.py FOLDER OUTPUT_FOLDER

FOLDER holds `cpv_listing.tsv` (github.com/alanbuxton/tbfy-cpv-classifier-poc, data: columns `EN`
and `Code-8digits`), `train10.csv` and `test10.csv` (github.com/oeg-upm/cpv-classifier,
data/dataset10: a tender per row, a column of 0 or 1 per division); each may be gzipped. For
`hlm prepare` (experiments/datasets/cpv.yaml) they become

- `tree.jsonl`, a line per code: `code`, `parent` and `name`. The listing has no parents: that of a
  code is the nearest of its beginnings that is a code there, filled up with zeros.
- `tenders.jsonl`, a line per tender: `id`, `text`, `divisions` (codes) and `split`, train or test.
"""

import argparse
import csv
import gzip
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

QUOTE = '"'
"""Stands around most texts of the tenders, inside the quotes of CSV."""
DIGITS = range(7, 1, -1)
"""Of the codes above a code of eight digits, nearest first; two digits are a division."""


def rows(folder: Path, name: str) -> Iterator[dict[str, str]]:
    """The rows of a table; a tab between columns in a .tsv."""
    path = folder / name
    if not path.is_file():
        path = folder / f"{name}.gz"
    if not path.is_file():
        sys.exit(f"{folder / name}: not there, nor with .gz")
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rt", encoding="utf-8-sig", newline="") as file:
        yield from csv.DictReader(file, delimiter="\t" if ".tsv" in name else ",")


def tree(folder: Path) -> list[dict[str, str | None]]:
    """All codes, each with its parent."""
    names = {row["Code-8digits"]: row["EN"] for row in rows(folder, "cpv_listing.tsv")}

    def parent(code: str) -> str | None:
        above = (code[:digits].ljust(8, "0") for digits in DIGITS)
        return next((other for other in above if other != code and other in names), None)

    return [{"code": code, "parent": parent(code), "name": name} for code, name in names.items()]


def tenders(folder: Path) -> Iterator[dict[str, object]]:
    """All tenders of both splits."""
    for split in ("train", "test"):
        for row in rows(folder, f"{split}10.csv"):
            divisions = [f"{name}000000" for name, value in row.items() if value == "1" and name]
            text = row["descripcion"].strip()
            if text[:1] == text[-1:] == QUOTE:
                text = text[1:-1].strip()
            yield {"id": row[""], "text": text, "divisions": divisions, "split": split}


def main() -> None:
    """Read FOLDER, write both files."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("output", type=Path)
    options = parser.parse_args()
    made: dict[str, list[Any]] = {
        "tree": tree(options.folder),
        "tenders": list(tenders(options.folder)),
    }
    options.output.mkdir(parents=True, exist_ok=True)
    for name, lines in made.items():
        path = options.output / f"{name}.jsonl"
        text = "".join(f"{json.dumps(line, ensure_ascii=False)}\n" for line in lines)
        path.write_text(text, encoding="utf-8")
        print(f"{path}: {len(lines)} lines")


if __name__ == "__main__":
    main()
