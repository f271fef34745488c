"""Do embeddings collapse? Alignment, uniformity, spread (Wang and Isola, 2020)."""

import torch
from torch import Tensor
from torch.nn import functional as F
from torchmetrics import Metric

GOLDEN_RATIO = 0x9E3779B97F4A7C15 - (1 << 64)
BLOCK = 512
"""Rows of a block of distances in memory."""

EMPTY = (1 << 63) - 1
"""Hash of a place in the sample that no embedding has."""


class Alignment(Metric):
    r"""Mean squared distance of matched pairs on the unit sphere.

    .. math:: \frac{1}{N} \sum_i \lVert x_i / |x_i| - y_i / |y_i| \rVert^2

    Between 0 and 4; 2 is what random pairs have. Low is good only while :class:`Spread` does not
    collapse: where all vectors are the same it is 0.
    """

    full_state_update = False
    higher_is_better = False
    is_differentiable = False
    total: Tensor
    pairs: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.add_state("total", torch.tensor(0.0, dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("pairs", torch.tensor(0), dist_reduce_fx="sum")

    def update(self, left: Tensor, right: Tensor) -> None:
        """Add N pairs, both ``(N, k)``, of any length."""
        self.total += (_unit(left) - _unit(right)).square().sum()
        self.pairs += len(left)

    def compute(self) -> Tensor:
        """The mean; 0 without pairs."""
        return (self.total / self.pairs.clamp(min=1)).float()


class Spread(Metric):
    """How far a set of embeddings fills the unit sphere, whatever their lengths.

    Memory does not grow with the number of embeddings: ``std`` and ``effective_rank`` come from
    sums, ``uniformity`` from the pairs of ``sample`` embeddings. These are the same whatever the
    batches and ranks: those whose rows have the lowest hashes.

    Args:
        width: k.
        sample: Embeddings whose pairs make the uniformity; of up to so many it is exact.
    """

    full_state_update = False
    is_differentiable = False
    count: Tensor
    sums: Tensor
    products: Tensor
    kept: Tensor
    hashes: Tensor

    def __init__(self, width: int, sample: int = 2048) -> None:
        super().__init__()
        double = torch.float64
        self.add_state("count", torch.tensor(0), dist_reduce_fx="sum")
        self.add_state("sums", torch.zeros(width, dtype=double), dist_reduce_fx="sum")
        self.add_state("products", torch.zeros(width, width, dtype=double), dist_reduce_fx="sum")
        # Of fixed size, so that ranks with different numbers of documents can be stacked.
        self.add_state("kept", torch.zeros(sample, width), dist_reduce_fx=None)
        self.add_state("hashes", torch.full((sample,), EMPTY), dist_reduce_fx=None)

    def update(self, embeddings: Tensor, rows: Tensor) -> None:
        """Add N embeddings ``(N, k)`` and their row numbers in the split ``(N,)``."""
        unit = _unit(embeddings)
        precise = unit.double()
        self.count += len(unit)
        self.sums += precise.sum(dim=0)
        self.products += precise.T @ precise
        hashes = torch.cat([self.hashes, rows * GOLDEN_RATIO])
        order = hashes.argsort()[: len(self.hashes)]
        self.kept, self.hashes = torch.cat([self.kept, unit])[order], hashes[order]

    def compute(self) -> dict[str, Tensor]:
        r"""The figures.

        - ``uniformity``: :math:`\\log` of the mean of :math:`e^{-2 d^2}` over all pairs; 0 where
          all embeddings are the same, towards -4 where they are far apart in many dimensions
        - ``std``: standard deviation of a dimension, mean over dimensions, times the root of k:
          0 where all are the same, at most 1
        - ``effective_rank``: exponential of the entropy of the covariance's eigenvalues (Roy and
          Vetterli, 2007), between 1 and k: how many dimensions the embeddings use; 0 of a point
        """
        count = self.count.clamp(min=1)
        mean = self.sums / count
        covariance = self.products / count - torch.outer(mean, mean)
        deviations = covariance.diagonal().clamp(min=0).sqrt()
        return {
            "uniformity": _uniformity(self._sampled()),
            "std": (deviations.mean() * len(mean) ** 0.5).float(),
            "effective_rank": _effective_rank(covariance),
        }

    def _sampled(self) -> Tensor:
        """The sample of all ranks, whose samples are stacked when this is called."""
        size, hashes = self.kept.shape[-2], self.hashes.flatten()
        order = hashes.argsort()[:size]
        rows: Tensor = self.kept.flatten(0, -2)[order]
        return rows[hashes[order] != EMPTY]


def _unit(vectors: Tensor) -> Tensor:
    return F.normalize(vectors.detach().float(), dim=-1)


def _uniformity(unit: Tensor) -> Tensor:
    """Over pairs of different rows; 0 of fewer than two."""
    total = torch.zeros((), dtype=torch.float64, device=unit.device)
    for block in torch.split(unit, BLOCK):
        # exp(-2 (2 - 2 cos)), which is exact where a difference of near-equal rows would not be
        total += torch.exp(4 * ((block @ unit.T).double() - 1)).sum()
    count = len(unit)
    if count < 2:
        return torch.zeros((), device=unit.device)
    return torch.log((total - count) / (count * (count - 1))).float()


def _effective_rank(covariance: Tensor) -> Tensor:
    values = torch.linalg.eigvalsh(covariance).clamp(min=0)
    total = values.sum()
    if total < 1e-12:  # rounding of the sums
        return torch.zeros((), device=total.device)
    entropy: Tensor = torch.special.entr(values / total).sum()
    return entropy.exp().float()
