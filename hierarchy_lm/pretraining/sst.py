"""Semantic and Structural Transformers (Samel et al.): from [CLS] to the path in the tree."""

from torch import Tensor

from hierarchy_lm.backbones import BackboneOptions
from hierarchy_lm.batches import ProductBatch, SparseTargets
from hierarchy_lm.decoding import DecodeOptions
from hierarchy_lm.losses import NodeReduction, PathLoss
from hierarchy_lm.nn import StructuralOptions, StructuralTransformer
from hierarchy_lm.optimizers import OptimizerOptions
from hierarchy_lm.pretraining.base import HierarchyPretrainer
from hierarchy_lm.pretraining.paths import PathMode


class SSTPretrainer(HierarchyPretrainer):
    """Pre-train ``backbone``, the Semantic-Transformer, so that [CLS] alone predicts the path.

    The Structural-Transformer on top exists for this stage only (SST, Section IV); fine-tuning and
    export take the backbone.

    Args:
        hierarchy: Path of ``hierarchy.parquet``; the command line takes it from the dataset.
        tokenizer: Folder or hub id of the tokenizer; the command line takes it from the backbone.
        backbone: The Semantic-Transformer.
        structural: The Structural-Transformer and its ablations.
        node_reduction: How the loss of one level is reduced over its nodes.
        level_weights: Weight of each level's loss, roots first; by default 1 each.
        mask_missing_levels: Leave the levels below the end of a document's path out of its loss.
        path_mode: Train on all paths of a product (``union``), or on one drawn in each epoch.
        decode: Which nodes count as predicted.
        optimizer: AdamW and its schedule.
    """

    def __init__(
        self,
        hierarchy: str,
        tokenizer: str,
        backbone: BackboneOptions = BackboneOptions(),
        structural: StructuralOptions = StructuralOptions(),
        node_reduction: NodeReduction = "mean",
        level_weights: list[float] | None = None,
        mask_missing_levels: bool = False,
        path_mode: PathMode = "union",
        decode: DecodeOptions = DecodeOptions(),
        optimizer: OptimizerOptions = OptimizerOptions(),
    ) -> None:
        super().__init__(hierarchy, tokenizer, backbone, path_mode, decode, optimizer)
        self.save_hyperparameters(logger=False)
        self.structural = StructuralTransformer(
            self.hierarchy.level_sizes, self.backbone.hidden_size, structural
        )
        self.level_bce = PathLoss(self.offsets, node_reduction, level_weights, mask_missing_levels)

    def forward(self, batch: ProductBatch) -> Tensor:
        """Logits of all nodes, ``(B, C)``, one level after the other."""
        logits: Tensor = self.structural(self.backbone(batch.tokens))
        return logits

    def path_loss(self, logits: Tensor, targets: SparseTargets) -> Tensor:
        """Sum over levels of the BCE against the nodes of the path (SST, Section IV-B)."""
        loss: Tensor = self.level_bce(logits, targets)
        return loss
