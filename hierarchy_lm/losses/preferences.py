"""Which labels a sampler prefers as negatives, and how the model's confusion changes that."""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from hierarchy_lm.batches import SparseTargets
from hierarchy_lm.losses.dhpc_options import Sampler
from hierarchy_lm.losses.label_space import (
    CONFUSION_FLOOR,
    SEMANTIC_FLOOR,
    Families,
    LabelSpace,
    Pairs,
    frequency_weights,
    nearest_names,
    semantic_pairs,
)

# A step that sees siblings of a label moves its estimate by this share of the way.
_CONFUSION_RATE = 0.05


class Preference(NamedTuple):
    """Weights of labels as negatives; only their ratios count.

    Shape:
        - base: ``(1, 1)`` or ``(1, N)``, of every label for every document
        - pairs: the labels that weigh more for some documents; None if the base is all
    """

    base: Tensor
    pairs: Pairs | None


class LabelPreferences(nn.Module):
    """What a sampler knows of N labels.

    For ``confusion`` that is one number per label, kept in the state dict: a running mean of the
    probability that the model gives the label for documents of its siblings. It starts where an
    untrained model does, at one half. What comes from the label space is not in the state dict.

    Args:
        sampler: How negatives are preferred.
        num_labels: N.
    """

    confusion: Tensor
    frequency: Tensor
    neighbours: Tensor
    shares: Tensor
    families: Families

    def __init__(self, sampler: Sampler, num_labels: int) -> None:
        super().__init__()
        self.sampler = sampler
        self.num_labels = num_labels
        self.knows_labels = sampler in ("uniform", "bernoulli")
        if sampler == "confusion":
            self.register_buffer("confusion", torch.full((num_labels,), 0.5))

    def set_label_space(self, labels: LabelSpace) -> None:
        """Keep what the sampler needs to know.

        Raises:
            ValueError: If it is not the space of N labels.
        """
        if {len(values) for values in labels} != {self.num_labels}:
            raise ValueError(
                f"label space: the loss has {self.num_labels} labels, got "
                f"{len(labels.counts)} counts, {len(labels.parents)} parents and "
                f"{len(labels.vectors)} name vectors; give one of each per label"
            )
        match self.sampler:
            case "frequency":
                weights = frequency_weights(labels.counts)
                self.register_buffer("frequency", weights, persistent=False)
            case "confusion":
                self.families = Families(labels.parents)
            case "semantic":
                neighbours, shares = nearest_names(labels.vectors)
                self.register_buffer("neighbours", neighbours, persistent=False)
                self.register_buffer("shares", shares, persistent=False)
        self.knows_labels = True

    def forward(self, targets: SparseTargets) -> Preference:
        """What is preferred for some documents.

        Raises:
            ValueError: If the sampler needs the label space and was not told it.
        """
        if not self.knows_labels:
            raise ValueError(
                f"loss.negatives.sampler: {self.sampler} needs the label space (counts, parents, "
                "name vectors); give it to the loss, or use sampler: uniform"
            )
        self.to(targets.labels.device)  # the label space may have come later, from the CPU
        even = torch.ones(1, 1, device=targets.labels.device)
        match self.sampler:
            case "frequency":
                return Preference(self.frequency[None], None)
            case "confusion":
                siblings = self.families.siblings(targets)
                weights = CONFUSION_FLOOR + self.confusion[siblings.labels]
                return Preference(CONFUSION_FLOOR * even, Pairs(*siblings, weights))
            case "semantic":
                pairs = semantic_pairs(targets, self.neighbours, self.shares)
                return Preference(SEMANTIC_FLOOR / self.num_labels * even, pairs)
            case _:
                return Preference(even, None)

    @torch.no_grad()
    def observe(self, logits: Tensor, targets: SparseTargets, columns: Tensor | None) -> None:
        """Follow how far the model confuses siblings; nothing for the other samplers.

        Shape:
            - logits: ``(B, N)``, or ``(B, S)`` of the sorted ``columns``
        """
        if self.sampler != "confusion":
            return
        documents, labels = self.families.siblings(targets)
        places = labels
        if columns is not None:
            places = torch.searchsorted(columns, labels).clamp(max=len(columns) - 1)
            there = columns[places] == labels
            documents, labels, places = documents[there], labels[there], places[there]
        q = torch.sigmoid(logits[documents, places].float())
        seen = torch.bincount(labels, minlength=self.num_labels)
        mean = torch.zeros_like(self.confusion).index_add_(0, labels, q) / seen.clamp(min=1)
        self.confusion += _CONFUSION_RATE * (seen > 0) * (mean - self.confusion)
