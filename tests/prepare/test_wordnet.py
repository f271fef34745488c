"""WordNet's graph of hypernyms becomes a tree whose items keep every hypernym."""

import gzip
import json
from collections import Counter

import pyarrow.parquet as pq
import pytest
import yaml

from hierarchy_lm.cli import main
from hierarchy_lm.hierarchy import Hierarchy

from .catalogues import (
    MAPPINGS,
    accounts,
    check_tree,
    convert,
    converted,
    path_of,
    rows_of,
    split_by,
    there,
    with_prefixes,
)

MAPPING = MAPPINGS / "wordnet.yaml"

#            entity (1)
#           /     |     \
#     thing (2) being (3) thing (4)     two synsets of one word below one parent
#         |     /   |
#    artifact (5) animal (6)            5 is below 2, and, listed second, below 3
#         |      /
#       robot dog (7)                   7 is below 5, and, listed second, below 6
#         |      |                      8 is below 7, and, listed second, nearer to the root below 3
#       toy (8)
TOPS = """
00000001-n: {members: [entity], definition: [what is], partOfSpeech: n}
00000002-n: {members: [thing, object], definition: [a lifeless entity], hypernym: [00000001-n]}
00000003-n: {members: [being], definition: [a living entity], hypernym: [00000001-n]}
00000004-n: {members: [thing], definition: [an unnamed entity], hypernym: [00000001-n]}
"""
OTHERS = """
00000008-n: {members: [toy], definition: [a robot dog to play with], hypernym: [00000007-n, 00000003-n]}
00000007-n: {members: [robot dog], definition: [a built dog], hypernym: [00000005-n, 00000006-n]}
00000006-n: {members: [animal], definition: [a being that moves], hypernym: [00000003-n]}
00000005-n: {members: ["artifact"], definition: [what someone made, by hand],
             hypernym: [00000002-n], instance_hypernym: [00000003-n]}
"""  # noqa: E501


@pytest.fixture
def source(tmp_path):
    folder = tmp_path / "yaml"
    folder.mkdir()
    (folder / "noun.Tops.yaml").write_text(TOPS)
    (folder / "noun.all.yaml.gz").write_bytes(gzip.compress(OTHERS.encode()))
    (folder / "verb.all.yaml").write_text("1-v: {members: [run]}")
    return folder


@pytest.fixture
def items(source, tmp_path):
    done = convert("wordnet.py", source, tmp_path / "synsets.jsonl")
    assert done.returncode == 0, done.stderr
    lines = (tmp_path / "synsets.jsonl").read_text().splitlines()
    return {item["id"]: item for item in map(json.loads, lines)}


def paths(item):
    return {" > ".join(names) for names in item["paths"]}


THING = "entity > thing (00000002-n)"


def test_every_synset_is_one_node_below_its_shortest_hypernym_and_keeps_the_others(items):
    assert {key: paths(item) for key, item in items.items()} == {
        "00000001-n": {"entity"},
        "00000002-n": {THING},
        "00000003-n": {"entity > being"},
        "00000004-n": {"entity > thing (00000004-n)"},
        "00000005-n": {f"{THING} > artifact", "entity > being"},
        "00000006-n": {"entity > being > animal"},
        "00000007-n": {f"{THING} > artifact > robot dog", "entity > being > animal"},
        "00000008-n": {
            "entity > being > toy",
            f"{THING} > artifact > robot dog",
            "entity > being > animal",
        },
    }
    assert items["00000002-n"]["members"] == "thing, object"
    assert items["00000005-n"]["definition"] == "what someone made; by hand"


def test_labels_with_all_above_are_the_hypernyms_on_any_way_up(source, items, tmp_path, capfd):
    status = main(
        ["prepare", "--config", str(MAPPING), f"--root={tmp_path}", f"--output={tmp_path / 'out'}"]
    )
    assert status == 0, capfd.readouterr().err
    tree = Hierarchy.from_parquet(tmp_path / "out" / "hierarchy.parquet")
    assert tree.level_sizes == [1, 3, 3, 1]  # one node per synset
    closed = {}
    for shard in (tmp_path / "out" / "products").glob("*.parquet"):
        for row in pq.read_table(shard).to_pylist():
            nodes = {above for node in row["node_ids"] for above in [*tree.ancestors(node), node]}
            closed[row["item_id"]] = {tree.names[node] for node in nodes}
            assert row["description"] == items[row["item_id"]]["definition"]
    assert closed["00000008-n"] == {
        *("entity", "thing (00000002-n)", "being", "animal", "artifact", "robot dog", "toy")
    }
    assert closed["00000005-n"] == {"entity", "thing (00000002-n)", "being", "artifact"}
    assert closed["00000004-n"] == {"entity", "thing (00000004-n)"}


def test_without_the_bottom_a_definition_is_to_find_its_hypernyms(source, items, tmp_path, capfd):
    status = main(
        [
            *("prepare", "--config", str(MAPPING), f"--root={tmp_path}"),
            *(f"--output={tmp_path / 'out'}", "--tree.min_items=2"),
        ]
    )
    assert status == 0, capfd.readouterr().err
    tree = Hierarchy.from_parquet(tmp_path / "out" / "hierarchy.parquet")
    # Nothing is below `toy` and the second `thing`; their items go to what is above.
    assert set(tree.names) == {
        *("entity", "thing (00000002-n)", "being", "animal", "artifact", "robot dog")
    }


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        ("1-n: {members: [a], definition: [x], hypernym: [9-n]}", "hypernym 9-n, which is not in"),
        ("1-n: {members: [a], definition: [x], hypernym: [1-n]}", "1 synsets are on a cycle"),
        (None, "no noun.*.yaml"),
    ],
)
def test_a_broken_source_is_one_line_and_leaves_nothing(broken, message, tmp_path):
    (tmp_path / "yaml").mkdir()
    if broken:
        (tmp_path / "yaml" / "noun.x.yaml").write_text(broken)
    done = convert("wordnet.py", tmp_path / "yaml", tmp_path / "out.jsonl")
    assert done.returncode == 1
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "out.jsonl").exists()


# --- the real files ---------------------------------------------------------------------------


def synsets(folder):
    """Hypernyms and first word of every noun synset, from the lines of the files."""
    hypernyms, words, key, part = {}, {}, "", ""
    for path in folder.glob("noun.*"):
        content = path.read_bytes()
        content = gzip.decompress(content) if path.suffix == ".gz" else content
        for line in content.decode().splitlines():
            if line[:1].isdigit():
                key = line.partition(":")[0].strip()
                hypernyms[key] = []
            elif line.startswith("  - ") and part in ("hypernym", "instance_hypernym"):
                hypernyms[key].append(line[4:])
            elif line.startswith("  - ") and part == "members":
                words.setdefault(key, str(yaml.safe_load(line[4:])))
            elif not line.startswith("   "):
                part = line.strip().partition(":")[0]
    return hypernyms, words


def places(hypernyms, words):
    """Path of every synset: below the hypernym nearest to the root, walking down from the root."""
    below = {}
    for key, several in hypernyms.items():
        for hypernym in several:
            below.setdefault(hypernym, []).append(key)
    level, parents = [key for key, several in hypernyms.items() if not several], {}
    depth = dict.fromkeys(level, 0)
    while level:
        level = list(
            dict.fromkeys(k for top in level for k in below.get(top, ()) if k not in depth)
        )
        for key in level:
            depth_of = {top: depth[top] for top in hypernyms[key] if top in depth}
            parents[key] = min(depth_of, key=depth_of.get)
        depth.update({key: depth[parents[key]] + 1 for key in level})
    alike = Counter((parents.get(key), words[key]) for key in hypernyms)
    found = {}
    for key in depth:  # parents first
        alone = alike[parents.get(key), words[key]] == 1
        name = words[key] if alone else f"{words[key]} ({key})"
        found[key] = (*found.get(parents.get(key), ()), *path_of([name]))
    return found


@pytest.mark.slow
def test_all_nouns_of_english(tmp_path):
    source = there("english_wordnet")
    converted("wordnet.py", source, tmp_path / "synsets.jsonl")
    hypernyms, words = synsets(source)
    assert len(hypernyms) == 71_873
    assert sum(len(several) > 1 for several in hypernyms.values()) == 2_316
    path = places(hypernyms, words)
    closed = {}

    def above(key):
        if key not in closed:
            closed[key] = {key}.union(*map(above, hypernyms[key]))
        return closed[key]

    wanted = {}
    for key in hypernyms:
        paths = {path[other] for other in above(key)}
        wanted[key] = paths - {other[:-1] for other in paths}
    outputs = []
    for least, levels in (
        (0, [1, 3, 27, 247, 2198, 6434, 11779, 14794, 13644, 10044, 6249, 3390, 1704, 716, 433,
             180, 30]),
        (2, [1, 3, 13, 150, 959, 2265, 3317, 3476, 2922, 1946, 1070, 579, 274, 138, 69, 11]),
    ):  # fmt: skip
        outputs.append(tmp_path / str(least) / "wordnet")
        command = ["prepare", f"--config={MAPPING}", f"--root={tmp_path}"]
        assert main([*command, f"--output={outputs[-1]}", f"--tree.min_items={least}"]) == 0
        times = Counter(node for p in wanted.values() for own in p for node in with_prefixes([own]))
        nodes = [node for node in times if times[node] >= least]
        assert check_tree(outputs[-1], nodes, page=not least) == levels
        assert accounts(outputs[-1])[0][2:] == (71_873, 71_873, "0")
    found = rows_of(outputs[0])
    assert {key: row.names for key, row in found.items()} == {
        key: {" > ".join(own) for own in paths} for key, paths in wanted.items()
    }
    assert all(row.split == split_by(key) for key, row in found.items())
    assert sum(len(row.names) > 1 for row in found.values()) == 26_102
