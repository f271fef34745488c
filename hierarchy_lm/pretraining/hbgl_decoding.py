"""HBGL's greedy decoding: a step per level, each given what the steps before predicted."""

from collections.abc import Callable
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from hierarchy_lm.batches import SparseTargets
from hierarchy_lm.decoding import DecodeOptions

StopRule = Literal["clean", "official"]

Scores = tuple[Tensor, Tensor]
"""Of one step: logits of the candidates ``(B, end - start)`` and of the stop symbol ``(B,)``."""


class Greedy(NamedTuple):
    """What a batch was said to have.

    Attributes:
        chosen: ``(B, C)`` bool.
        logits: ``(B, C)`` of each node at the step that predicted it, else at its level's own step;
            minus infinity if the document had stopped before.
    """

    chosen: Tensor
    logits: Tensor

    def pairs(self) -> SparseTargets:
        """Documents and their nodes, sorted."""
        return SparseTargets(*torch.nonzero(self.chosen, as_tuple=True))


class GreedyDecoder:
    """Which candidates a step predicts, and when a document stops.

    ``clean``: the nodes predicted together with the stop symbol count, a document may have none,
    and nothing is dropped where the stop symbol never comes. ``official``: the former are lost; if
    no step predicts the stop symbol, the last node of the last step that predicted any is dropped;
    a document without any gets node 0.

    Args:
        parents: ``(C,)`` parent of each node, -1 at a root.
        offsets: First node of each level, then C.
        restrict_level: Only the nodes of level l compete at step l.
        options: Threshold and constraint. ``parent`` predicts no node whose parent was not
            predicted by a step before, ``top1`` the best candidate of each step.
        rule: About the stop symbol.
    """

    def __init__(
        self,
        parents: Tensor,
        offsets: list[int],
        restrict_level: bool,
        options: DecodeOptions,
        rule: StopRule,
    ) -> None:
        self.parents, self.offsets, self.restrict_level = parents, offsets, restrict_level
        self.options, self.rule = options, rule
        depth = len(offsets) - 1
        # Behind the deepest level only the stop symbol is left, which the clean rule need not see.
        self.steps = depth if restrict_level and rule == "clean" else depth + 1

    def candidates(self, step: int) -> tuple[int, int]:
        """First node that competes at a step, and the one behind the last."""
        if not self.restrict_level:
            return 0, self.offsets[-1]
        ends = [*self.offsets, self.offsets[-1]]
        return ends[step], ends[step + 1]

    def __call__(self, batch_size: int, score: Callable[[int, Tensor], Scores]) -> Greedy:
        """Decode.

        Args:
            batch_size: B.
            score: Scores of the candidates of a step, given its number and what the step before
                predicted, ``(B, C)`` bool.
        """
        shape = (batch_size, self.offsets[-1])
        device = self.parents.device
        chosen = torch.zeros(shape, dtype=torch.bool, device=device)
        picked = torch.zeros_like(chosen)
        logits = torch.full(shape, -torch.inf, device=device)
        active = torch.ones(batch_size, dtype=torch.bool, device=device)
        last = LastNode(batch_size, device)
        for step in range(self.steps):
            start, end = self.candidates(step)
            found, stop = score(step, picked)
            picked = torch.zeros_like(chosen)
            picked[:, start:end] = self._pick(found, chosen, start, end) & active[:, None]
            self._record(logits, found, picked & ~chosen, active, step)
            if self.rule == "official":
                picked &= (stop <= 0)[:, None]
                last.update(picked, chosen)
            chosen |= picked
            active &= stop <= 0
        if self.rule == "official":
            last.drop(chosen, active)
            chosen[:, 0] |= ~chosen.any(dim=1)
        return Greedy(chosen, logits)

    def _pick(self, found: Tensor, chosen: Tensor, start: int, end: int) -> Tensor:
        picked = found > self.options.least_logit
        if self.options.constraint == "top1" and start < end:
            best = found.argmax(dim=1, keepdim=True)
            picked &= torch.zeros_like(picked).scatter(1, best, True)
        elif self.options.constraint == "parent":
            above = self.parents[start:end]
            picked &= (above < 0) | chosen[:, above.clamp(min=0)]
        return picked

    def _record(
        self, logits: Tensor, found: Tensor, picked: Tensor, active: Tensor, step: int
    ) -> None:
        """Keep a node's logit of its own level's step, or of the first step that predicts it."""
        if self.restrict_level:
            start, end = self.candidates(step)
            logits[:, start:end] = found.float().masked_fill(~active[:, None], -torch.inf)
            return
        own = torch.zeros(logits.shape[1], dtype=torch.bool, device=logits.device)
        own[slice(*self.offsets[step : step + 2])] = step + 1 < len(self.offsets)
        unset = own & active[:, None] & logits.isneginf()
        logits.copy_(torch.where(picked | unset, found.float(), logits))


class LastNode:
    """Which node the official code drops where no step predicts the stop symbol."""

    def __init__(self, batch_size: int, device: torch.device) -> None:
        self.node = torch.full((batch_size,), -1, device=device)
        self.again = torch.zeros(batch_size, dtype=torch.bool, device=device)

    def update(self, picked: Tensor, before: Tensor) -> None:
        """Take the highest node of this step; one that an earlier step predicted is kept twice."""
        some = picked.any(dim=1)
        highest = picked.shape[1] - 1 - picked.flip(1).int().argmax(dim=1)
        again = before.gather(1, highest[:, None])[:, 0]
        self.node = torch.where(some, highest, self.node)
        self.again = torch.where(some, again, self.again)

    def drop(self, chosen: Tensor, unstopped: Tensor) -> None:
        """Take it out of what was chosen."""
        (documents,) = torch.nonzero(unstopped & (self.node >= 0) & ~self.again, as_tuple=True)
        chosen[documents, self.node[documents]] = False
