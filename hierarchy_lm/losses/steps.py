"""The loss of decoding a document's nodes level by level (HBGL)."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from hierarchy_lm.batches import SparseTargets
from hierarchy_lm.losses.functional import block_bce
from hierarchy_lm.losses.path import NodeReduction


class Steps(NamedTuple):
    """When B documents' nodes and stop symbols are due: level l at step l - 1, then the stop.

    Attributes:
        targets: The nodes, closed under ancestors.
        levels: Step at which each of them is due, 0 for a root.
        stops: ``(B,)`` step at which each document's stop symbol is due: its number of levels.
    """

    targets: SparseTargets
    levels: Tensor
    stops: Tensor


def steps_of(targets: SparseTargets, level_ends: Tensor, batch_size: int) -> Steps:
    """Steps of closed targets.

    Args:
        targets: Closed under ancestors: no level above the last one is without a node.
        level_ends: Behind the last node of each level.
        batch_size: B.

    Shape:
        - level_ends: ``(L,)``
    """
    levels = torch.bucketize(targets.labels, level_ends, right=True)
    stops = torch.zeros(batch_size, dtype=torch.long, device=levels.device)
    return Steps(targets, levels, stops.scatter_reduce(0, targets.documents, levels + 1, "amax"))


def level_steps_bce(
    nodes: Tensor, stops: Tensor, steps: Steps, offsets: Sequence[int], reduction: NodeReduction
) -> Tensor:
    r"""BCE of each step over the nodes of its level and the stop symbol.

    .. math::
        \frac{1}{B} \sum_b \sum_{l=1}^{D_b+1} r_{bl} \sum_{j \in H_l \cup \{stop\}}
            \mathrm{BCE}(z_{bj}, t_{bj})

    with :math:`D_b` the levels of document b and r as in :class:`PathLoss`. The official code takes
    the mean over all steps of a batch instead, a factor of one over the documents' mean number of
    steps. Where that is the same in every batch AdamW does not see it (but gradient clipping does);
    as documents differ in depth, batches of deep ones weigh more here.

    Args:
        nodes: Logits of all nodes, each at its own level's step.
        stops: Logit of the stop symbol at each step; after the deepest level nothing else competes.
        steps: What is due.
        offsets: First node of each level, then C.
        reduction: Over the candidates of a step.

    Shape:
        - nodes: ``(B, C)``
        - stops: ``(B, L + 1)``
    """
    num_nodes, num_steps = nodes.shape[1], stops.shape[1]
    sizes = torch.tensor(offsets, device=nodes.device).diff(append=nodes.new_tensor([num_nodes]))
    scale = _scale(steps, num_steps, 1 + sizes, reduction)
    documents = torch.arange(len(stops), device=stops.device)
    positives = SparseTargets(
        torch.cat([steps.targets.documents, documents]),
        torch.cat([steps.targets.labels, num_nodes + steps.stops]),
    )
    blocks = torch.cat([steps.levels, num_steps - 1 + steps.stops])
    ends = [*offsets, *range(num_nodes + 1, num_nodes + num_steps + 1)]
    logits = torch.cat([nodes, stops], dim=1)
    return block_bce(logits, positives, blocks, torch.cat([scale[:, :-1], scale], dim=1), ends)


def any_level_step_bce(
    logits: Tensor, step: int, num_steps: int, steps: Steps, reduction: NodeReduction
) -> Tensor:
    """One step's part of the loss where nodes of all levels compete at every step.

    That is the official code's form. All steps at once would be documents x steps x C logits.

    Args:
        logits: Of all nodes and, last, the stop symbol.
        step: From 0 on.
        num_steps: L + 1.
        steps: What is due.
        reduction: Over the candidates of a step.

    Shape:
        - logits: ``(B, C + 1)``
    """
    candidates = logits.shape[1]
    sizes = torch.full((num_steps,), candidates, device=logits.device)
    scale = _scale(steps, num_steps, sizes, reduction)[:, step : step + 1]
    now, (stopping,) = steps.levels == step, torch.nonzero(steps.stops == step, as_tuple=True)
    positives = SparseTargets(
        torch.cat([steps.targets.documents[now], stopping]),
        torch.cat([steps.targets.labels[now], torch.full_like(stopping, candidates - 1)]),
    )
    return block_bce(logits, positives, torch.zeros_like(positives.labels), scale, [0, candidates])


def _scale(steps: Steps, num_steps: int, sizes: Tensor, reduction: NodeReduction) -> Tensor:
    """Weight of each document's loss at each step, 0 behind its stop, ``(B, L + 1)``."""
    shape = (len(steps.stops), num_steps)
    due = torch.arange(num_steps, device=sizes.device) <= steps.stops[:, None]
    if reduction == "positives":
        cells = steps.targets.documents * num_steps + steps.levels
        sizes = torch.bincount(cells, minlength=shape[0] * shape[1]).view(shape).clamp(min=1)
    elif reduction == "sum":
        sizes = torch.ones_like(sizes)
    return due / sizes / shape[0]
