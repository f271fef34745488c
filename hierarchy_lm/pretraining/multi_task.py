"""Multi-task pre-training: one head per level, no Structural-Transformer (SST, Section VI-A)."""

from torch import Tensor

from hierarchy_lm.backbones import BackboneOptions
from hierarchy_lm.batches import ProductBatch, SparseTargets
from hierarchy_lm.decoding import DecodeOptions
from hierarchy_lm.losses import NodeReduction, PathLoss
from hierarchy_lm.nn.node_head import NodeHead
from hierarchy_lm.nn.structural_options import StructuralOptions
from hierarchy_lm.nn.structural_transformer import LevelInputs
from hierarchy_lm.optimizers import OptimizerOptions
from hierarchy_lm.pretraining.base import HierarchyPretrainer
from hierarchy_lm.pretraining.paths import PathMode


class MultiTaskPretrainer(HierarchyPretrainer):
    """Predict each level by a linear head of its own on [CLS], the levels apart (SST, Table IV).

    Without the projection this is multi-label pre-training but for the loss, in which every level
    is a task that counts alike: linear heads on the same vector are the rows of one.

    Args:
        hierarchy: Path of ``hierarchy.parquet``; the command line takes it from the dataset.
        tokenizer: Folder or hub id of the tokenizer; the command line takes it from the backbone.
        backbone: The encoder.
        projection: Give each head an input of its own from [CLS], the one that the
            Structural-Transformer's level gets; by default all read [CLS] itself.
        node_reduction: How the loss of one level is reduced over its nodes.
        level_weights: Weight of each level's loss, roots first; by default 1 each.
        mask_missing_levels: Leave the levels below the end of a document's path out of its loss.
        path_mode: Train on all paths of a product (``union``), or on one drawn in each epoch.
        decode: Which nodes count as predicted, in evaluation and prediction.
        optimizer: AdamW and its schedule.
    """

    def __init__(
        self,
        hierarchy: str,
        tokenizer: str,
        backbone: BackboneOptions = BackboneOptions(),
        projection: bool = False,
        node_reduction: NodeReduction = "mean",
        level_weights: list[float] | None = None,
        mask_missing_levels: bool = False,
        path_mode: PathMode = "union",
        decode: DecodeOptions = DecodeOptions(),
        optimizer: OptimizerOptions = OptimizerOptions(),
    ) -> None:
        super().__init__(hierarchy, tokenizer, backbone, path_mode, decode, optimizer)
        self.save_hyperparameters(logger=False)
        hidden_size = self.backbone.hidden_size
        self.inputs = (
            LevelInputs(self.hierarchy.depth, hidden_size, StructuralOptions(use_positions=False))
            if projection
            else None
        )
        self.head = NodeHead(self.hierarchy.level_sizes, hidden_size)
        self.level_bce = PathLoss(self.offsets, node_reduction, level_weights, mask_missing_levels)

    def forward(self, batch: ProductBatch) -> Tensor:
        """Logits of all nodes, ``(B, C)``, one level after the other."""
        h_cls = self.backbone(batch.tokens)
        if self.inputs is None:
            return self.head.of_one(h_cls)
        logits: Tensor = self.head(self.inputs(h_cls))
        return logits

    def path_loss(self, logits: Tensor, targets: SparseTargets) -> Tensor:
        """Sum over levels of the BCE against the nodes of the path, as SST's."""
        loss: Tensor = self.level_bce(logits, targets)
        return loss
