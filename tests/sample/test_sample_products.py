"""What products look like, read back from the folder."""

from collections import Counter

import numpy as np
import pytest
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.svm import LinearSVC

from data_modules.sample.vocabulary import load_vocabulary


def joined(row):
    fields = [row["title"], row["description"], *(row["bullet_points"] or [])]
    return " ".join(field for field in fields if field)


def test_about_a_tenth_has_two_nodes_neither_above_the_other(clean):
    nodes, rows = clean.nodes(), clean.rows()
    double = [row["true_node_ids"] for row in rows if len(row["true_node_ids"]) > 1]
    assert 0.08 < len(double) / len(rows) < 0.12
    for first, second in double:
        paths = sorted([nodes[first]["path"], nodes[second]["path"]], key=len)
        assert not f"{paths[1]} > ".startswith(f"{paths[0]} > ")


def test_both_languages_are_written_in_their_share(clean):
    rows = clean.rows()
    locales = Counter(row["locale"] for row in rows)
    assert 0.37 < locales["de"] / len(rows) < 0.43
    words = {
        locale: Counter(w for row in rows if row["locale"] == locale for w in joined(row).split())
        for locale in ("en", "de")
    }
    for english, german in (("for", "für"), ("with", "mit"), ("made", "aus")):
        assert words["en"][english] > 100 > 10 > words["en"][german]
        assert words["de"][german] > 100 > 10 > words["de"][english]


def test_products_of_a_locale_stay_in_its_tree(clean):
    of_node = {}
    for row in clean.rows():
        for node in row["true_node_ids"]:
            of_node.setdefault(node, set()).add(row["locale"])
    frequent = Counter(tuple(sorted(locales)) for locales in of_node.values())
    assert min(frequent[("en",)], frequent[("de",)], frequent[("de", "en")]) > 20


def test_products_stop_at_every_level_and_have_a_long_tail(clean):
    nodes = clean.nodes()
    used = Counter(node for row in clean.rows() for node in row["true_node_ids"])
    levels = Counter()
    for node, count in used.items():
        levels[nodes[node]["level"]] += count
    assert all(levels[level] > 20 for level in range(1, 7))
    inner = {node["parent_id"] for node in nodes}
    assert sum(used[node] for node in inner) > 200
    ordered = sorted(used.values(), reverse=True)
    assert sum(ordered[:40]) > 0.4 * sum(ordered)
    assert sum(count <= 3 for count in ordered) > 40


def test_every_value_of_the_path_is_stated_in_a_clean_text(clean):
    """English only names: each value's name or one of its synonyms, read from the word lists."""
    lexicon = load_vocabulary().lexicons["words"]
    spoken = {}
    for number, names in enumerate(load_vocabulary().values):
        spoken.setdefault(names[0], set()).update(words_of(lexicon, number))
    nodes = clean.nodes()
    checked = 0
    for row in clean.rows():
        if row["locale"] != "en":
            continue
        for name in nodes[row["true_node_ids"][0]]["path"].split(" > ")[3:]:
            assert any(word in joined(row) for word in spoken[name]), (name, joined(row))
            checked += 1
    assert checked > 1000


def words_of(lexicon, key):
    uniform = np.linspace(0, 0.999, 50)
    keys = np.full(50, key)
    return set(lexicon.pick(keys, np.zeros(50, dtype=np.int64), uniform).to_pylist())


@pytest.fixture(scope="module")
def bag_of_words_accuracy(half_noisy):
    """Accuracy per level of TF-IDF and a linear SVM, on the true nodes of the test split."""
    nodes = half_noisy.nodes()

    def label(ids, level):
        for node in ids:
            while nodes[node]["level"] > level:
                node = nodes[node]["parent_id"]
            if nodes[node]["level"] == level:
                return node
        return None

    def labelled(split, ids, level):
        rows = [(joined(row), label(row[ids], level)) for row in half_noisy.rows(split=split)]
        return zip(*(row for row in rows if row[1] is not None), strict=True)

    def accuracy(level):
        texts, given = labelled("train", "node_ids", level)
        vectors = TfidfVectorizer()
        model = LinearSVC().fit(vectors.fit_transform(texts), given)
        test_texts, truth = labelled("test", "true_node_ids", level)
        majority = Counter(given).most_common(1)[0][0]
        found = model.predict(vectors.transform(test_texts))
        return np.mean(found == truth), truth.count(majority) / len(truth)

    return accuracy


def test_bag_of_words_learns_departments_but_not_the_deep_levels(bag_of_words_accuracy):
    department, chance = bag_of_words_accuracy(1)
    deepest, _ = bag_of_words_accuracy(6)
    assert department > chance + 0.5
    assert department < 0.99
    assert deepest < 0.8
