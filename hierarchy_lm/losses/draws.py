r"""How negatives are drawn: exactly so many, or each by a probability of its own.

One vector of noise serves the whole batch: each document reads it from its own place on, round the
ring. A document's draw has exactly the distribution of a draw of its own, and N random numbers do
instead of B x N. A label is drawn where its noise does not exceed a threshold.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from hierarchy_lm.batches import SparseTargets
from hierarchy_lm.losses.label_space import contains

# Noise lies in [0, SCALE): its distance from a threshold is then large beside every logit, and
# what a dropped label adds to its own.
SCALE = 1e36


class Ring(NamedTuple):
    """Where each document starts to read the same N numbers.

    Attributes:
        start: Place of the first document's label 0.
        stride: Places from one document to the next.
        size: N.
    """

    start: int
    stride: int
    size: int

    def view(self, values: Tensor, batch_size: int) -> Tensor:
        """The numbers of each document, without memory of their own.

        Shape:
            - values: ``(N,)``
            - output: ``(B, N)``, a view of about 3 N numbers
        """
        last = self.start + self.stride * (batch_size - 1) + self.size
        tiled = values.repeat(-(-last // self.size))
        return tiled.as_strided((batch_size, self.size), (self.stride, 1), self.start)

    def place(self, documents: Tensor, labels: Tensor) -> Tensor:
        """Places of the documents' labels."""
        return (self.start + self.stride * documents + labels) % self.size

    def label(self, documents: Tensor, places: Tensor) -> Tensor:
        """Labels of the documents at some places."""
        return (places - self.start - self.stride * documents) % self.size


def random_ring(num_labels: int, batch_size: int) -> Ring:
    """Documents spread evenly round the ring, from anywhere on."""
    stride = max(1, num_labels // max(1, batch_size))
    return Ring(int(torch.randint(num_labels, ())), stride, num_labels)


class ExactDraw(NamedTuple):
    """Exactly so many negatives per document.

    Shape:
        - mask: ``(B, N)``, 0 at labels that all documents draw if they are at that place
        - documents, labels: what the documents draw besides, sorted by document
    """

    mask: Tensor
    documents: Tensor
    labels: Tensor


def exact_draw(targets: SparseTargets, wanted: Tensor, num_labels: int) -> ExactDraw:
    """Draw uniformly, without replacement, and pass over the positives.

    Places of the ring are taken in random order until a document has the wanted number of
    negatives. That takes about as many places for one document as for another, so one mask holds
    all but a few draws.

    Shape:
        - wanted: ``(B,)`` int64; a document with fewer negatives draws them all
    """
    order = torch.randperm(num_labels, device=wanted.device)
    ring = random_ring(num_labels, len(wanted))
    ranks = torch.empty_like(order)
    ranks[order] = torch.arange(num_labels, device=order.device)
    keys = targets.documents * num_labels + ranks[ring.place(*targets)]
    positives = keys.sort().values
    taken = _places_taken(positives, wanted, num_labels).clamp_(max=num_labels)
    least = int(taken.min())
    more = taken - least
    documents = torch.arange(len(wanted), device=order.device).repeat_interleave(more)
    first = more.cumsum(0) - more
    later = least + torch.arange(len(documents), device=order.device) - first[documents]
    kept = ~contains(positives, documents * num_labels + later)
    documents, later = documents[kept], later[kept]
    mask = ring.view((ranks >= least) * -SCALE, len(wanted))
    return ExactDraw(mask, documents, ring.label(documents, order[later]))


def _places_taken(positives: Tensor, wanted: Tensor, num_labels: int) -> Tensor:
    """How many places give a document its negatives, those of its positives included, ``(B,)``.

    Shape:
        - positives: ``(P,)``, N x document + when the positive's place is taken, sorted
    """
    documents, ranks = positives // num_labels, positives % num_labels
    sizes = torch.bincount(documents, minlength=len(wanted))
    earlier = torch.arange(len(positives), device=positives.device)
    earlier = earlier - (sizes.cumsum(0) - sizes)[documents]
    passed = documents[ranks - earlier < wanted[documents]]
    return wanted + torch.bincount(passed, minlength=len(wanted))


def inclusion(weights: Tensor, counts: Tensor, expected: Tensor) -> Tensor:
    r"""Probabilities :math:`\pi = \min(1, c w)` that draw the expected number of labels.

    Shape:
        - weights: ``(R, K)``, positive where counted
        - counts: ``(R, K)``, labels that share a weight
        - expected: ``(R, 1)``
        - output: ``(R, K)``; all 1 where nothing is expected
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
    return probabilities.masked_fill(certain | (expected <= 0), 1.0).clamp(0.0, 1.0)
