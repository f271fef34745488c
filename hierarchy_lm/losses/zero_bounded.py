"""The loss of HPT: cross entropy of label sets that are told apart at a logit of 0."""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor

from hierarchy_lm.batches import SparseTargets
from hierarchy_lm.precision import at_least_float32


def zero_bounded_cross_entropy(
    logits: Tensor, targets: SparseTargets, offsets: Sequence[int]
) -> Tensor:
    r"""Zero-bounded multi-label cross entropy, summed over blocks of labels (HPT, Eq. 5).

    .. math::
        \frac{1}{B} \sum_{b,l} \log\Big(1 + \sum_{n \in H_l \setminus P_b} e^{s_{bn}}\Big)
            + \log\Big(1 + \sum_{p \in H_l \cap P_b} e^{-s_{bp}}\Big)

    It falls as every negative's logit falls below, and every positive's rises above 0. A block in
    which a document has no positive has a second term of 0.

    Args:
        logits: One column per label, any float dtype; the terms are computed in float32.
        targets: Positives.
        offsets: Block l holds the labels from ``offsets[l]`` up to ``offsets[l + 1]``, exclusive:
            the levels of a tree, or ``[0, C]`` for a single one over all labels.

    Shape:
        - logits: ``(B, C)``
        - output: scalar, float32 (float64 for float64 logits)
    """
    precise = at_least_float32(logits)
    ends = torch.tensor(offsets[1:], device=logits.device)
    blocks = torch.bucketize(targets.labels, ends, right=True)
    terms = _negatives(precise, targets, offsets) + _positives(precise, targets, blocks, len(ends))
    return terms.sum() / len(logits)


def _negatives(logits: Tensor, targets: SparseTargets, offsets: Sequence[int]) -> Tensor:
    """The first term, ``(B, L)``: the labels but for the positives, and the bound."""
    lowest = torch.full_like(targets.labels, -torch.inf, dtype=logits.dtype)
    others = logits.index_put((targets.documents, targets.labels), lowest)
    sizes = [end - start for start, end in pairwise(offsets)]
    bound = logits.new_zeros(len(logits), 1)
    parts = others.split_with_sizes(sizes, dim=1)
    # With the bound no block is all minus infinity, of which the gradient would be undefined.
    return torch.stack([torch.cat([bound, part], dim=1).logsumexp(dim=1) for part in parts], dim=1)


def _positives(logits: Tensor, targets: SparseTargets, blocks: Tensor, count: int) -> Tensor:
    """The second term, ``(B, L)``: a log-sum-exp over the positives of each cell, and the bound."""
    values = -logits[targets.documents, targets.labels]
    cells = targets.documents * count + blocks
    bound = values.new_zeros(len(logits) * count)
    highest = bound.scatter_reduce(0, cells, values.detach(), "amax")
    sums = (-highest).exp().index_add(0, cells, (values - highest[cells]).exp())
    return (highest + sums.log()).view(-1, count)
