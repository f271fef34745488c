"""Which gold label of a product is matched, and against whom (HiMatch), without loops over rows."""

import torch
from torch import Tensor

from hierarchy_lm.batches import SparseTargets
from hierarchy_lm.losses.matching import Companions, MatchingOptions
from hierarchy_lm.nn.relatives import Relatives
from hierarchy_lm.pretraining.draws import mix, random_bits

SIBLING, OTHER = 1, 2
"""Streams of random numbers, beside 0, which chooses the positives."""


def draw_companions(
    positives: SparseTargets,
    gold: SparseTargets,
    relatives: Relatives,
    rows: Tensor,
    seed: int,
    epoch: int,
    options: MatchingOptions,
) -> Companions:
    """Draw labels and companions from seed, epoch, row and label alone.

    A companion is drawn evenly. Where no sibling is left, a cousin stands in for it, then any node
    of the level, then any node.

    Args:
        positives: Labels to draw from, of every product.
        gold: What no companion but the parent may be: all of the product's labels.
        relatives: Of the tree.
        rows: Row number of each product.
        seed: Of the run.
        epoch: Each has draws of its own.
        options: How many, and whether siblings may be gold.

    Shape:
        - rows: ``(B,)`` int64
    """
    num_nodes = len(relatives.parents)
    keys = random_bits(rows, 1, seed, epoch)[:, 0]
    chosen = _some_of_each(positives, keys, options.num_positives)
    documents, labels = chosen.documents, chosen.labels
    pair_keys = mix(keys[documents] + labels)
    taken = (gold.documents * num_nodes + gold.labels).sort().values
    base = documents * num_nodes
    if options.filter_gold:
        sibling, found = _draw_relative(labels, taken, base, relatives, mix(pair_keys + SIBLING))
    else:
        own = torch.arange(len(labels), device=labels.device) * num_nodes
        itself = own + labels
        sibling, found = _draw_relative(labels, itself, own, relatives, mix(pair_keys + SIBLING))
    other, free = nth_outside(taken, base, base + num_nodes, mix(pair_keys + OTHER))
    above = relatives.parents[labels]
    above = torch.where(above < 0, labels, above)
    other = torch.where(free > 0, other - base, labels)
    counts = torch.bincount(documents, minlength=len(rows))
    return Companions(
        documents,
        nodes=torch.stack([labels, above, sibling, other]),
        valid=torch.stack([found, free > 0]),
        shares=1 / counts[documents],
    )


def _some_of_each(targets: SparseTargets, keys: Tensor, count: int) -> SparseTargets:
    """Up to ``count`` labels of every document, drawn without repetition; all if 0."""
    if count == 0:
        return targets
    documents, labels = targets.documents, targets.labels
    order = mix(keys[documents] + labels).argsort()
    order = order[documents[order].argsort(stable=True)]
    sizes = torch.bincount(documents, minlength=len(keys))
    firsts = sizes.cumsum(0) - sizes
    places = torch.arange(len(order), device=order.device)
    kept = order[places - firsts[documents[order]] < count]
    return SparseTargets(documents[kept], labels[kept])


def _draw_relative(
    labels: Tensor, taken: Tensor, base: Tensor, relatives: Relatives, bits: Tensor
) -> tuple[Tensor, Tensor]:
    """A node of the nearest range with one left over, and whether there is any."""
    whole = torch.stack(
        [torch.zeros_like(labels), torch.full_like(labels, relatives.levels.numel())]
    )
    ranges = torch.cat([relatives.ranges[:, :, labels], whole[None]])  # (4, 2, N)
    drawn, free = nth_outside(taken, base + ranges[:, 0], base + ranges[:, 1], bits)
    nearest = (free > 0).int().argmax(dim=0, keepdim=True)  # the first of the maxima
    found = (free > 0).any(dim=0)
    nodes = drawn.gather(0, nearest)[0] - base
    return torch.where(found, nodes, labels), found


def nth_outside(taken: Tensor, start: Tensor, end: Tensor, bits: Tensor) -> tuple[Tensor, Tensor]:
    r"""A number of each range that is not taken, and how many such there are.

    Of the taken numbers :math:`p_0 < p_1 < ...` of a range, :math:`p_j` lies below the n-th free
    one exactly if :math:`p_j - j \le n` (counted from the range's start). As :math:`p_j - j` never
    falls, also not from one range to the next, one sorted search counts them for all ranges.

    Args:
        taken: Distinct numbers, ascending.
        start: First number of each range.
        end: Behind the last.
        bits: Random bits, which choose n.

    Shape:
        - taken: ``(P,)`` int64
        - start, end, bits: ``(...,)`` int64
        - output: both as ``start``; the number means nothing where none is free
    """
    before = torch.searchsorted(taken, start)
    free = end - start - (torch.searchsorted(taken, end) - before)
    place = start + bits.remainder(free.clamp(min=1))
    shifted = taken - torch.arange(len(taken), device=taken.device)
    passed = torch.searchsorted(shifted, place - before, right=True) - before
    return place + passed, free
