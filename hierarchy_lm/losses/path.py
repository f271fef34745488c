"""The loss of hierarchy pre-training: BCE on every level of the tree."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn

from hierarchy_lm.batches import SparseTargets
from hierarchy_lm.losses.functional import block_bce

NodeReduction = Literal["mean", "sum", "positives"]


class PathLoss(nn.Module):
    r"""Sum over levels of binary cross-entropy against the nodes of a document's paths.

    .. math::
        L = \frac{1}{B} \sum_{b=1}^{B} \sum_{l=1}^{L} w_l \, r_{bl}
            \sum_{j \in H_l} \mathrm{BCE}(y_{bj}, t_{bj})

    (SST, Section IV-B.) The paper leaves the reduction over nodes :math:`r_{bl}` open. A level on
    which a document has no node keeps its loss with all-zero targets: so it learns where paths end.

    Args:
        level_offsets: ``L + 1`` numbers; level l holds the labels from ``level_offsets[l - 1]`` up
            to ``level_offsets[l]``, exclusive.
        node_reduction: ``mean`` divides by the size of the level, ``positives`` by the number of
            the document's nodes on the level (at least 1), ``sum`` by nothing. On a wide tree with
            few products per node ``mean`` learns best, since it weighs wide levels less; with many
            products per node ``positives`` learns the deeper levels far better (docs/sst.md).
        level_weights: :math:`w_l`, roots first; by default all 1.
        mask_missing_levels: Leave levels on which a document has no node out of its loss.

    Shape:
        - logits: ``(B, C)``, one level after the other, any float dtype
        - output: float32 scalar

    Raises:
        ValueError: If ``level_weights`` are not one non-negative number per level.
    """

    level_weights: Tensor
    level_ends: Tensor

    def __init__(
        self,
        level_offsets: Sequence[int],
        node_reduction: NodeReduction = "mean",
        level_weights: Sequence[float] | None = None,
        mask_missing_levels: bool = False,
    ) -> None:
        super().__init__()
        sizes = [end - start for start, end in pairwise(level_offsets)]
        weights = [1.0] * len(sizes) if level_weights is None else list(level_weights)
        if len(weights) != len(sizes) or min(weights) < 0:
            raise ValueError(
                f"level_weights: the tree has {len(sizes)} levels and needs as many weights of at "
                f"least 0, got {weights}"
            )
        if node_reduction == "mean":
            weights = [weight / size for weight, size in zip(weights, sizes, strict=True)]
        self.offsets = list(level_offsets)
        self.per_positive = node_reduction == "positives"
        self.mask_missing_levels = mask_missing_levels
        self.register_buffer("level_weights", torch.tensor(weights), persistent=False)
        self.register_buffer("level_ends", torch.tensor(self.offsets[1:]), persistent=False)

    def forward(self, logits: Tensor, targets: SparseTargets) -> Tensor:
        """Mean over documents."""
        levels = torch.bucketize(targets.labels, self.level_ends, right=True)
        scale = self.level_weights.expand(len(logits), -1) / len(logits)  # (B, L)
        if self.per_positive or self.mask_missing_levels:
            scale = scale * self._factors(targets.documents, levels, scale.shape)
        return block_bce(logits, targets, levels, scale, self.offsets)

    def _factors(self, documents: Tensor, levels: Tensor, shape: torch.Size) -> Tensor:
        """What the document's own nodes on a level make of the level's weight, ``(B, L)``."""
        cells = documents * shape[1] + levels
        positives = torch.bincount(cells, minlength=shape.numel()).view(shape)
        factors = torch.ones(shape, device=levels.device)
        if self.per_positive:
            factors = factors / positives.clamp(min=1)
        return factors * (positives > 0) if self.mask_missing_levels else factors
