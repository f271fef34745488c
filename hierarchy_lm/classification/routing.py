"""Departments first, then each department's leaves: the two passes over a window of items."""

from typing import NamedTuple

import torch
from torch import Tensor

from hierarchy_lm.batches import TokenBatch
from hierarchy_lm.classification.leaf_models import LeafModels
from hierarchy_lm.classification.network import ClassifierNetwork

# One forward pass costs about 1/64 of a full chunk on top of its tokens (measured on a CPU core
# with MiniLM and 4,096 tokens; GPUs, whose passes cost more, take larger chunks).
PASSES_WORTH = 64


class Candidates(NamedTuple):
    """The A best leaves of each of B items, best first, over the departments that were asked.

    The first is the answer: leaf -1 where the most probable department has none.

    Shape:
        - department, leaf: ``(B, A)`` int64 node ids; leaf is -1 where nothing could answer
        - p_department, p_leaf: ``(B, A)`` float32
    """

    department: Tensor
    leaf: Tensor
    p_department: Tensor
    p_leaf: Tensor

    @property
    def score(self) -> Tensor:
        """p_department x p_leaf (DHPC, Section E.1.1), ``(B, A)``."""
        return self.p_department * self.p_leaf


class Temperatures(NamedTuple):
    """What divides the logits of each stage."""

    department: float = 1.0
    leaf: float = 1.0


class Router:
    """Runs a window of items through a cascade.

    Every model sees all of the window's items that concern it at once, in full batches of similar
    length; routing inside small batches would give each leaf model a handful of items at a time.

    Args:
        departments: The department classifier.
        leaf_models: The second stage.
        temperatures: Calibration of the two.
        top_departments: How many departments are asked for leaves (a beam).
        alternatives: A, how many leaves are kept for an item.
        chunk_tokens: Tokens of one forward pass, padding included.
    """

    def __init__(
        self,
        departments: ClassifierNetwork,
        leaf_models: LeafModels,
        temperatures: Temperatures,
        top_departments: int,
        alternatives: int,
        chunk_tokens: int,
    ) -> None:
        self.departments = departments
        self.leaf_models = leaf_models
        self.temperatures = temperatures
        self.top_departments = top_departments
        self.alternatives = alternatives
        self.chunk_tokens = chunk_tokens

    def route(self, tokens: TokenBatch) -> Candidates:
        """The best leaves of every item."""
        logits = torch.cat([self.departments(chunk) for chunk in self._chunks(tokens)])
        scores = torch.sigmoid(logits.float() / self.temperatures.department)
        beam = min(self.top_departments, scores.shape[1])
        # A department's node id is its label: roots come first in the tree.
        p_department, department = scores.topk(beam, dim=1)
        leaf = torch.full((*department.shape, self.alternatives), -1, device=department.device)
        p_leaf = torch.zeros(leaf.shape, dtype=torch.float32, device=department.device)
        for node in self.leaf_models.resident_first(torch.unique(department).tolist()):
            items, places = torch.nonzero(department == node, as_tuple=True)
            best, leaves = self._leaves(node, TokenBatch(*(part[items] for part in tokens)))
            leaf[items, places, : leaves.shape[1]] = leaves
            p_leaf[items, places, : leaves.shape[1]] = best
        return self._best(department, p_department, leaf, p_leaf)

    def _leaves(self, department: int, tokens: TokenBatch) -> tuple[Tensor, Tensor]:
        """Probabilities and node ids of the best leaves, ``(items, <= A)``."""
        device = tokens.input_ids.device
        leaves = self.leaf_models.leaves(department).to(device)
        kept = min(self.alternatives, len(leaves))
        prior = self.leaf_models.prior(department)
        if prior is not None:
            best, order = prior.to(device).topk(kept)
            nodes = torch.where(best > 0, leaves[order], -1)
            size = len(tokens.input_ids)
            return best.expand(size, -1), nodes.expand(size, -1)
        model = self.leaf_models.model(department, device)
        if model is None:
            none = torch.zeros(len(tokens.input_ids), 0, dtype=torch.float32, device=device)
            return none, none.long()
        parts = [
            torch.sigmoid(model(chunk).float() / self.temperatures.leaf).topk(kept, dim=1)
            for chunk in self._chunks(tokens)
        ]
        best = torch.cat([part.values for part in parts])
        return best, leaves[torch.cat([part.indices for part in parts])]

    def _best(
        self, department: Tensor, p_department: Tensor, leaf: Tensor, p_leaf: Tensor
    ) -> Candidates:
        """The A best of the beam x A leaves; those that are none come last.

        A department that cannot answer might have held the right leaf: departments less probable
        than it compete for the second place only, and if it is the most probable one, the first
        candidate is that department without a leaf.
        """
        size, _, kept = leaf.shape
        flat = Candidates(
            department[:, :, None].expand(-1, -1, kept).reshape(size, -1),
            leaf.view(size, -1),
            p_department[:, :, None].expand(-1, -1, kept).reshape(size, -1),
            p_leaf.view(size, -1),
        )
        ranked = torch.where(flat.leaf >= 0, flat.score, -1.0)
        competes = (leaf >= 0).any(dim=2).cumprod(dim=1).bool()
        first = torch.where(competes.repeat_interleave(kept, dim=1), ranked, -1.0).argmax(dim=1)
        ranked[torch.arange(size, device=leaf.device), first] = 2.0
        order = ranked.argsort(dim=1, descending=True, stable=True)[:, :kept]
        return Candidates(*(part.gather(1, order) for part in flat))

    def _chunks(self, tokens: TokenBatch) -> list[TokenBatch]:
        """Rows in their order, cut to their own length where more padding would cost too much.

        The rows of a window are sorted by length: a chunk ends at its budget, or where its padding
        outweighs what another forward pass costs on top of its tokens.
        """
        lengths = tokens.attention_mask.sum(dim=1).tolist()
        padding_allowed = self.chunk_tokens / PASSES_WORTH
        chunks, start, longest, used = [], 0, 0, 0
        for row, length in enumerate([*lengths, self.chunk_tokens + 1]):
            size = max(longest, length) * (row + 1 - start)
            full = size > self.chunk_tokens or size - used - length > padding_allowed
            if full and row > start:
                rows = slice(start, row)
                chunks.append(TokenBatch(*(part[rows, :longest] for part in tokens)))
                start, longest, used = row, 0, 0
            longest, used = max(longest, length), used + length
        return chunks
