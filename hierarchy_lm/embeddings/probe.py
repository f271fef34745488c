"""What a linear classifier on frozen embeddings reaches."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from hierarchy_lm.batches import SparseTargets
from hierarchy_lm.embeddings.documents import Documents
from hierarchy_lm.hierarchy import Hierarchy
from hierarchy_lm.metrics import LabelF1

STRENGTHS = (1e-1, 1e-2, 1e-3, 1e-4, 1e-5)
MOST_ITERATIONS = 100
BLOCK_NUMBERS = 1 << 24
"""Logits in memory at a time, 64 MiB."""


@dataclass(frozen=True)
class LevelProbe:
    """The probe of one level.

    Attributes:
        level: From 1, the roots.
        nodes: Nodes of the level that training documents have: the classes.
        train, test: Documents with a node on the level.
        strength: The L2 penalty that was best on validation.
        validation_micro_f1: What it reached there.
        micro_f1, macro_f1: On the test split; macro is the mean over the nodes that occur there.
    """

    level: int
    nodes: int
    train: int
    test: int
    strength: float
    validation_micro_f1: float
    micro_f1: float
    macro_f1: float


@dataclass(frozen=True)
class Probe:
    """Weights of a multinomial logistic regression.

    Shape:
        - weight: ``(k, C)``
        - bias: ``(C,)``
    """

    weight: Tensor
    bias: Tensor

    def predict(self, x: Tensor) -> Tensor:
        """``(N,)`` most probable class of each row of ``(N, k)``."""
        blocks = torch.split(x, max(1, BLOCK_NUMBERS // len(self.bias)))
        return torch.cat([(block @ self.weight + self.bias).argmax(dim=1) for block in blocks])


def linear_probe(
    train: Documents, validation: Documents, test: Documents, hierarchy: Hierarchy
) -> list[LevelProbe]:
    """Train and test a multinomial logistic regression for each level.

    Features are standardised by the training split. The loss is the mean cross-entropy over the
    level's training documents, a document with several nodes spread evenly over them, plus
    ``strength / 2`` times the squared weights (not the bias). L-BFGS runs up to ``MOST_ITERATIONS``
    for each of ``STRENGTHS``, from the strongest on, each from the weights before; the best micro
    F1 on validation is tested. The most probable node is the prediction. Documents whose path stops
    above a level are left out of it; levels without two nodes in training or without a document in
    validation or test too.
    """
    mean, deviation = train.vectors.mean(dim=0), train.vectors.std(dim=0).clamp(min=1e-6)
    train, validation, test = (
        Documents(part.item_ids, (part.vectors - mean) / deviation, part.rows, part.nodes)
        for part in (train, validation, test)
    )
    found = []
    for level in range(1, hierarchy.depth + 1):
        first, end = hierarchy.level_offsets[level - 1 : level + 1].tolist()
        parts = [_level_rows(part, first, end) for part in (train, validation, test)]
        classes = np.unique(parts[0][1].labels)
        if len(classes) > 1 and all(len(x) for x, _ in parts):
            found.append(_probe(level, classes, *parts))
    return found


def _level_rows(documents: Documents, first: int, end: int) -> tuple[Tensor, SparseTargets]:
    kept = (documents.nodes >= first) & (documents.nodes < end)
    owners, rows = np.unique(documents.rows[kept], return_inverse=True)
    pairs = SparseTargets(torch.from_numpy(rows), torch.from_numpy(documents.nodes[kept] - first))
    return documents.vectors[torch.from_numpy(owners)], pairs


def _probe(
    level: int,
    classes: NDArray[np.int64],
    train: tuple[Tensor, SparseTargets],
    validation: tuple[Tensor, SparseTargets],
    test: tuple[Tensor, SparseTargets],
) -> LevelProbe:
    known = torch.from_numpy(classes)
    targets = SparseTargets(train[1].documents, torch.searchsorted(known, train[1].labels))
    best, chosen, strength = -1.0, None, 0.0
    probe = None
    for penalty in STRENGTHS:
        probe = fit_probe(train[0], targets, len(classes), penalty, probe)
        score = _scores(probe, known, *validation)["micro_f1"]
        if score > best:
            best, chosen, strength = score, probe, penalty
    assert chosen is not None
    scores = _scores(chosen, known, *test)
    return LevelProbe(
        level=level,
        nodes=len(classes),
        train=len(train[0]),
        test=len(test[0]),
        strength=strength,
        validation_micro_f1=best,
        micro_f1=scores["micro_f1"],
        macro_f1=scores["macro_f1_supported"],
    )


def _scores(probe: Probe, classes: Tensor, x: Tensor, gold: SparseTargets) -> dict[str, float]:
    predicted = classes[probe.predict(x)]
    f1 = LabelF1(int(max(gold.labels.max(), classes.max())) + 1)
    f1.update(SparseTargets(torch.arange(len(x)), predicted), gold)
    return {name: float(value) for name, value in f1.compute().items()}


def fit_probe(
    x: Tensor, targets: SparseTargets, num_classes: int, strength: float, start: Probe | None = None
) -> Probe:
    """Multinomial logistic regression by L-BFGS.

    Args:
        x: ``(N, k)`` features.
        targets: At least one class of each row.
        num_classes: C.
        strength: L2 penalty; scikit-learn's ``C`` is 1 / (strength * N).
        start: Where to begin; by default all zeros.
    """
    weight = torch.zeros(x.shape[1], num_classes) if start is None else start.weight.clone()
    bias = torch.zeros(num_classes) if start is None else start.bias.clone()
    share = 1 / torch.bincount(targets.documents).float()[targets.documents]
    optimizer = torch.optim.LBFGS(
        [weight, bias],
        max_iter=MOST_ITERATIONS,
        tolerance_grad=1e-5,
        tolerance_change=1e-7,
        line_search_fn="strong_wolfe",
    )

    def closure() -> float:
        loss, weight.grad, bias.grad = _loss(x, targets, share, weight, bias)
        weight.grad += strength * weight
        return float(loss + strength / 2 * weight.square().sum())

    optimizer.step(closure)  # type: ignore[no-untyped-call]
    return Probe(weight, bias)


def _loss(
    x: Tensor, targets: SparseTargets, share: Tensor, weight: Tensor, bias: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Mean cross-entropy with its gradients, a block of rows at a time."""
    loss, to_weight, to_bias = torch.zeros(()), torch.zeros_like(weight), torch.zeros_like(bias)
    size = max(1, BLOCK_NUMBERS // len(bias))
    bounds = torch.searchsorted(targets.documents, torch.arange(0, len(x) + size, size))
    for number, block in enumerate(torch.split(x, size)):
        pairs = slice(int(bounds[number]), int(bounds[number + 1]))
        at = (targets.documents[pairs] - number * size, targets.labels[pairs])
        log_p = F.log_softmax(block @ weight + bias, dim=1)
        loss -= (log_p[at] * share[pairs]).sum()
        error = log_p.exp()
        error[at] -= share[pairs]
        to_weight += block.T @ error
        to_bias += error.sum(dim=0)
    return loss / len(x), to_weight / len(x), to_bias / len(x)
