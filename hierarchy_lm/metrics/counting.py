"""True positives, predictions and support of every label."""

import torch
from torch import Tensor

from hierarchy_lm.batches import SparseTargets


def count(predicted: Tensor | SparseTargets, targets: SparseTargets, num_labels: int) -> Tensor:
    """Count per label what F1 needs; no ``(B, C)`` target and nothing of C x C is made.

    Args:
        predicted: Logits ``(B, C)``, where positive ones predict the label, or the predictions
            as coordinates, each pair once.
        targets: Positives, each pair once.
        num_labels: C.

    Shape:
        - output: ``(3, C)`` int64: true positives, predictions, positives
    """
    if isinstance(predicted, SparseTargets):
        hits = _in_both(predicted, targets, num_labels)
        predictions = torch.bincount(predicted.labels, minlength=num_labels)
    else:
        chosen = predicted > 0
        hits = targets.labels[chosen[targets.documents, targets.labels]]
        # Exact below 2^24 documents in a batch, and far faster than a sum of booleans.
        predictions = chosen.float().sum(dim=0).long()
    true_positives = torch.bincount(hits, minlength=num_labels)
    support = torch.bincount(targets.labels, minlength=num_labels)
    return torch.stack([true_positives, predictions, support])


def _in_both(predicted: SparseTargets, targets: SparseTargets, num_labels: int) -> Tensor:
    """Labels of the pairs that are in both."""
    found = predicted.documents * num_labels + predicted.labels
    wanted = targets.documents * num_labels + targets.labels
    return predicted.labels[torch.isin(found, wanted)]
