"""The contrastive loss of two views of the same documents."""

import torch
from torch import Tensor
from torch.nn import functional as F

from hierarchy_lm.precision import at_least_float32


def nt_xent(first: Tensor, second: Tensor, tau: float = 1.0) -> Tensor:
    r"""Normalised temperature-scaled cross-entropy over the 2B views of B documents.

    .. math::
        L = -\frac{1}{2B} \sum_{i=1}^{2B} \log
            \frac{e^{\cos(z_i, z_{i'}) / \tau}}{\sum_{j \neq i} e^{\cos(z_i, z_j) / \tau}}

    where :math:`i'` is the other view of i (HGCLR, Contrastive Learning Module). A batch of one
    document has no other to be told from: its loss is 0.

    Args:
        first: One view of each document.
        second: The other, in the same order.
        tau: Temperature.

    Shape:
        - first, second: ``(B, d)``, any float dtype
        - output: scalar, float32 (float64 for float64 views)
    """
    views = F.normalize(at_least_float32(torch.cat([first, second])), dim=1)
    with torch.autocast(views.device.type, enabled=False):
        similarities = views @ views.T / tau
    others = similarities.masked_fill(
        torch.eye(len(views), dtype=torch.bool, device=views.device), -torch.inf
    )
    places = torch.arange(len(views), device=views.device)
    return F.cross_entropy(others, places.roll(len(first)))
