"""Conditional pre-training: each node among its siblings, given its parent (CoNLL 2024)."""

import torch
from torch import Tensor

from hierarchy_lm.backbones import BackboneOptions
from hierarchy_lm.batches import ProductBatch, SparseTargets
from hierarchy_lm.decoding import DecodeOptions
from hierarchy_lm.losses.conditional import (
    Activation,
    ConditionalLoss,
    log_relative_priors,
    logit_of_log,
    path_log_probabilities,
)
from hierarchy_lm.nn.node_head import NodeHead
from hierarchy_lm.optimizers import OptimizerOptions
from hierarchy_lm.pretraining.base import CountedData, HierarchyPretrainer
from hierarchy_lm.pretraining.paths import PathMode


class ConditionalPretrainer(HierarchyPretrainer):
    """Predict each node among its siblings only, given that its parent is right.

    One linear layer on [CLS] scores all nodes. A node's probability is the product of the
    conditional ones from its root down, so that a child is never more probable than its parent:
    what is decoded at a threshold is whole paths.

    Args:
        hierarchy: Path of ``hierarchy.parquet``; the command line takes it from the dataset.
        tokenizer: Folder or hub id of the tokenizer; the command line takes it from the backbone.
        backbone: The encoder.
        activation: ``softmax`` over the children of each parent, one path per product; or
            ``sigmoid``, any number of children, none where a path ends.
        logit_adjustment: tau; in training, tau times the log of a node's frequency relative to its
            siblings' is added to its logit, so that evaluation, without it, favours rare nodes.
            0 is off, 1 balances siblings wholly.
        path_mode: Train on all paths of a product (``union``), or on one drawn in each epoch.
        decode: Which nodes count as predicted, in evaluation and prediction.
        optimizer: AdamW and its schedule.

    Raises:
        ValueError: If ``logit_adjustment`` is negative.
    """

    adjustment: Tensor

    def __init__(
        self,
        hierarchy: str,
        tokenizer: str,
        backbone: BackboneOptions = BackboneOptions(),
        activation: Activation = "softmax",
        logit_adjustment: float = 0.0,
        path_mode: PathMode = "union",
        decode: DecodeOptions = DecodeOptions(),
        optimizer: OptimizerOptions = OptimizerOptions(),
    ) -> None:
        super().__init__(hierarchy, tokenizer, backbone, path_mode, decode, optimizer)
        if not 0 <= logit_adjustment < float("inf"):
            raise ValueError(f"logit_adjustment must be at least 0, got {logit_adjustment}")
        self.save_hyperparameters(logger=False)
        self.logit_adjustment = logit_adjustment
        num_nodes = self.hierarchy.num_nodes
        self.conditional = ConditionalLoss(self.hierarchy.parents, activation)
        self.head = NodeHead([num_nodes], self.backbone.hidden_size)
        _start_among_siblings(self.head, self.conditional.set_of)
        self.register_buffer("adjustment", torch.zeros(num_nodes), persistent=False)

    def setup(self, stage: str) -> None:
        """Check the data; the priors are counted in its training split."""
        super().setup(stage)
        if stage == "fit" and self.logit_adjustment > 0:
            data: CountedData = self.data  # type: ignore[assignment]
            priors = log_relative_priors(data.label_frequencies(), self.hierarchy.parents)
            self.adjustment.copy_(self.logit_adjustment * torch.from_numpy(priors))

    def forward(self, batch: ProductBatch) -> Tensor:
        """Logits of all nodes among their siblings, ``(B, C)``, from [CLS] itself."""
        return self.head.of_one(self.backbone(batch.tokens))

    def loss(self, batch: ProductBatch) -> Tensor:
        """Mean loss over documents, of adjusted logits."""
        return self.path_loss(self(batch) + self.adjustment, self._train_targets(batch))

    def path_loss(self, logits: Tensor, targets: SparseTargets) -> Tensor:
        """Sum of the losses among the siblings along the paths."""
        loss: Tensor = self.conditional(logits, targets)
        return loss

    def node_logits(self, logits: Tensor) -> Tensor:
        """Logits of the probabilities of the paths from the roots to each node."""
        conditional = self.conditional.log_probabilities(logits)
        return logit_of_log(path_log_probabilities(conditional, self.parents, self.offsets))


def _start_among_siblings(head: NodeHead, siblings: Tensor) -> None:
    """Let the probabilities of siblings sum to 1 at the start, as NodeHead does for levels."""
    sizes = torch.bincount(siblings)[siblings]
    with torch.no_grad():
        head.bias.copy_(-torch.log((sizes - 1).clamp(min=1).float()))
