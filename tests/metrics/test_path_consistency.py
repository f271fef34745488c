import numpy as np
import pytest
import torch

from hierarchy_lm.batches import SparseTargets
from hierarchy_lm.hierarchy import Hierarchy
from hierarchy_lm.metrics import LevelF1, PathConsistency

TREE = Hierarchy.from_paths([("a", "c", "f"), ("a", "d"), ("b", "e", "g")])
A, B, C, D, E, F, G = range(7)


def pairs(*documents: set[int]) -> SparseTargets:
    found = [(row, node) for row, nodes in enumerate(documents) for node in sorted(nodes)]
    return SparseTargets(*torch.tensor(found, dtype=torch.int64).reshape(-1, 2).T)


def scores(*documents: set[int], tree: Hierarchy = TREE) -> dict[str, float]:
    metric = PathConsistency(tree.parents)
    metric.update(pairs(*documents), len(documents))
    return {name: value.item() for name, value in metric.compute().items()}


def test_hand_made_documents():
    found = scores(
        {A, C, F},  # whole
        {A, C, B, E},  # two whole paths, of different lengths
        {A, C, G},  # g lacks e and b
        {F},  # lacks c and a
        set(),  # not judged
    )
    assert found == pytest.approx(
        {"path_consistency": 2 / 4, "node_consistency": 9 / 11, "unanswered": 1 / 5}
    )


def test_a_parent_predicted_for_another_document_does_not_help():
    assert scores({A}, {C})["path_consistency"] == 0.5
    assert scores({G}, {A})["path_consistency"] == 0.5  # pair numbers are next to each other


def test_a_missing_grandparent_alone_breaks_a_path():
    found = scores({C, F})
    assert found["path_consistency"] == 0.0
    assert found["node_consistency"] == 0.5


def test_roots_alone_are_whole():
    assert scores({A}, {B}, {A, B})["path_consistency"] == 1.0


def test_nothing_predicted_is_zero_and_all_unanswered():
    assert scores(set(), set()) == {
        "path_consistency": 0.0,
        "node_consistency": 0.0,
        "unanswered": 1.0,
    }


def slowly(predicted: np.ndarray, tree: Hierarchy) -> dict[str, float]:
    whole = answered = nodes = fine = 0
    for row in predicted:
        chosen = set(np.flatnonzero(row).tolist())
        good = [n for n in chosen if tree.parents[n] < 0 or int(tree.parents[n]) in chosen]
        answered += bool(chosen)
        whole += bool(chosen) and len(good) == len(chosen)
        nodes, fine = nodes + len(chosen), fine + len(good)
    return {
        "path_consistency": whole / answered,
        "node_consistency": fine / nodes,
        "unanswered": 1 - answered / len(predicted),
    }


@pytest.mark.parametrize("seed", range(4))
def test_equals_a_slow_loop_over_batches_and_over_ranks(seed):
    random = np.random.default_rng(seed)
    tree = Hierarchy.from_paths([(f"r{i % 3}", f"m{i % 7}", f"l{i}") for i in range(30)])
    predicted = random.random((60, tree.num_nodes)) < 0.03
    predicted[::2] = random.random((30, tree.num_nodes)) < 0.01
    for node in reversed(range(tree.num_nodes)):  # half of them closed
        above = int(tree.parents[node])
        if above >= 0:
            predicted[::4, above] |= predicted[::4, node]
    ranks = [PathConsistency(tree.parents), PathConsistency(tree.parents)]
    for number, rows in enumerate([slice(0, 9), slice(9, 10), slice(10, 45), slice(45, 60)]):
        batch = SparseTargets(*torch.nonzero(torch.from_numpy(predicted[rows]), as_tuple=True))
        ranks[number % 2].update(batch, len(predicted[rows]))
    whole = ranks[0]
    reduce = whole._reductions["counts"]
    assert reduce is not None
    whole.counts = reduce(torch.stack([rank.counts for rank in ranks]))
    expected = slowly(predicted, tree)
    assert 0 < expected["path_consistency"] < 1
    found = {name: value.item() for name, value in whole.compute().items()}
    assert found == pytest.approx(expected, abs=1e-6)


def test_adds_no_weights_to_a_checkpoint():
    assert PathConsistency(TREE.parents).state_dict() == {}


def test_below_a_short_path_a_prediction_is_a_false_positive():
    """All documents count on every level (SST, Section VI-D), those that end above it too."""
    gold, predicted = [{A, D}, {A, C, F}], [{A, D, G}, {A, C, F}]
    metric = LevelF1(TREE.level_offsets.tolist())
    metric.update(pairs(*predicted), pairs(*gold))
    found = metric.compute()
    assert found["micro_f1_L1"].item() == found["micro_f1_L2"].item() == 1.0
    assert found["micro_f1_L3"].item() == pytest.approx(2 * 1 / (2 + 1))  # 2 predicted, 1 gold
