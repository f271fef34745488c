"""Open English WordNet's noun synsets, with several parents each, as items of a category tree.

    python scripts/wordnet.py FOLDER OUTPUT.jsonl

FOLDER holds `noun.*.yaml` or `noun.*.yaml.gz` of github.com/globalwordnet/english-wordnet,
src/yaml (CC BY 4.0). Each line of the output is a synset: `id`, `members` (its words), `definition`
and `paths`, lists of names for `hlm prepare` (experiments/datasets/wordnet.yaml).

A node of our trees has one parent. Here that is the hypernym with the shortest way to the root, the
one listed first among equals, so that every synset is one node. The other hypernyms are not lost:
the item of a synset is labelled with all nodes above it on any way to the root, that is, with its
own path and the path of each further hypernym that is not on it.
"""

import argparse
import gzip
import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import yaml

Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class Synset(NamedTuple):
    """A synset as the source has it."""

    members: list[str]
    definition: str
    hypernyms: list[str]


def read(folder: Path) -> dict[str, Synset]:
    """All noun synsets by id."""
    synsets = {}
    for path in sorted([*folder.glob("noun.*.yaml"), *folder.glob("noun.*.yaml.gz")]):
        opener = gzip.open if path.suffix == ".gz" else open
        with opener(path, "rt", encoding="utf-8") as file:
            content = yaml.load(file, Loader=Loader)
        for key, entry in content.items():
            hypernyms = [*entry.get("hypernym", []), *entry.get("instance_hypernym", [])]
            definition = "; ".join(map(str, entry["definition"]))
            synsets[key] = Synset([str(word) for word in entry["members"]], definition, hypernyms)
    if not synsets:
        sys.exit(f"{folder}: no noun.*.yaml or noun.*.yaml.gz there")
    return synsets


def parents_first(synsets: Mapping[str, Synset]) -> list[str]:
    """Ids so ordered that hypernyms come before what they are above of."""
    below: dict[str, list[str]] = {}
    missing = {key: len(synset.hypernyms) for key, synset in synsets.items()}
    for key, synset in synsets.items():
        for hypernym in synset.hypernyms:
            if hypernym not in synsets:
                sys.exit(f"synset {key} has the hypernym {hypernym}, which is not in the files")
            below.setdefault(hypernym, []).append(key)
    order = [key for key, count in missing.items() if count == 0]
    for key in order:  # grows while it is read
        for child in below.get(key, []):
            missing[child] -= 1
            if missing[child] == 0:
                order.append(child)
    if len(order) < len(synsets):
        sys.exit(f"{len(synsets) - len(order)} synsets are on a cycle or below one")
    return order


def spanning_tree(synsets: Mapping[str, Synset], order: list[str]) -> dict[str, str | None]:
    """The one parent of each synset in the tree: that of the shortest way to a root."""
    depth: dict[str, int] = {}
    parents: dict[str, str | None] = {}
    for key in order:
        parents[key] = min(synsets[key].hypernyms, key=depth.__getitem__, default=None)
        above = parents[key]
        depth[key] = 1 if above is None else depth[above] + 1
    return parents


def node_names(synsets: Mapping[str, Synset], parents: Mapping[str, str | None]) -> dict[str, str]:
    """The first word of each synset, with its id where a sibling has the same."""
    siblings: dict[tuple[str | None, str], list[str]] = {}
    for key, parent in parents.items():
        siblings.setdefault((parent, synsets[key].members[0]), []).append(key)
    return {
        key: name if len(keys) == 1 else f"{name} ({key})"
        for (_, name), keys in siblings.items()
        for key in keys
    }


def items(synsets: Mapping[str, Synset]) -> Iterator[dict[str, object]]:
    """One item per synset."""
    order = parents_first(synsets)
    parents = spanning_tree(synsets, order)
    names = node_names(synsets, parents)
    paths: dict[str, list[str]] = {}
    above: dict[str, set[str]] = {}
    for key in order:
        parent, synset = parents[key], synsets[key]
        paths[key] = [*(paths[parent] if parent else []), names[key]]
        above[key] = {key}.union(*(above[hypernym] for hypernym in synset.hypernyms))
        ends = above[key] - {parents[node] for node in above[key]}
        yield {
            "id": key,
            "members": ", ".join(synset.members),
            "definition": synset.definition,
            "paths": [paths[node] for node in sorted(ends)],
        }


def main() -> None:
    """Read FOLDER, write OUTPUT."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("output", type=Path)
    options = parser.parse_args()
    lines = [json.dumps(item, ensure_ascii=False) for item in items(read(options.folder))]
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text("\n".join([*lines, ""]), encoding="utf-8")
    print(f"{options.output}: {len(lines)} synsets")


if __name__ == "__main__":
    main()
