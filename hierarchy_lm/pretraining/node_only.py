"""Node-only pre-training: the linked nodes alone, no path (SST, Section VI-A)."""

from typing import Literal, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hierarchy_lm.backbones import BackboneOptions
from hierarchy_lm.batches import ProductBatch, SparseTargets
from hierarchy_lm.decoding import DecodeOptions
from hierarchy_lm.losses import NodeReduction, PathLoss
from hierarchy_lm.nn.node_head import NodeHead
from hierarchy_lm.optimizers import OptimizerOptions
from hierarchy_lm.precision import at_least_float32
from hierarchy_lm.pretraining.base import HierarchyPretrainer
from hierarchy_lm.pretraining.paths import PathMode, most_specific

CompetingNodes = Literal["all", "leaves", "observed"]
NodeLoss = Literal["bce", "ce"]


class LinkedData(Protocol):
    """What ``nodes: observed`` asks of its DataModule."""

    def linked_nodes(self) -> NDArray[np.bool_]:
        """``(C,)`` the nodes at which a path of a training product ends."""


class NodeOnlyPretrainer(HierarchyPretrainer):
    """Predict the most specific nodes that a product is linked to, and none above (SST, Table IV).

    Of a product that is linked to a node and to one below it, the lower one is the target.
    Evaluation and prediction complete the paths: a node is predicted if one below it is.

    Args:
        hierarchy: Path of ``hierarchy.parquet``; the command line takes it from the dataset.
        tokenizer: Folder or hub id of the tokenizer; the command line takes it from the backbone.
        backbone: The encoder.
        nodes: Which nodes the head tells apart: ``all`` of the tree, its ``leaves``, or those at
            which a path in the training data ends (``observed``). A target outside of them is
            dropped; a product may be left without any.
        loss: Binary cross entropy for every node, or cross entropy over the nodes (``ce``). The
            target of ``ce`` is spread evenly over a product's nodes, and a product without any has
            no loss.
        node_reduction: How ``bce`` is reduced over the nodes.
        path_mode: Train on all nodes of a product (``union``), or on one drawn in each epoch.
        decode: Which nodes count as predicted, in evaluation and prediction.
        optimizer: AdamW and its schedule.
    """

    competing: Tensor

    def __init__(
        self,
        hierarchy: str,
        tokenizer: str,
        backbone: BackboneOptions = BackboneOptions(),
        nodes: CompetingNodes = "all",
        loss: NodeLoss = "bce",
        node_reduction: NodeReduction = "mean",
        path_mode: PathMode = "union",
        decode: DecodeOptions = DecodeOptions(),
        optimizer: OptimizerOptions = OptimizerOptions(),
    ) -> None:
        super().__init__(hierarchy, tokenizer, backbone, path_mode, decode, optimizer)
        self.save_hyperparameters(logger=False)
        self.nodes = nodes
        self.node_loss = loss
        self.node_reduction = node_reduction
        num_nodes = self.hierarchy.num_nodes
        competing = self.hierarchy.is_leaf if nodes == "leaves" else np.ones(num_nodes, dtype=bool)
        self.register_buffer("competing", torch.from_numpy(competing.copy()))
        self.head = NodeHead([num_nodes], self.backbone.hidden_size)
        self.bce = PathLoss([0, num_nodes], node_reduction)

    def setup(self, stage: str) -> None:
        """Check the data; ``observed`` nodes are looked up once, and kept in the checkpoint."""
        super().setup(stage)
        if stage == "fit" and self.nodes == "observed":
            data: LinkedData = self.data  # type: ignore[assignment]
            self.competing = torch.from_numpy(data.linked_nodes()).to(self.competing.device)

    def forward(self, batch: ProductBatch) -> Tensor:
        """Logits of all nodes, ``(B, C)``, minus infinity where a node does not compete."""
        logits = self.head.of_one(self.backbone(batch.tokens))
        return logits if self.nodes == "all" else logits.masked_fill(~self.competing, -torch.inf)

    def path_loss(self, logits: Tensor, targets: SparseTargets) -> Tensor:
        """Loss against the most specific nodes of the paths."""
        ends = most_specific(targets, self.parents)
        known = self.competing[ends.labels]
        ends = SparseTargets(ends.documents[known], ends.labels[known])
        if self.node_loss == "ce":
            return _even_cross_entropy(logits, ends)
        loss: Tensor = self.bce(logits, ends)  # a logit of minus infinity adds nothing
        if self.node_reduction == "mean":
            loss = loss * (len(self.competing) / self.competing.sum())
        return loss

    def node_logits(self, logits: Tensor) -> Tensor:
        """Logits of "at or below the node": the highest of them, or their sum under ``ce``."""
        if self.node_loss == "ce":
            shares = self._upwards(at_least_float32(logits).softmax(dim=1), "sum").clamp(max=1.0)
            return torch.logit(shares)
        return self._upwards(logits, "amax")

    def _upwards(self, scores: Tensor, reduce: Literal["sum", "amax"]) -> Tensor:
        """Give every node's score to its parent too, from the deepest level up."""
        levels = list(scores.split_with_sizes(self.hierarchy.level_sizes, dim=1))
        for level in range(self.hierarchy.depth - 1, 0, -1):
            nodes = slice(self.offsets[level], self.offsets[level + 1])
            above = (self.parents[nodes] - self.offsets[level - 1]).expand(len(scores), -1)
            levels[level - 1] = levels[level - 1].scatter_reduce(1, above, levels[level], reduce)
        return torch.cat(levels, dim=1)


def _even_cross_entropy(logits: Tensor, targets: SparseTargets) -> Tensor:
    """Cross entropy against even shares of a document's nodes; mean over documents."""
    counts = torch.bincount(targets.documents, minlength=len(logits))
    terms = -at_least_float32(logits).log_softmax(dim=1)[targets.documents, targets.labels]
    return (terms / counts[targets.documents]).sum() / len(logits)
