"""The scripts that turn trees of other forms into input for `hlm prepare`; WordNet's is apart."""

import gzip
import json
import re
import unicodedata
from collections import defaultdict

import pytest

from .catalogues import (
    Item,
    accounts,
    check,
    check_tree,
    convert,
    converted,
    held_out,
    labels,
    path_of,
    prepared,
    read_csv,
    split_by,
    there,
)

FOOD = """
# A comment, then what is about no category.
synonyms:en:flavoured, flavored

stopwords:fr:aux,au

en:Plant-based foods, Vegetarian foods
fr:Aliments d'origine végétale
wikidata:en:Q1

en:Drinks
de : Getränke

<en:Drink
<en:vegetarian foods
en:Juices, Juice
# a comment among the lines
de:Säfte, Saft
nova:en:1

<de:Getränke
fr:Œufs à boire_chauds
who_id:en: 10

<en:Drinks
fr:Œufs à boire chauds, Œufs

<en:No such thing
en:Lost

<en:Juices
wikidata:en:Q2
"""


def lines(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


@pytest.mark.parametrize("packed", [True, False])
def test_food_categories_with_all_parents_and_names(packed, tmp_path):
    source = tmp_path / ("food.txt.gz" if packed else "food.txt")
    content = FOOD.encode()
    source.write_bytes(gzip.compress(content) if packed else content)
    done = convert("openfoodfacts.py", source, tmp_path / "out")
    assert done.returncode == 0, done.stderr
    edges = lines(tmp_path / "out/categories.jsonl")
    assert {(edge["key"], edge["parent"]): edge["name"] for edge in edges} == {
        ("en:plant-based-foods", None): "Plant-based foods",
        ("en:drinks", None): "Drinks",
        ("en:juices", "en:drinks"): "Juices",  # called in the singular
        ("en:juices", "en:plant-based-foods"): "Juices",  # called by a synonym
        ("fr:oeufs-a-boire-chauds", "en:drinks"): "Œufs à boire_chauds",  # two blocks, one id
        ("en:lost", None): "Lost",
    }
    names = lines(tmp_path / "out/names.jsonl")
    assert {row["id"]: (row["name"], row["synonyms"]) for row in names} == {
        "en:plant-based-foods (en)": ("Plant-based foods", ["Vegetarian foods"]),
        "en:plant-based-foods (fr)": ("Aliments d'origine végétale", []),
        "en:drinks (en)": ("Drinks", []),
        "en:drinks (de)": ("Getränke", []),
        "en:juices (en)": ("Juices", ["Juice"]),
        "en:juices (de)": ("Säfte", ["Saft"]),
        "fr:oeufs-a-boire-chauds (fr)": (
            "Œufs à boire_chauds", ["Œufs à boire chauds", "Œufs"]
        ),
        "en:lost (en)": ("Lost", []),
    }  # fmt: skip
    assert "5 categories; left out: 1 blocks without a name" in done.stdout
    assert "1 parents that no block has: en:No such thing (of en:lost)" in done.stdout


def test_a_text_without_categories_is_one_line(tmp_path):
    (tmp_path / "food.txt").write_text("# nothing\n\nsynonyms:en:a, b\n")
    done = convert("openfoodfacts.py", tmp_path / "food.txt", tmp_path / "out")
    assert done.returncode == 1
    assert done.stderr.splitlines() == [f"{tmp_path / 'food.txt'}: no category there"]
    assert not (tmp_path / "out").exists()


LISTING = """CODE\tEN\tCode-8digits
03000000-1\tFarming products\t03000000
03100000-2\tGarden products\t03100000
03111000-2\tSeeds\t03111000
03111111-7\tOne seed\t03111111
45000000-7\tConstruction work\t45000000
"""


def test_procurement_codes_and_tenders(tmp_path):
    (tmp_path / "cpv_listing.tsv").write_text(LISTING)
    (tmp_path / "train10.csv").write_text(
        ',descripcion,03,45\n7,"""Semillas y ""obras"""" ",1,1\n8,Obras de "A",0,1\n'
    )
    packed = gzip.compress('\ufeff,descripcion,03,45\n9,"Semillas,\n dos",1,0\n'.encode("utf-8"))
    (tmp_path / "test10.csv.gz").write_bytes(packed)
    done = convert("cpv.py", tmp_path, tmp_path / "out")
    assert done.returncode == 0, done.stderr
    codes = lines(tmp_path / "out/tree.jsonl")
    assert {
        row["code"]: row["parent"] for row in codes
    } == {  # of what the listing lacks, the next one above
        "03000000": None,
        "03100000": "03000000",
        "03111000": "03100000",
        "03111111": "03111000",
        "45000000": None,
    }
    tenders = [tuple(row.values()) for row in lines(tmp_path / "out/tenders.jsonl")]
    assert tenders == [
        ("7", 'Semillas y "obras"', ["03000000", "45000000"], "train"),
        ("8", 'Obras de "A"', ["45000000"], "train"),
        ("9", "Semillas,\n dos", ["03000000"], "test"),
    ]


def test_a_missing_table_is_one_line(tmp_path):
    (tmp_path / "cpv_listing.tsv").write_text(LISTING)
    done = convert("cpv.py", tmp_path, tmp_path / "out")
    assert done.returncode == 1
    assert done.stderr.splitlines() == [f"{tmp_path / 'train10.csv'}: not there, nor with .gz"]
    assert not (tmp_path / "out").exists()


# --- the real files ---------------------------------------------------------------------------


def divisions(source):
    """Names by code, by division: only codes of one division stand above one another."""
    found = defaultdict(dict)
    for row in read_csv(source / "cpv_listing.tsv.gz", delimiter="\t"):
        code = row["CODE"].partition("-")[0]
        found[code[:2]][code] = row["EN"]
    return found


def code_paths(names):
    """The names of all codes that begin as a code does, zeros at the end apart, shortest first."""
    for code in names:
        line = [other for other in names if code.startswith(other[:2] + other[2:].rstrip("0"))]
        line.sort(key=lambda other: len(other[2:].rstrip("0")))
        yield path_of(names[other] for other in line)


def test_cpv(tmp_path):
    source = there("cpv")
    converted("cpv.py", source, tmp_path / "made")
    folder = prepared("cpv", tmp_path, tmp_path / "made")
    names = divisions(source)
    paths = [path for codes in names.values() for path in code_paths(codes)]
    assert check_tree(folder, paths) == [45, 272, 1004, 2402, 3126, 1807, 798]
    items, codes = {}, {}
    for split in ("train", "test"):
        for row in read_csv(source / f"{split}10.csv.gz"):
            own = [name for name, value in row.items() if value == "1" and len(name) == 2]
            title = re.sub(r'^"(.*)"$', r"\1", row["descripcion"].strip(), flags=re.DOTALL)
            item = Item(held_out(split, row[""]), title.strip())
            tops = [path_of([names[name][f"{name}000000"]]) for name in own]
            items[row[""]] = item._replace(names=labels(*tops))
            codes[row[""]] = item._replace(names=frozenset(f"{name}000000" for name in own))
    assert len(items) == 10_347
    assert sum(len(row.names) > 1 for row in items.values()) == 930
    assert max(len(row.names) for row in items.values()) == 13
    check(folder, items)
    check(folder, codes, "tasks/division")
    wanted = [("products", 10_347), ("tree", 9_454), ("tasks.division", 10_347)]
    assert [row[1:] for row in accounts(folder)] == [(use, n, n, "0") for use, n in wanted]


LANGUAGE = r"[a-z][a-z]([-_][a-zA-Z][a-zA-Z])?|[a-z]{3}"


def food_blocks(source):
    """Parents as written and names by language of every block, from a walk over the lines."""
    parents, names, lines = [], {}, 0
    for line in [*gzip.decompress(source.read_bytes()).decode().split("\n"), ""]:
        head, _, rest = (part.strip() for part in line.partition(":"))
        if not line.strip():
            if lines:
                yield parents, names
            parents, names, lines = [], {}, 0
        elif not head.startswith("#") and head not in ("synonyms", "stopwords"):
            lines += 1
            if head.startswith("<"):
                parents.append((head[1:] or "en", rest))
            elif re.fullmatch(LANGUAGE, head) and not re.match("[a-z][a-z]:", rest):
                several = [name.strip() for name in rest.split(",") if name.strip()]
                names.setdefault(head, []).extend(several)


def food_tag(language, name):
    """Lower case; accents go in some languages; all but letters, marks and digits are hyphens."""
    out = ""
    for character in unicodedata.normalize("NFC", name.lower()):
        if language in ("ca", "en", "es", "fr", "it", "nl", "pt", "sk"):
            ligatures = {"œ": "oe", "æ": "ae"}
            character = ligatures.get(character) or unicodedata.normalize("NFD", character)[0]
        out += character if unicodedata.category(character[0])[0] in "LMN" else "-"
    return f"{language}:{re.sub('-+', '-', out).strip('-')}"


def food_categories(blocks):
    """Parents as written and names by language of every id, which several blocks may share."""
    found = {}
    for written, names in blocks:
        language, [first, *_] = next(iter(names.items()))
        parents, known = found.setdefault(food_tag(language, first), ([], {}))
        parents += written
        for language, several in names.items():
            own = known.setdefault(language, [])
            own += [name for name in dict.fromkeys(several) if name not in own]
    return found


def food_parents(categories):
    """Ids of the parents of every id; a parent is called by an id, a first name, a synonym."""
    called = {key: key for key in categories}
    for chosen in (slice(1), slice(1, None)):
        for key, (_, names) in categories.items():
            for language, several in names.items():
                for name in several[chosen]:
                    called.setdefault(food_tag(language, name), key)
    above = {}
    for key, (written, _) in categories.items():
        tags = [food_tag(*parent) for parent in written]
        forms = [(tag, f"{tag}s", tag.removesuffix("s")) for tag in tags]
        known = [[called[form] for form in several if form in called][:1] for several in forms]
        above[key] = dict.fromkeys(parent for found in known for parent in found)
    return above


def test_open_food_facts(tmp_path):
    source = there("off_categories/categories.txt.gz")
    said = converted("openfoodfacts.py", source, tmp_path / "made")
    folder = prepared("openfoodfacts", tmp_path, tmp_path / "made")
    blocks = list(food_blocks(source))
    named = [block for block in blocks if block[1]]
    assert len(named) == 10_039
    assert f"{len(blocks) - len(named)} blocks without a name" in said
    categories = food_categories(named)
    assert len(categories) == 9_894
    above = food_parents(categories)
    assert sum(len(parents) > 1 for parents in above.values()) == 1_557
    known = {}

    def paths(key):
        if key not in known:
            names = categories[key][1]
            own = path_of([names.get("en", next(iter(names.values())))[0]])
            known[key] = {(*path, *own) for top in above[key] for path in paths(top)} or {own}
        return known[key]

    levels = check_tree(folder, set().union(*map(paths, categories)))
    assert levels == [94, 585, 2157, 3343, 5971, 4438, 2015, 499, 74, 7]
    items = {
        f"{key} ({language})": Item(split_by(f"{key} ({language})"), first, None, tuple(others),
                                    labels(*paths(key)), language)
        for key, (_, names) in categories.items()
        for language, [first, *others] in names.items()
    }  # fmt: skip
    assert len({row.other for row in items.values()}) == 187
    check(folder, items)
    edges = sum(len(parents) or 1 for parents in above.values())
    wanted = [("products", 31_473), ("tree", edges)]
    assert [row[1:] for row in accounts(folder)] == [(use, n, n, "0") for use, n in wanted]
