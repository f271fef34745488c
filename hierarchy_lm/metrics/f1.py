"""F1 over many labels."""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor
from torchmetrics import Metric

from hierarchy_lm.batches import SparseTargets
from hierarchy_lm.metrics.counting import count


class LabelF1(Metric):
    """Micro, macro and weighted F1 of a flat label set.

    A label that has neither positives nor predictions counts as 0 in ``macro_f1``, which averages
    over all labels; ``macro_f1_supported`` averages over those with a positive. ``weighted_f1``
    weights labels by their positives.

    Args:
        num_labels: C.
    """

    full_state_update = False
    higher_is_better = True
    is_differentiable = False
    counts: Tensor

    def __init__(self, num_labels: int) -> None:
        super().__init__()
        self.add_state(
            "counts", torch.zeros(3, num_labels, dtype=torch.int64), dist_reduce_fx="sum"
        )

    def update(self, predicted: Tensor | SparseTargets, targets: SparseTargets) -> None:
        """Add a batch, as logits or as predicted pairs (see :func:`counting.count`)."""
        self.counts += count(predicted, targets, self.counts.shape[1])

    def compute(self) -> dict[str, Tensor]:
        """Scores by name."""
        return _summary(self.counts)


class LevelF1(Metric):
    """Micro F1 of every level of the tree (SST, Table VIII), and F1 over all nodes.

    Args:
        level_offsets: ``L + 1`` numbers; level l holds the labels from ``level_offsets[l - 1]`` up
            to ``level_offsets[l]``, exclusive.
    """

    full_state_update = False
    higher_is_better = True
    is_differentiable = False
    counts: Tensor

    def __init__(self, level_offsets: Sequence[int]) -> None:
        super().__init__()
        self.offsets = list(level_offsets)
        zeros = torch.zeros(3, self.offsets[-1], dtype=torch.int64)
        self.add_state("counts", zeros, dist_reduce_fx="sum")

    def update(self, predicted: Tensor | SparseTargets, targets: SparseTargets) -> None:
        """Add a batch, as logits or as predicted pairs (see :func:`counting.count`)."""
        self.counts += count(predicted, targets, self.offsets[-1])

    def compute(self) -> dict[str, Tensor]:
        """The scores of :class:`LabelF1`, and ``micro_f1_L<level>``."""
        levels = {
            f"micro_f1_L{level}": _f1(self.counts[:, start:end].sum(dim=1))
            for level, (start, end) in enumerate(pairwise(self.offsets), start=1)
        }
        return _summary(self.counts) | levels


def hierarchical_f1(counts: Tensor) -> dict[str, Tensor]:
    """Precision, recall and F1 over paths closed under ancestors (Kiritchenko et al. 2006).

    hP = sum |predicted and gold| / sum |predicted|, hR likewise over gold, sums over the items;
    roots count, an artificial super-root is no node.

    Shape:
        - counts: ``(3, C)``, the sums of :func:`counting.count`
    """
    true_positives, predictions, support = counts.sum(dim=1).double()
    return {
        "hierarchical_precision": true_positives / predictions.clamp(min=1),
        "hierarchical_recall": true_positives / support.clamp(min=1),
        "hierarchical_f1": _f1(counts.sum(dim=1)),
    }


def level_f1(counts: Tensor, level_offsets: Sequence[int]) -> dict[str, Tensor]:
    """Weighted and macro F1 of every level.

    ``weighted_f1_L<l>`` is scikit-learn's ``f1_score(average="weighted")`` on the level's labels:
    the mean over labels by their positives. An item that has gold on a level and no prediction is
    a miss there; one with a prediction and no gold is a false positive. ``macro_f1_L<l>`` is the
    plain mean over the labels of the level that occur in gold or in the predictions, as
    scikit-learn does by default for one label per item. ``mean_weighted_f1`` is the mean of
    the weighted ones over the levels that have a positive, the score of the MWPD2020 challenge.

    Shape:
        - counts: ``(3, C)``, the sums of :func:`counting.count`
    """
    scores: dict[str, Tensor] = {}
    for level, (start, end) in enumerate(pairwise(level_offsets), start=1):
        part = counts[:, start:end]
        occurring = (part.sum(dim=0) > 0).sum()
        scores[f"weighted_f1_L{level}"] = _summary(part)["weighted_f1"]
        scores[f"macro_f1_L{level}"] = _f1(part).sum() / occurring.clamp(min=1)
    depth = len(level_offsets) - 1
    weighted = sum(scores[f"weighted_f1_L{level}"] for level in range(1, depth + 1))
    with_gold = sum((counts[2, a:b].sum() > 0).long() for a, b in pairwise(level_offsets))
    return scores | {"mean_weighted_f1": weighted / torch.as_tensor(with_gold).clamp(min=1)}


def _f1(counts: Tensor) -> Tensor:
    """F1 = 2 tp / (predictions + positives); 0 where there are neither."""
    true_positives, predictions, support = counts.double()
    scores: Tensor = 2 * true_positives / (predictions + support).clamp(min=1)
    return scores.float()


def _summary(counts: Tensor) -> dict[str, Tensor]:
    per_label, support = _f1(counts), counts[2]
    return {
        "micro_f1": _f1(counts.sum(dim=1)),
        "macro_f1": per_label.mean(),
        "macro_f1_supported": per_label.sum() / (support > 0).sum().clamp(min=1),
        "weighted_f1": (per_label * support).sum() / support.sum().clamp(min=1),
    }
