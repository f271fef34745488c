r"""How negatives are drawn: exactly so many, or each by a probability of its own.

One vector of noise serves the whole batch: each document reads it from its own place on, round the
ring. A document's draw has exactly the distribution of a draw of its own, and N random numbers do
instead of B x N. A label is drawn where its noise does not exceed a threshold.
"""

import torch
from torch import Tensor

from hierarchy_lm.batches import SparseTargets

# Noise lies in [0, SCALE): its distance from a threshold is then large beside every logit, and
# what a dropped label adds to its own.
SCALE = 1e36


def ring(values: Tensor, batch_size: int) -> Tensor:
    """The same N numbers for each document, from another place on; takes no memory of its own.

    Shape:
        - values: ``(N,)``
        - output: ``(B, N)``, a view of about 3 N numbers
    """
    size = len(values)
    stride = max(1, size // max(1, batch_size))
    start = int(torch.randint(size, ()))
    repeats = -(-(start + stride * (batch_size - 1) + size) // size)
    return values.repeat(repeats).as_strided((batch_size, size), (stride, 1), start)


def uniform_noise(num_labels: int, device: torch.device) -> Tensor:
    """Noise of which m numbers lie below m / N of the scale: for draws of exactly so many.

    Shape:
        - output: ``(N,)``
    """
    return (torch.randperm(num_labels, device=device) + 0.5) * (SCALE / num_labels)


def exact_threshold(noise: Tensor, targets: SparseTargets, wanted: Tensor) -> Tensor:
    """Threshold below which each document has exactly the wanted number of negatives.

    Labels count in the order of their noise, so the first negatives of a uniformly random order
    are drawn, and the positives before the last of them are passed over.

    Shape:
        - noise: ``(B, N)``, ``uniform_noise`` on a ring
        - wanted: ``(B,)`` int64, not more than the document has negatives
        - output: ``(B, 1)``
    """
    batch_size, num_labels = noise.shape
    ranks = (noise[targets.documents, targets.labels] * (num_labels / SCALE)).long()
    ordered = (targets.documents * num_labels + ranks).sort().values
    documents, ranks = ordered // num_labels, ordered % num_labels
    positives = torch.bincount(documents, minlength=batch_size)
    earlier = torch.arange(len(ordered), device=noise.device)
    earlier = earlier - (positives.cumsum(0) - positives)[documents]
    passed = ranks - earlier < wanted[documents]
    passed_over = torch.bincount(documents[passed], minlength=batch_size)
    return ((wanted + passed_over) * (SCALE / num_labels))[:, None]


def inclusion(weights: Tensor, counts: Tensor, expected: Tensor) -> Tensor:
    r"""Probabilities :math:`\pi = \min(1, c w)` that draw the expected number of labels.

    Shape:
        - weights: ``(R, K)``, positive where counted
        - counts: ``(R, K)``, labels that share a weight
        - expected: ``(R, 1)``
        - output: ``(R, K)``
    """
    expected = torch.minimum(expected, counts.sum(dim=1, keepdim=True))
    certain = torch.zeros_like(weights, dtype=torch.bool)
    for _ in range(weights.shape[1] + 1):
        free = (weights * counts).masked_fill(certain, 0.0).sum(dim=1, keepdim=True)
        left = expected - (counts * certain).sum(dim=1, keepdim=True)
        probabilities = left / free.clamp(min=1e-30) * weights
        more = certain | ((probabilities >= 1) & (weights > 0))
        if torch.equal(more, certain):
            break
        certain = more
    return probabilities.masked_fill(certain, 1.0).clamp(0.0, 1.0)
