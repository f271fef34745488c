"""HGCLR's labels of a batch, and the attention from tokens to them, against loops."""

import math

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from hierarchy_lm.pretraining.hgclr_positives import TokenLabelAttention, label_subset, own_labels

from .hgclr_model import TARGETS, TREE, W0, W1, W4, W5, W6, W7, W8, W9, W23


def test_small_trees_take_part_wholly():
    parents = torch.from_numpy(TREE.parents).long()
    assert label_subset(torch.tensor([W4]), parents, 9).tolist() == list(range(9))
    assert label_subset(torch.tensor([W4]), parents, 1024).tolist() == list(range(9))


@pytest.mark.parametrize(
    ("size", "surely"), [(3, {W0, W1, W23}), (7, {W0, W1, W23, W6, W9, W5, W4})]
)
def test_a_batchs_nodes_come_first_then_their_siblings(size: int, surely: set[int]):
    """The path to W23: its siblings are W6 and W9 (roots), W5, W4."""
    parents = torch.from_numpy(TREE.parents).long()
    for seed in range(20):
        torch.manual_seed(seed)
        found = label_subset(torch.tensor([W0, W1, W23, W0]), parents, size).tolist()
        assert found == sorted(set(found))
        assert len(found) == size
        assert set(found) == surely


def test_the_rest_is_drawn_evenly():
    parents = torch.from_numpy(TREE.parents).long()
    torch.manual_seed(0)
    seen = [set(label_subset(torch.tensor([W0, W1, W23]), parents, 8).tolist()) for _ in range(200)]
    assert all({W0, W1, W23, W6, W9, W5, W4} < found for found in seen)
    share = np.mean([W8 in found for found in seen])
    assert 0.35 < share < 0.65
    assert all((W7 in found) != (W8 in found) for found in seen)


def test_too_many_nodes_of_the_batch_are_drawn_from():
    parents = torch.from_numpy(TREE.parents).long()
    torch.manual_seed(0)
    own = [W0, W1, W23, W6, W7]
    drawn = [label_subset(torch.tensor(own), parents, 2).tolist() for _ in range(50)]
    assert all(set(found) <= set(own) for found in drawn)
    assert {node for found in drawn for node in found} == set(own)


def test_own_labels_are_those_of_a_document_that_take_part():
    nodes = torch.tensor([W0, W9, W1, W8])
    found = own_labels(TARGETS, nodes, 3, 9)
    assert found.tolist() == [[1, 0, 1, 0], [1, 0, 1, 0], [0, 1, 0, 0]]


def by_heads(layer: TokenLabelAttention, words: torch.Tensor, labels: torch.Tensor):
    """Logits of every head, ``(heads, B, T, N)``, in loops."""
    query, key = layer.query(words).detach().numpy(), layer.key(labels).detach().numpy()
    size = key.shape[1] // layer.num_heads
    found = np.zeros((layer.num_heads, *query.shape[:2], len(key)))
    for h, b, t, n in np.ndindex(found.shape):
        part = slice(h * size, (h + 1) * size)
        found[h, b, t, n] = query[b, t, part] @ key[n, part] / math.sqrt(size)
    return found


@pytest.mark.parametrize("official", [False, True])
def test_scores_are_the_mean_over_heads_of_logits_or_officially_of_probabilities(official: bool):
    torch.manual_seed(0)
    layer = TokenLabelAttention(12, 3, official).double()
    with torch.no_grad():
        layer.query.weight.normal_()
        layer.key.weight.normal_()
    words, labels = torch.randn(2, 4, 12).double(), torch.randn(5, 12).double()
    heads = by_heads(layer, words, labels)
    if official:
        exponentials = np.exp(heads)
        heads = exponentials / exponentials.sum(axis=3, keepdims=True)
    found = layer(words, labels).detach().numpy()
    np.testing.assert_allclose(found, heads.mean(axis=0), rtol=1e-4 if official else 1e-9)


def test_a_number_added_to_all_scores_of_a_token_changes_nothing():
    """The published code adds its mask of ones to the scores: no softmax over labels sees it."""
    scores = torch.randn(2, 3, 7)
    torch.manual_seed(1)
    plain = F.gumbel_softmax(scores, 0.7, dim=-1)
    torch.manual_seed(1)
    torch.testing.assert_close(F.gumbel_softmax(scores + 1, 0.7, dim=-1), plain)
