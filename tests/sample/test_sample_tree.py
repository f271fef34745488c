from collections import Counter

import numpy as np
import pytest

from data_modules.sample.growth import grow, spread
from data_modules.sample.tree import build_tree
from data_modules.sample.vocabulary import BOTH, ENGLISH, GERMAN, load_vocabulary
from hierarchy_lm.errors import UserError


def rng(seed=0):
    return np.random.default_rng(seed)


@pytest.fixture(scope="module")
def tree():
    return build_tree(load_vocabulary(), 400, 6, rng())


@pytest.mark.parametrize(
    ("nodes", "depth"),
    [(1, 1), (13, 1), (6, 6), (20, 3), (150, 4), (400, 6), (2000, 8), (5000, 10), (30_000, 10)],
)
def test_tree_has_exactly_the_nodes_and_levels_asked_for(nodes, depth):
    drafts = grow(load_vocabulary(), nodes, depth, rng())
    assert len({draft.names for draft in drafts}) == nodes
    assert max(len(draft.names) for draft in drafts) == depth
    names = {draft.names for draft in drafts}
    assert all(path[:-1] in names for path in names if len(path) > 1)


@pytest.mark.parametrize(("nodes", "depth", "what"), [(5000, 4, "nodes"), (400, 20, "depth")])
def test_more_than_the_word_lists_hold_is_one_clear_line(nodes, depth, what):
    with pytest.raises(UserError, match=f"^{what}: .*ask for[^\n]*$"):
        grow(load_vocabulary(), nodes, depth, rng())


@pytest.mark.parametrize("total", [1, 7, 30, 60])
def test_children_are_spread_within_the_limits(total):
    limits = np.array([0, 3, 8, 8, 20, 1, 5, 15])
    for seed in range(20):
        counts = spread(total, limits, rng(seed))
        assert counts.sum() == total
        assert (counts <= limits).all()
        assert (counts >= 0).all()


def test_branches_end_at_all_levels_below_the_groups(tree):
    hierarchy = tree.hierarchy
    leaves = Counter(hierarchy.levels[hierarchy.is_leaf].tolist())
    assert all(leaves[level] >= 20 for level in (3, 4, 5, 6))
    assert leaves[1] == 0


def test_node_names_repeat(tree):
    names = Counter(tree.hierarchy.names)
    assert names["Accessories"] >= 3
    assert sum(count > 1 for count in names.values()) > 20


def test_locales_overlap_but_differ(tree):
    counts = Counter(tree.locales.tolist())
    assert counts[BOTH] > 200
    assert min(counts[ENGLISH], counts[GERMAN]) > 15
    for node, parent in enumerate(tree.hierarchy.parents):
        if parent >= 0:  # whoever has a node has its parent
            assert tree.locales[node] & tree.locales[parent] == tree.locales[node]


def test_german_tree_files_some_types_elsewhere_under_german_names():
    vocabulary = load_vocabulary()
    tree = build_tree(vocabulary, 450, 3, rng())
    places = {}
    for node in np.flatnonzero(tree.types >= 0):
        places.setdefault(int(tree.types[node]), []).append(int(node))
    moved = [nodes for nodes in places.values() if len(nodes) == 2]
    assert len(moved) > 20
    for nodes in moved:
        english, german = sorted(nodes, key=lambda node: tree.locales[node])
        assert (tree.locales[english], tree.locales[german]) == (ENGLISH, GERMAN)
        names = vocabulary.types[tree.types[german]].names
        assert [tree.hierarchy.names[node] for node in (english, german)] == list(names)
        assert tree.hierarchy.parents[english] != tree.hierarchy.parents[german]


def test_values_on_the_path_are_those_of_the_names(tree):
    vocabulary = load_vocabulary()
    for node in range(tree.hierarchy.num_nodes):
        names = tree.hierarchy.paths[node].split(" > ")[3:]
        stated = [vocabulary.values[value] for value in tree.values[node] if value >= 0]
        assert len(stated) == len(names)
        assert all(any(name in pair for pair in stated) for name in names)


def test_popularity_is_a_skewed_distribution_over_the_locale_s_nodes(tree):
    for locale, popularity in enumerate(tree.popularity):
        has = (tree.locales >> locale) % 2 == 1
        assert popularity.sum() == pytest.approx(1.0)
        assert (popularity[~has] == 0).all()
        assert (popularity[has] > 0).all()
        ordered = np.sort(popularity)[::-1]
        assert ordered[: len(ordered) // 10].sum() > 0.4


def test_siblings_share_the_parent_and_the_locale(tree):
    for locale, siblings in enumerate(tree.siblings):
        has = (tree.locales >> locale) % 2 == 1
        for node in np.flatnonzero(has & (tree.hierarchy.parents >= 0)):
            parent = tree.hierarchy.parents[node]
            family = np.flatnonzero(has & (tree.hierarchy.parents == parent))
            if len(family) == 1:
                assert siblings[node] == -1
            else:
                assert siblings[node] in set(family) - {node}


@pytest.mark.parametrize(
    ("nodes", "depth"),
    [(1, 1), (2, 1), (13, 1), (2, 2), (14, 2), (30, 3), (3, 3), (11, 11), (60, 11)],
)
def test_small_trees_give_whole_samples(make_sample, nodes, depth):
    for seed in range(3):
        sample = make_sample(
            items=60, nodes=nodes, depth=depth, seed=seed, noise="L2", task_items=40
        )
        rows = sample.rows()
        assert len(rows) == 60
        assert {node for row in rows for node in row["true_node_ids"]} <= set(range(nodes))
        for task in (sample.folder / "tasks").iterdir():
            count = len(sample.labels(task.name))
            labels = {row["label_ids"][0] for row in sample.rows(f"tasks/{task.name}")}
            assert labels <= set(range(count))
