r"""Binary cross-entropy against positives given as coordinates.

For logits :math:`z` and positives :math:`P`, BCE against multi-hot targets, summed over all labels,
is :math:`\sum_j \mathrm{softplus}(z_j) - \sum_{j \in P} z_j`: no ``(B, C)`` target is ever built.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from hierarchy_lm.batches import SparseTargets
from hierarchy_lm.precision import at_least_float32


def sparse_bce(logits: Tensor, targets: SparseTargets) -> Tensor:
    """Binary cross-entropy of a flat multi-label head.

    Shape:
        - logits: ``(B, C)``, any float dtype
        - output: scalar, mean over documents and labels
    """
    batch_size, num_labels = logits.shape
    scale = logits.new_full((batch_size, 1), 1.0 / (batch_size * num_labels), dtype=torch.float32)
    only_block = torch.zeros_like(targets.labels)
    return block_bce(logits, targets, only_block, scale, [0, num_labels])


def block_bce(
    logits: Tensor, targets: SparseTargets, blocks: Tensor, scale: Tensor, offsets: Sequence[int]
) -> Tensor:
    r"""Weighted sum of BCE over documents and blocks of labels.

    .. math::
        \sum_{b,l} s_{bl} \Big[\sum_{j \in \text{block } l} \mathrm{softplus}(z_{bj})
            - \sum_{j \in P_b \cap \text{block } l} z_{bj}\Big]

    The backward pass writes the gradient :math:`s_{bl} (\sigma(z_{bj}) - [j \in P_b])` in one go;
    beside the logits, it is the only ``(B, C)`` tensor.

    Args:
        logits: One column per label.
        targets: Positives.
        blocks: Block of each positive's label.
        scale: Weight of each document's loss on each block; gets no gradient.
        offsets: Block l holds the labels from ``offsets[l]`` up to ``offsets[l + 1]``, exclusive.

    Shape:
        - logits: ``(B, C)``
        - blocks: ``(P,)`` int64
        - scale: ``(B, L)``
        - output: scalar, float32 (float64 for float64 logits)
    """
    weights = scale[targets.documents, blocks]
    loss: Tensor = _BlockBCE.apply(  # type: ignore[no-untyped-call]
        logits, targets.documents, targets.labels, weights, scale, offsets
    )
    return loss


class _BlockBCE(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,  # noqa: ANN401
        logits: Tensor,
        documents: Tensor,
        labels: Tensor,
        weights: Tensor,
        scale: Tensor,
        offsets: Sequence[int],
    ) -> Tensor:
        ctx.save_for_backward(logits, documents, labels, weights, scale)
        ctx.offsets = offsets
        silent = torch.stack(
            [F.softplus(at_least_float32(logits[:, a:b])).sum(dim=1) for a, b in pairwise(offsets)],
            dim=1,
        )  # (B, L)
        positives = at_least_float32(logits[documents, labels])
        return (scale * silent).sum() - (weights * positives).sum()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor | None, ...]:  # noqa: ANN401
        logits, documents, labels, weights, scale = ctx.saved_tensors
        grad = torch.empty_like(logits)
        for level, (a, b) in enumerate(pairwise(ctx.offsets)):
            probabilities = torch.sigmoid(at_least_float32(logits[:, a:b]))
            torch.mul(probabilities, grad_output * scale[:, level : level + 1], out=grad[:, a:b])
        at_positives = (torch.sigmoid(at_least_float32(logits[documents, labels])) - 1.0) * weights
        grad[documents, labels] = (grad_output * at_positives).to(grad.dtype)
        return grad, None, None, None, None, None
