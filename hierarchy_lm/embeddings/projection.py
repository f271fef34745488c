"""A plane to look at the space on."""

import torch
from torch import Tensor


def principal_plane(vectors: Tensor) -> tuple[Tensor, tuple[float, float]]:
    """Project normalised vectors on their first two principal components.

    Signs are such that the largest weight of a component is positive, so the same vectors always
    give the same picture.

    Returns:
        ``(N, 2)`` places, and the share of the variance on each axis.
    """
    units = torch.nn.functional.normalize(vectors.double(), dim=1)
    centred = units - units.mean(dim=0)
    variances, components = torch.linalg.eigh(centred.T @ centred)
    axes = components[:, -2:].flip(1)
    largest = axes.gather(0, axes.abs().argmax(dim=0, keepdim=True))
    shares = variances.flip(0)[:2].clamp(min=0) / variances.sum().clamp(min=1e-12)
    return centred @ (axes * largest.sign()), (float(shares[0]), float(shares[1]))
