"""HBGL's first stage: vectors of the nodes from the tree alone (Jiang et al., EMNLP 2022)."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from hierarchy_lm.backbones import Backbone, EmbeddedTokens
from hierarchy_lm.errors import UserError
from hierarchy_lm.hierarchy import Hierarchy
from hierarchy_lm.nn import MLMHead
from hierarchy_lm.pretraining.hbgl_graphs import LabelGraphs, batch_graphs, graph_loss
from hierarchy_lm.pretraining.hbgl_subtrees import Subtree, SubtreeSampler


@dataclass(frozen=True)
class HBGLLabelOptions:
    """How the vectors of the nodes are learnt from the tree.

    Attributes:
        passes: How often a node is visited, in the mean; 0 leaves the stage out.
        lr: Constant learning rate of AdamW, without decay.
        subtrees: Different subtrees in an optimiser step.
        copies: Of each, masked independently. The official code has 32 of the whole tree.
        min_nodes: Least size of a subtree; a smaller tree is one.
        max_nodes: Largest; with [CLS] and [SEP] it has to fit into the encoder's positions in the
            papers' layout, whose [SEP] nobody reads and which is left out here.
        sampler: ``growth`` draws tops by the root of their size, and shallow nodes more often than
            deep ones. ``least_visited`` grows each subtree from near a node that was visited
            least, and through it: every node is visited about as often as the others of its depth.
        include_ancestors: Put the nodes above a subtree's top into it.
        mask_ratio: Probability that a node is masked.
        final_mask_ratio: What it grows to over the steps; by default it stays. Without its flag
            "not increasing", the official code grows to 0.45.
        loss: ``bce``: links are read both ways, and a masked leaf's targets are all masked leaves
            beside it, which look alike. ``ce``: parents read their children only, and every node
            is its own target.
        candidates: What a masked node is compared with: the nodes of its ``subtree``, or ``all``.
        official_bug: Look up leaves and parents one node too early, as the official code does.
        chunk: Subtrees that pass the encoder at once. Memory depends on it, the result only in so
            far as dropout draws anew for each chunk.
    """

    passes: float = 300.0
    lr: float = 1e-3
    subtrees: int = 32
    copies: int = 1
    min_nodes: int = 256
    max_nodes: int = 510
    sampler: Literal["growth", "least_visited"] = "growth"
    include_ancestors: bool = False
    mask_ratio: float = 0.15
    final_mask_ratio: float | None = None
    loss: Literal["bce", "ce"] = "bce"
    candidates: Literal["subtree", "all"] = "subtree"
    official_bug: bool = False
    chunk: int = 2

    def __post_init__(self) -> None:
        if self.passes < 0 or self.lr <= 0:
            raise ValueError("labels.passes must be at least 0 and labels.lr positive")
        if min(self.subtrees, self.copies, self.chunk) < 1:
            raise ValueError("labels.subtrees, labels.copies and labels.chunk are at least 1")
        if not 1 <= self.min_nodes <= self.max_nodes:
            raise ValueError(
                f"labels.min_nodes must be between 1 and labels.max_nodes, got {self.min_nodes} "
                f"and {self.max_nodes}"
            )
        for ratio in (self.mask_ratio, self.final_mask_ratio or self.mask_ratio):
            if not 0 < ratio < 1:
                raise ValueError(f"labels.mask_ratio must be between 0 and 1, got {ratio}")


class Coverage(NamedTuple):
    """How often the nodes were in a subtree.

    Attributes:
        least: Fewest visits of a node.
        median: Visits of the middle one.
        seen: Share of the nodes that were visited at all.
        seldom: Share of those with less than a sixth of the mean that was asked for: 50 visits
            of 300.
    """

    least: float
    median: float
    seen: float
    seldom: float


class Ranks(NamedTuple):
    """Who shares the work of a step.

    Attributes:
        rank: This process.
        size: How many there are.
        total: Sum of a tensor over all.
    """

    rank: int
    size: int
    total: Callable[[Tensor], Tensor]


class LabelStage:
    """Learns the vectors of the nodes; encoder and MLM head stay as they are, dropout is on.

    All draws follow from the seed and the step. Ranks share the subtrees of a step and sum their
    gradients, so that all end with the same vectors.

    Args:
        backbone: The encoder.
        head: Its MLM head.
        specials: Ids of [CLS] and [MASK].
        tree: The tree.
        options: How.
        seed: Of the run.

    Attributes:
        steps: Optimiser steps.
    """

    def __init__(
        self,
        backbone: Backbone,
        head: MLMHead,
        specials: tuple[int, int],
        tree: Hierarchy,
        options: HBGLLabelOptions,
        seed: int,
    ) -> None:
        self.backbone, self.head, self.specials = backbone, head, specials
        self.tree, self.options, self.seed = tree, options, seed
        shape = (options.min_nodes, options.max_nodes, options.include_ancestors)
        self.sampler = SubtreeSampler(tree, *shape)
        visits = self.sampler.mean_size * options.subtrees * options.copies
        self.steps = math.ceil(options.passes * tree.num_nodes / visits)
        self.visits: NDArray[np.int64] = np.zeros(tree.num_nodes, dtype=np.int64)

    def learn(self, vectors: Tensor, ranks: Ranks, report: Callable[[int, float], None]) -> Tensor:
        """Vectors after all steps.

        Args:
            vectors: To start from.
            ranks: Who shares the work.
            report: Told the number and the loss of each step that is done.

        Shape:
            - vectors, output: ``(C, E)``

        Raises:
            UserError: If a gradient is beyond the numbers of the run's precision.
        """
        table = vectors.detach().clone().requires_grad_()
        optimizer = torch.optim.AdamW([table], lr=self.options.lr, weight_decay=0.0)
        trained = [
            parameter
            for module in (self.backbone, self.head)
            for parameter in module.parameters()
            if parameter.requires_grad
        ]
        for parameter in trained:
            parameter.requires_grad_(False)
        try:
            device = table.device
            with torch.random.fork_rng([] if device.type == "cpu" else [device]):
                for step in range(self.steps):
                    report(step, self._step(table, optimizer, step, ranks))
        finally:
            for parameter in trained:
                parameter.requires_grad_()
        return table.detach()

    def _step(
        self, table: Tensor, optimizer: torch.optim.Optimizer, step: int, ranks: Ranks
    ) -> float:
        subtrees, masks = self._draw(step)
        count = max(1, sum(self._terms(mask) for mask in masks))
        total = table.new_zeros(())
        table.grad = torch.zeros_like(table)
        for number, start in enumerate(range(0, len(subtrees), self.options.chunk)):
            if number % ranks.size != ranks.rank:
                continue
            torch.manual_seed(hash((self.seed, step, number)))  # dropout, whatever the rank
            part = slice(start, start + self.options.chunk)
            # The mean's gradients, a millionth at a score, would vanish in half precision.
            loss = self.loss(table, batch_graphs(subtrees[part], masks[part]))
            loss.backward()  # type: ignore[no-untyped-call]
            total += loss.detach()
        table.grad = ranks.total(table.grad) / count
        if not table.grad.isfinite().all():
            raise UserError(
                f"label vectors: the gradient of step {step} is not finite; lower model.labels.lr, "
                "or use trainer.precision bf16-mixed or 32-true"
            )
        optimizer.step()
        return float(ranks.total(total)) / count

    def _draw(self, step: int) -> tuple[list[Subtree], list[NDArray[np.bool_]]]:
        """The subtrees of a step, and who is masked in each."""
        subtrees, masks = [], []
        ratio = self._mask_ratio(step)
        for number in range(self.options.subtrees):
            random = np.random.default_rng((self.seed, step, number))
            subtree = self.sampler.draw(random, self._through(random))
            for _ in range(self.options.copies):
                subtrees.append(subtree)
                masks.append(random.random(len(subtree.nodes)) < ratio)
            self.visits[subtree.nodes] += self.options.copies
        return subtrees, masks

    def _through(self, random: np.random.Generator) -> int:
        if self.options.sampler == "growth":
            return -1
        return int(random.choice(np.flatnonzero(self.visits == self.visits.min())))

    def _mask_ratio(self, step: int) -> float:
        options = self.options
        if options.final_mask_ratio is None:
            return options.mask_ratio
        return options.mask_ratio + step / self.steps * (
            options.final_mask_ratio - options.mask_ratio
        )

    def _terms(self, mask: NDArray[np.bool_]) -> int:
        """How many numbers a subtree's loss is a sum of."""
        if self.options.loss == "ce":
            return int(mask.sum())
        everything = self.options.candidates == "all"
        return int(mask.sum()) * (self.tree.num_nodes if everything else len(mask))

    def loss(self, table: Tensor, graphs: LabelGraphs) -> Tensor:
        """Loss of some subtrees, summed over masked nodes and candidates."""
        graphs = LabelGraphs(*(part.to(table.device) for part in graphs))
        vectors = table[graphs.nodes]
        states = self.head.transform(self.backbone.encode(self._tokens(vectors, graphs))[:, 1:])
        whole = table if self.options.candidates == "all" else None
        return graph_loss(
            states, vectors, graphs, whole, self.options.loss, self.options.official_bug
        )

    def _tokens(self, vectors: Tensor, graphs: LabelGraphs) -> EmbeddedTokens:
        """[CLS] and the nodes, each at the position of its depth."""
        cls, mask = self.backbone.word_embeddings[list(self.specials)].to(vectors.dtype)
        seen = torch.where(graphs.masked[:, :, None], mask, vectors)
        embeddings = torch.cat([cls.expand(len(seen), 1, -1), seen], dim=1)
        levels = torch.from_numpy(self.tree.levels).to(vectors.device).long()
        positions = F.pad(levels[graphs.nodes], (1, 0))
        links = graphs.links(both_ways=self.options.loss == "bce")
        return EmbeddedTokens(embeddings, links, positions, torch.zeros_like(positions))

    def coverage(self) -> Coverage:
        """Of all steps so far."""
        visits = self.visits
        seldom = visits < self.options.passes / 6
        return Coverage(
            float(visits.min()),
            float(np.median(visits)),
            float((visits > 0).mean()),
            float(seldom.mean()),
        )
