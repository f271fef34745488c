"""Open Food Facts' categories, with their several parents and many languages, as JSON lines.

    python scripts/openfoodfacts.py CATEGORIES.txt OUTPUT_FOLDER

CATEGORIES.txt (or .txt.gz) is a taxonomy of github.com/openfoodfacts/openfoodfacts-server in its
text form: blocks of lines, `<en:Parent` for a parent and `fr:Nom, synonyme` for the names in a
language; the first name makes the category's id. For `hlm prepare`
(experiments/datasets/openfoodfacts.yaml) it becomes

- `categories.jsonl`, a line per category and parent: `key`, `parent` (null at a root) and `name`,
  the English one or else the first. A key has the form of the tags of Open Food Facts' products,
  such as `en:baby-foods`, so that products can be filed by their column `categories_tags`.
- `names.jsonl`, a line per category and language: `id`, `category`, `locale`, `name`, `synonyms`.

A parent may be called by any of its names, in the singular or in the plural. Blocks of one id are
one category. What is left out is counted: blocks without a name, parents that no block has.
"""

import argparse
import gzip
import json
import re
import sys
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

NAMES = re.compile(r"([a-z]{2}(?:[_-][A-Za-z]{2})?|[a-z]{3})\s*:\s*(?![a-z]{2}:)(.*)")
"""A line of names begins with a language; others, such as `wikidata:en:Q2`, hold properties."""
GLOBAL = ("synonyms:", "stopwords:")
NO_PARENT: list[str | None] = [None]
UNACCENTED = ("ca", "en", "es", "fr", "it", "nl", "pt", "sk")
"""Languages in whose tags accents are left out."""


@dataclass
class Category:
    """All blocks of one id."""

    parents: list[str] = field(default_factory=list)
    names: dict[str, list[str]] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The English name, or else the first."""
        return next(iter(self.names.get("en") or next(iter(self.names.values()))))


def blocks(text: str) -> Iterator[list[str]]:
    """The lines of every block that is about a category."""
    for block in re.split(r"\n\s*\n", text):
        lines = [line.strip() for line in block.splitlines()]
        lines = [line for line in lines if line and not line.startswith("#")]
        if lines and not lines[0].startswith(GLOBAL):
            yield lines


def tag(language: str, name: str) -> str:
    """What Open Food Facts makes of a name: `en:baby-foods` of Baby Foods."""
    name = unicodedata.normalize("NFC", name.lower())
    if language in UNACCENTED:
        name = name.replace("œ", "oe").replace("æ", "ae")
        parts = unicodedata.normalize("NFD", name)
        name = "".join(part for part in parts if not unicodedata.combining(part))
    kept = (c if c.isalnum() or unicodedata.combining(c) else "-" for c in name)
    return f"{language}:{re.sub('-+', '-', ''.join(kept)).strip('-')}"


def read(path: Path) -> tuple[dict[str, Category], int]:
    """All categories by id, and how many blocks have no name."""
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rt", encoding="utf-8") as file:
        text = file.read()
    categories: dict[str, Category] = {}
    nameless = 0
    for lines in blocks(text):
        names = [found for line in lines if (found := names_of(line))]
        if not names:
            nameless += 1
            continue
        category = categories.setdefault(tag(names[0][0], names[0][1][0]), Category())
        category.parents += [line[1:].strip() for line in lines if line.startswith("<")]
        for language, several in names:
            known = category.names.setdefault(language, [])
            known += [name for name in dict.fromkeys(several) if name not in known]
    if not categories:
        sys.exit(f"{path}: no category there")
    return categories, nameless


def names_of(line: str) -> tuple[str, list[str]] | None:
    """Language and names of a line; commas stand between them."""
    found = NAMES.fullmatch(line)
    if not found:
        return None
    names = [name.strip() for name in found[2].split(",") if name.strip()]
    return (found[1], names) if names else None


def ids_by_tag(categories: Mapping[str, Category]) -> dict[str, str]:
    """The id behind every tag: ids first, then first names, then synonyms."""
    found = {key: key for key in categories}
    for first in (True, False):
        for key, category in categories.items():
            for language, names in category.names.items():
                for name in names[:1] if first else names[1:]:
                    found.setdefault(tag(language, name), key)
    return found


def parents(categories: Mapping[str, Category]) -> tuple[dict[str, list[str]], list[str]]:
    """The ids of the parents of every category, and the parents that there are not."""
    ids = ids_by_tag(categories)
    above: dict[str, list[str]] = {}
    unknown = []
    for key, category in categories.items():
        above[key] = []
        for text in category.parents:
            language, _, name = text.partition(":")
            called = tag(language.strip() or "en", name)
            parent = ids.get(called) or ids.get(f"{called}s") or ids.get(called.removesuffix("s"))
            if parent is None:
                unknown.append(f"{text} (of {key})")
            elif parent not in above[key]:
                above[key].append(parent)
    return above, unknown


def main() -> None:
    """Read CATEGORIES.txt, write both files."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("categories", type=Path)
    parser.add_argument("output", type=Path)
    options = parser.parse_args()
    categories, nameless = read(options.categories)
    above, unknown = parents(categories)
    edges = [
        {"key": key, "parent": parent, "name": category.name}
        for key, category in categories.items()
        for parent in above[key] or NO_PARENT
    ]
    names = [
        {"id": f"{key} ({language})", "category": key, "locale": language,
         "name": several[0], "synonyms": several[1:]}
        for key, category in categories.items()
        for language, several in category.names.items()
    ]  # fmt: skip
    options.output.mkdir(parents=True, exist_ok=True)
    for name, rows in (("categories", edges), ("names", names)):
        lines = [json.dumps(row, ensure_ascii=False) for row in rows]
        path = options.output / f"{name}.jsonl"
        path.write_text("\n".join([*lines, ""]), encoding="utf-8")
        print(f"{path}: {len(lines)} lines")
    print(f"{len(categories)} categories; left out: {nameless} blocks without a name")
    if unknown:
        print(f"and {len(unknown)} parents that no block has: {'; '.join(unknown)}")


if __name__ == "__main__":
    main()
