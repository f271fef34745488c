"""Precision among neighbours, against loops over documents."""

import numpy as np
import pytest
import torch

from hierarchy_lm.embeddings import neighbours
from hierarchy_lm.embeddings.documents import sample
from hierarchy_lm.embeddings.neighbours import neighbour_precision

from .conftest import TREE, documents_of


def slowly(documents, sets, ks, asked):
    """The definition: for every level and query, sort all other documents of the level."""
    units = [vector / np.linalg.norm(vector) for vector in documents.vectors.double().numpy()]
    found = {}
    for level in range(1, TREE.depth + 1):
        own = [{node for node in nodes if TREE.levels[node] == level} for nodes in sets]
        candidates = [row for row, nodes in enumerate(own) if nodes]
        shares, limits, chances = {k: [] for k in ks}, {k: [] for k in ks}, []
        for query in candidates:
            if query not in asked:
                continue
            others = [row for row in candidates if row != query]
            others.sort(key=lambda row, query=query: -float(units[query] @ units[row]))
            right = [bool(own[query] & own[row]) for row in others]
            chances.append(np.mean(right))
            for k in ks:
                shares[k].append(np.mean(right[:k]))
                limits[k].append(np.mean(sorted(right, reverse=True)[:k]))
        precision, best = (
            {k: np.mean(of[k]) if k < len(candidates) else None for k in ks}
            for of in (shares, limits)
        )
        found[level] = (len(candidates), len(chances), precision, best, np.mean(chances))
    return found


@pytest.mark.parametrize("queries", [1000, 17])
@pytest.mark.parametrize("block", [1 << 25, 100])  # one block, or a query at a time
def test_equals_a_loop_over_documents(make_documents, monkeypatch, queries, block):
    monkeypatch.setattr(neighbours, "BLOCK_NUMBERS", block)
    documents, sets = make_documents(70)
    asked = set(sample(documents.item_ids, queries).tolist())
    expected = slowly(documents, sets, (1, 5, 10), asked)
    found = neighbour_precision(documents, TREE, (1, 5, 10), queries)
    assert [level.level for level in found] == [1, 2, 3]
    for level in found:
        count, asked_there, precision, best, chance = expected[level.level]
        assert (level.documents, level.queries) == (count, asked_there)
        assert level.precision == pytest.approx(precision)
        assert level.best == pytest.approx(best)
        assert level.chance == pytest.approx(chance)
    assert found[0].chance < 0.9  # or nothing could be told apart
    assert found[0].precision[1] > found[0].chance


def test_hand_made_neighbours():
    a, aa, ab, b = (TREE.node_of(name) for name in ("a", "a > aa", "a > ab", "b"))
    vectors = torch.tensor([[1.0, 0.0], [2.0, 0.1], [1.0, 0.3], [0.0, 5.0]])
    sets = [{a, aa}, {a, ab, aa}, {b}, {b}]  # the third lies beside the first two
    roots, second = neighbour_precision(documents_of(sets, vectors), TREE, (1, 2), 9)
    # Nearest: 0 -> 1, 1 -> 0, 2 -> 1, 3 -> 2; the second ones: 0 -> 2, 1 -> 2, 2 -> 0, 3 -> 1.
    assert roots.precision == pytest.approx({1: 3 / 4, 2: 3 / 8})
    assert roots.best == {1: 1.0, 2: 0.5}  # each has one other of its root
    assert roots.chance == pytest.approx(1 / 3)
    # Only two documents go on; each is the other's only neighbour and shares aa.
    assert (second.documents, second.precision) == (2, {1: 1.0, 2: None})


def test_the_third_level_of_a_tree_that_nobody_reaches_is_left_out():
    sets = [{TREE.node_of("a")}, {TREE.node_of("b")}]
    (roots,) = neighbour_precision(documents_of(sets, torch.eye(2)), TREE, (1,), 9)
    assert (roots.level, roots.precision, roots.chance) == (1, {1: 0.0}, 0.0)


def test_a_copy_of_a_document_is_a_neighbour_and_the_document_itself_is_not():
    a, b = TREE.node_of("a"), TREE.node_of("b")
    vectors = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    (roots,) = neighbour_precision(documents_of([{a}, {a}, {b}], vectors), TREE, (1,), 9)
    assert roots.precision == pytest.approx({1: 2 / 3})  # b's neighbour can only be wrong
