"""Greedy decoding by hand: scripted scores, every rule about the stop symbol."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from hierarchy_lm.decoding import DecodeOptions
from hierarchy_lm.pretraining.hbgl_decoding import Greedy, GreedyDecoder

# A B | a b (below A) c (below B) | x (below a)
PARENTS = torch.tensor([-1, -1, 0, 0, 1, 2])
OFFSETS = [0, 2, 5, 6]
A, B, Aa, Ab, Bc, X = range(6)
LOW = -3.0


def script(*steps: dict[Any, float]):
    """Scores of one document: what is high at each step, ``"stop"`` included."""
    given: list[list[int]] = []

    def score(step: int, picked: Tensor) -> tuple[Tensor, Tensor]:
        given.append(torch.nonzero(picked[0])[:, 0].tolist())
        high = steps[step] if step < len(steps) else {}
        logits = torch.full((1, 6), LOW)
        for node, value in high.items():
            if node != "stop":
                logits[0, node] = value
        return logits, torch.tensor([high.get("stop", LOW)])

    return score, given


def decode(*steps: dict[Any, float], restrict: bool = True, rule: str = "clean", **options):
    decoder = GreedyDecoder(PARENTS, OFFSETS, restrict, DecodeOptions(**options), rule)
    score, given = script(*steps)

    def of_candidates(step: int, picked: Tensor) -> tuple[Tensor, Tensor]:
        logits, stop = score(step, picked)
        return logits[:, slice(*decoder.candidates(step))], stop

    return decoder(1, of_candidates), given


def nodes(found: Greedy) -> list[int]:
    assert found.pairs().documents.tolist() == [0] * int(found.chosen.sum())
    return found.pairs().labels.tolist()


def test_each_level_is_given_what_the_one_above_predicted():
    found, given = decode({A: 2.0, B: 1.0}, {Ab: 1.0, Bc: 3.0}, {X: 0.5})
    assert nodes(found) == [A, B, Ab, Bc, X]
    assert given == [[], [A, B], [Ab, Bc]]
    assert found.logits.tolist() == [[2.0, 1.0, LOW, 1.0, 3.0, 0.5]]


def test_only_the_nodes_of_the_level_compete():
    found, _ = decode({A: 2.0, X: 9.0}, {A: 9.0, Aa: 1.0})
    assert nodes(found) == [A, Aa]


def test_the_stop_symbol_ends_a_document():
    found, _ = decode({A: 2.0}, {"stop": 1.0}, {X: 9.0})
    assert nodes(found) == [A]
    assert found.logits[0].tolist() == [2.0, LOW, LOW, LOW, LOW, -math.inf]


def test_nodes_beside_the_stop_symbol_count_unless_the_rule_is_official():
    steps: list[dict[Any, float]] = [{A: 2.0}, {Aa: 1.0, "stop": 1.0}, {X: 9.0}]
    assert nodes(decode(*steps)[0]) == [A, Aa]
    assert nodes(decode(*steps, rule="official")[0]) == [A]


def test_nothing_is_predicted_where_nothing_is_likely_unless_the_rule_is_official():
    assert nodes(decode({"stop": 1.0})[0]) == []
    assert nodes(decode()[0]) == []
    assert nodes(decode({"stop": 1.0}, rule="official")[0]) == [0]
    assert nodes(decode({B: 1.0, "stop": 1.0}, rule="official")[0]) == [0]


def test_without_a_stop_symbol_the_official_rule_drops_the_last_node():
    steps: list[dict[Any, float]] = [{A: 2.0}, {Aa: 1.0, Ab: 1.0}]
    assert nodes(decode(*steps)[0]) == [A, Aa, Ab]
    assert nodes(decode(*steps, rule="official")[0]) == [A, Aa]
    # After the deepest level there is a step for the stop symbol alone.
    assert nodes(decode(*steps, {}, {"stop": 1.0}, rule="official")[0]) == [A, Aa, Ab]


def test_all_labels_compete_at_every_step_if_asked():
    steps: list[dict[Any, float]] = [{A: 2.0, X: 9.0}, {B: 1.0, Aa: 1.0}, {}, {Bc: 4.0}]
    found, given = decode(*steps, restrict=False)
    assert nodes(found) == [A, B, Aa, Bc, X]
    assert given == [[], [A, X], [B, Aa], []]
    assert found.logits.tolist() == [[2.0, 1.0, 1.0, LOW, 4.0, 9.0]]


def test_the_official_code_keeps_a_last_node_that_an_earlier_step_had():
    steps: list[dict[Any, float]] = [{A: 2.0, X: 9.0}, {Aa: 1.0, X: 1.0}]
    assert nodes(decode(*steps, restrict=False, rule="official")[0]) == [A, Aa, X]
    assert nodes(decode(steps[0], restrict=False, rule="official")[0]) == [A]


@pytest.mark.parametrize("restrict", [True, False])
def test_with_the_parent_constraint_no_node_is_predicted_without_its_parent(restrict):
    steps: list[dict[Any, float]] = [{A: 2.0}, {Ab: 1.0, Bc: 3.0}, {X: 5.0}]
    assert nodes(decode(*steps, restrict=restrict)[0]) == [A, Ab, Bc, X]
    found, given = decode(*steps, restrict=restrict, constraint="parent")
    assert nodes(found) == [A, Ab]
    assert given[:3] == [[], [A], [Ab]]


def test_top1_takes_the_best_of_each_level_until_the_stop_symbol():
    found, _ = decode({A: -2.0, B: -1.0}, {Ab: 1.0, Bc: 0.5, "stop": 0.1}, constraint="top1")
    assert nodes(found) == [B, Ab]
    found, _ = decode({A: -2.0, B: -1.0}, {Ab: 1.0}, constraint="top1", threshold=0.5)
    assert nodes(found) == [Ab]


def test_the_threshold_is_a_probability_and_the_stop_symbols_is_one_half():
    steps: list[dict[Any, float]] = [{A: -1.0, "stop": -1.0}, {Aa: -1.5}]
    assert nodes(decode(*steps, threshold=0.25)[0]) == [A]
    assert nodes(decode(*steps, threshold=0.15)[0]) == [A, Aa]


def test_documents_stop_apart():
    decoder = GreedyDecoder(PARENTS, OFFSETS, True, DecodeOptions(), "clean")
    stops = [[1.0, LOW], [LOW, LOW], [LOW, LOW]]

    def score(step: int, picked: Tensor) -> tuple[Tensor, Tensor]:
        start, end = decoder.candidates(step)
        return torch.ones(2, end - start), torch.tensor(stops[step])

    found = decoder(2, score)
    assert found.chosen.tolist() == [[True, True, False, False, False, False], [True] * 6]
