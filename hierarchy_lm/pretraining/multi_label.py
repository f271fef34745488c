"""Multi-label pre-training: one flat head for all nodes, no levels (SST, Section VI-A)."""

from torch import Tensor

from hierarchy_lm.backbones import BackboneOptions
from hierarchy_lm.batches import ProductBatch, SparseTargets
from hierarchy_lm.decoding import DecodeOptions
from hierarchy_lm.losses import NodeReduction, PathLoss
from hierarchy_lm.nn.node_head import NodeHead
from hierarchy_lm.optimizers import OptimizerOptions
from hierarchy_lm.pretraining.base import HierarchyPretrainer
from hierarchy_lm.pretraining.paths import PathMode


class MultiLabelPretrainer(HierarchyPretrainer):
    """Predict all nodes of the paths as labels of one set (SST, Table IV).

    The tree is in the targets only, which hold every ancestor of a product's nodes.

    Args:
        hierarchy: Path of ``hierarchy.parquet``; the command line takes it from the dataset.
        tokenizer: Folder or hub id of the tokenizer; the command line takes it from the backbone.
        backbone: The encoder.
        node_reduction: How the loss is reduced over all C nodes.
        path_mode: Train on all paths of a product (``union``), or on one drawn in each epoch.
        decode: Which nodes count as predicted, in evaluation and prediction.
        optimizer: AdamW and its schedule.
    """

    def __init__(
        self,
        hierarchy: str,
        tokenizer: str,
        backbone: BackboneOptions = BackboneOptions(),
        node_reduction: NodeReduction = "mean",
        path_mode: PathMode = "union",
        decode: DecodeOptions = DecodeOptions(),
        optimizer: OptimizerOptions = OptimizerOptions(),
    ) -> None:
        super().__init__(hierarchy, tokenizer, backbone, path_mode, decode, optimizer)
        self.save_hyperparameters(logger=False)
        self.head = NodeHead(self.hierarchy.level_sizes, self.backbone.hidden_size)
        self.bce = PathLoss([0, self.hierarchy.num_nodes], node_reduction)

    def forward(self, batch: ProductBatch) -> Tensor:
        """Logits of all nodes, ``(B, C)``, from [CLS] itself."""
        return self.head.of_one(self.backbone(batch.tokens))

    def path_loss(self, logits: Tensor, targets: SparseTargets) -> Tensor:
        """BCE over all nodes, in which a level counts by its size."""
        loss: Tensor = self.bce(logits, targets)
        return loss
