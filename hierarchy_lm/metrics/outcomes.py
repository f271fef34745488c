"""What a cascade answered, and where that agrees with the gold nodes."""

from typing import NamedTuple

import torch
from torch import Tensor

from hierarchy_lm.batches import SparseTargets


class CascadeOutcome(NamedTuple):
    """The answers of a cascade for B items.

    An item that no leaf model could answer has the leaf -1; give it a ``confidence`` of 0, so that
    a threshold never accepts it.

    Shape:
        - department: ``(B,)`` int64, node id of the predicted root
        - leaf: ``(B,)`` int64, node id of the predicted leaf, below ``department``, or -1
        - p_department, p_leaf, confidence: ``(B,)`` float in [0, 1]; ``confidence`` is that in the
          leaf
        - weight: ``(B,)`` float, importance of the item, not negative
    """

    department: Tensor
    leaf: Tensor
    p_department: Tensor
    p_leaf: Tensor
    confidence: Tensor
    weight: Tensor


class Judgement(NamedTuple):
    """Where the answers for B items agree with their gold nodes; items without gold are left out.

    Attributes:
        labelled: ``(B,)`` bool, whether the item has a gold node. The other fields hold False
            and no pairs for an item that has none.
        department_correct: ``(B,)`` bool.
        leaf_correct: ``(B,)`` bool.
        predicted: ``(Q,)`` pairs of every item and the nodes of its predicted path.
        hit: ``(Q,)`` bool, whether that node is gold for that item.
    """

    labelled: Tensor
    department_correct: Tensor
    leaf_correct: Tensor
    predicted: SparseTargets
    hit: Tensor


def judge(outcome: CascadeOutcome, targets: SparseTargets, parents: Tensor) -> Judgement:
    """Compare answers with gold.

    A department is correct if it is a gold node. A leaf is correct if it is one of the *most
    specific* gold nodes, those without a gold child: neither a leaf below a gold path that stops
    earlier nor an inner node above the gold leaf counts. The predicted path is that from the root
    down to the leaf, or the department alone where there is no leaf.

    Args:
        outcome: B answers.
        targets: Their gold nodes, closed under ancestors.
        parents: ``(C,)`` int64, -1 at a root.
    """
    num_nodes = len(parents)
    gold = targets.documents * num_nodes + targets.labels
    parent = parents[targets.labels]
    inner = (targets.documents * num_nodes + parent)[parent >= 0]
    labelled = torch.zeros_like(outcome.leaf, dtype=torch.bool)
    labelled[targets.documents] = True

    items = torch.arange(len(labelled), device=labelled.device)
    department_correct = torch.isin(items * num_nodes + outcome.department, gold)
    most_specific = gold[~torch.isin(gold, inner)]
    leaf_correct = torch.isin(items * num_nodes + outcome.leaf, most_specific) & (outcome.leaf >= 0)
    deepest = torch.where(outcome.leaf >= 0, outcome.leaf, outcome.department)
    predicted = paths(items[labelled], deepest[labelled], parents)
    hit = torch.isin(predicted.documents * num_nodes + predicted.labels, gold)
    return Judgement(labelled, department_correct, leaf_correct, predicted, hit)


def paths(items: Tensor, nodes: Tensor, parents: Tensor) -> SparseTargets:
    """Pairs of each item with its node and all ancestors of that, deepest first.

    Shape:
        - items, nodes: ``(B,)`` int64
        - parents: ``(C,)`` int64, -1 at a root
        - output: ``(Q,)``, not sorted by item
    """
    documents, labels = [items], [nodes]
    while len(nodes):
        above = parents[nodes]
        items, nodes = items[above >= 0], above[above >= 0]
        documents.append(items)
        labels.append(nodes)
    return SparseTargets(torch.cat(documents), torch.cat(labels))
