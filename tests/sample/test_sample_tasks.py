from collections import Counter

import numpy as np
import pytest

from data_modules.sample.links import group_nodes
from data_modules.sample.queries import (
    COMPLEMENT,
    EXACT,
    IRRELEVANT,
    SUBSTITUTE,
    _offered,
    between,
)
from data_modules.sample.specs import Market
from data_modules.sample.tasks import label_shares, schemes
from data_modules.sample.tree import build_tree
from data_modules.sample.vocabulary import BOTH, load_vocabulary

MULTICLASS = {
    "product_categorisation": (0.85, 100, 1000),
    "local_financial": (0.5, 100, 1000),
    "global_financial": (0.4, 10, 100),
}


@pytest.fixture(scope="module")
def tree():
    return build_tree(load_vocabulary(), 400, 6, np.random.default_rng(0))


@pytest.mark.parametrize("task", list(MULTICLASS))
def test_labels_have_a_long_tail(half_noisy, task):
    cover, least, most = MULTICLASS[task]
    count = len(half_noisy.labels(task))
    assert least <= count < most
    rows = Counter(row["label_ids"][0] for row in half_noisy.rows(f"tasks/{task}"))
    head = sum(rows for _, rows in rows.most_common(-(-count // 10)))
    assert head / sum(rows.values()) == pytest.approx(cover, abs=0.05)
    assert sorted(rows.values())[len(rows) // 2] < 0.02 * sum(rows.values())


def test_label_shares_by_hand():
    # Four of forty labels share 80 %: 1, 2^-.7, 3^-.7, 4^-.7.
    shares = label_shares(40, 0.8)
    assert shares.sum() == pytest.approx(1.0)
    assert shares[:4].sum() == pytest.approx(0.8)
    assert shares[1] / shares[0] == pytest.approx(2**-0.7)
    assert shares[5] / shares[4] == pytest.approx(2**-0.7)


def test_labels_follow_from_the_true_node_s_path(tree):
    """Read from the names: the first is the department, the fourth and fifth refine the third."""
    vocabulary = load_vocabulary()
    found = {scheme.info.name: scheme for scheme in schemes(vocabulary, tree)}
    forms = {kind.names[0]: kind.form[0] for kind in vocabulary.types}
    checked = 0
    for node, path in enumerate(tree.hierarchy.paths):
        names = path.split(" > ")
        labels = {name: scheme.node_labels[node] for name, scheme in found.items()}
        if len(names) < 3:
            assert set(labels.values()) == {-1}
        elif tree.locales[node] == BOTH:
            first, second = [["general"] * 2, names[3:4] * 2, names[3:5]][min(len(names) - 3, 2)]
            expected = {
                "product_categorisation": f"{forms[names[2]]}: {first}",
                "local_financial": f"{names[0]}: {second}",
            }
            for name, label in expected.items():
                assert found[name].info.labels[labels[name]] == label
            pair = found["global_financial"].info.labels[labels["global_financial"]]
            assert names[1] in pair.removeprefix(f"{names[0]}: ").split(" + ")
            checked += 1
    assert checked > 150


def test_labels_cut_across_the_tree(tree):
    found = schemes(load_vocabulary(), tree)
    for scheme in found[:2]:
        parts = {}
        for node in np.flatnonzero(scheme.node_labels >= 0):
            group = tree.hierarchy.parents[tree.type_nodes[node]]
            parts.setdefault(int(scheme.node_labels[node]), set()).add(int(group))
        assert sum(len(groups) > 1 for groups in parts.values()) >= 10


def test_a_tree_without_product_types_has_only_the_query_task(make_sample):
    sample = make_sample(items=50, nodes=20, depth=2, task_items=100)
    assert [folder.name for folder in (sample.folder / "tasks").iterdir()] == ["query_product"]


def test_query_labels_have_the_paper_s_shares(half_noisy):
    assert half_noisy.labels("query_product") == ["exact", "substitute", "complement", "irrelevant"]
    rows = Counter(row["label_ids"][0] for row in half_noisy.rows("tasks/query_product"))
    for label, share in enumerate((68, 20, 2, 8)):
        expected = share / 98
        error = 5 * (expected * (1 - expected) / 4000) ** 0.5
        assert rows[label] / 4000 == pytest.approx(expected, abs=error)


def test_no_test_query_or_product_is_in_train(half_noisy):
    place = "tasks/query_product"
    for column in ("query", "item_id"):
        train, test = (
            {row[column] for row in half_noisy.rows(place, split)} for split in ("train", "test")
        )
        assert train
        assert test
        assert not train & test


def test_offered_products_stand_in_the_labelled_relation(tree):
    vocabulary = load_vocabulary()
    market, rng = Market(vocabulary, tree), np.random.default_rng(1)
    count = 3000
    locales = market.locales(count, rng)
    asked = market.specs(market.nodes(locales, rng), np.full(count, -1), locales, rng)
    queried = np.where(asked.values >= 0, np.arange(8), -1).max(axis=1)
    labels = rng.integers(4, size=count)
    offered = _offered(market, asked, queried, labels, rng)
    group_of = [kind.group for kind in vocabulary.types]
    home_of = [vocabulary.groups[group].department for group in group_of]
    other_values = 0
    for row, label in enumerate(labels):
        wanted, got = int(asked.types[row]), int(offered.types[row])
        same_group, same_home = group_of[wanted] == group_of[got], home_of[wanted] == home_of[got]
        assert home_of[got] == offered.departments[row]
        if label == EXACT:
            assert wanted == got
            assert (asked.values[row] == offered.values[row]).all()
        elif label == SUBSTITUTE and wanted == got:
            other_values += 1
            assert np.flatnonzero(asked.values[row] != offered.values[row]) == [queried[row]]
        elif label == SUBSTITUTE:
            assert same_group
        elif label == COMPLEMENT:
            assert same_home
            assert not same_group
        else:
            assert label == IRRELEVANT
            assert not same_home
    assert other_values > 50


def test_between_reaches_every_free_number_and_no_other():
    cases = [((4, 5), (2, 8)), ((0, 3), (0, 7)), ((5, 9), (1, 9)), ((2, 4), (2, 5))]
    for (a, b), (start, stop) in cases:
        uniform = np.linspace(0, 0.9999, 200)
        inner = [np.full(200, a), np.full(200, b)]
        outer = [np.full(200, start), np.full(200, stop)]
        expected = {number for number in range(start, stop) if not a <= number < b}
        assert set(between(inner, outer, uniform).tolist()) == expected


def test_products_of_the_tasks_are_filed_like_those_of_the_catalogue(half_noisy):
    """Half of the products are noisy: 10 % of those incomplete, of which half have no node."""
    for task in MULTICLASS:
        rows = half_noisy.rows(f"tasks/{task}")
        counts = Counter(len(row["node_ids"]) for row in rows)
        assert set(counts) == {0, 1, 2}
        assert counts[0] / len(rows) == pytest.approx(0.5 * 0.1 * 0.5, abs=0.015)
        assert 0.05 < counts[2] / len(rows) < 0.15


def test_without_noise_the_true_node_is_among_a_row_s_nodes(make_sample):
    sample = make_sample(items=50, task_items=500, noise="clean")
    tree = build_tree(load_vocabulary(), 400, 6, np.random.default_rng([0, 0]))
    assert tree.hierarchy.paths == [node["path"] for node in sample.nodes()]
    for scheme in schemes(load_vocabulary(), tree):
        for row in sample.rows(f"tasks/{scheme.info.name}"):
            labels = [int(scheme.node_labels[node]) for node in row["node_ids"]]
            assert row["label_ids"][0] in labels


def test_offered_products_are_filed_under_their_group_or_department(tree):
    vocabulary = load_vocabulary()
    filed = group_nodes(vocabulary, tree, np.arange(len(vocabulary.types))).to_pylist()
    levels = Counter()
    upper = [node for node, path in enumerate(tree.hierarchy.paths) if path.count(" > ") < 2]
    for kind, nodes in zip(vocabulary.types, filed, strict=True):
        home = vocabulary.groups[kind.group].department
        own = [node for node in upper if tree.groups[node] == kind.group]
        above = [n for n in upper if tree.groups[n] < 0 and tree.departments[n] == home]
        assert nodes == (own or above)[:1]
        levels[2 if own else 1 if above else 0] += 1
    assert min(levels[level] for level in range(3)) > 0


def test_the_depth_of_its_node_does_not_tell_an_exact_product_from_its_substitute(half_noisy):
    levels = [node["level"] for node in half_noisy.nodes()]
    found = {EXACT: Counter(), SUBSTITUTE: Counter()}
    for row in half_noisy.rows("tasks/query_product"):
        [label] = row["label_ids"]
        if label in found:
            found[label][max((levels[node] for node in row["node_ids"]), default=0)] += 1
    for counts in found.values():
        assert counts[2] / counts.total() > 0.95
