"""Semantic and Structural Transformers (Samel et al.): from [CLS] to the path in the tree."""

from pathlib import Path

import torch
from torch import Tensor

from hierarchy_lm.backbones import BackboneOptions
from hierarchy_lm.batches import ProductBatch
from hierarchy_lm.hierarchy import Hierarchy
from hierarchy_lm.losses import NodeReduction, PathLoss
from hierarchy_lm.metrics import LevelF1
from hierarchy_lm.module import EncoderModule
from hierarchy_lm.nn import StructuralOptions, StructuralTransformer
from hierarchy_lm.optimizers import OptimizerOptions


class SSTPretrainer(EncoderModule):
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
        optimizer: OptimizerOptions = OptimizerOptions(),
    ) -> None:
        super().__init__(tokenizer, backbone, optimizer)
        self.save_hyperparameters(logger=False)
        self.hierarchy = Hierarchy.from_parquet(Path(hierarchy))
        self.fingerprints["category tree"] = self.hierarchy.fingerprint
        offsets = self.hierarchy.level_offsets.tolist()
        self.structural = StructuralTransformer(
            self.hierarchy.level_sizes, self.backbone.hidden_size, structural
        )
        self.path_loss = PathLoss(offsets, node_reduction, level_weights, mask_missing_levels)
        self.f1 = LevelF1(offsets)

    @property
    def label_names(self) -> list[str]:
        """Paths of the nodes."""
        return self.hierarchy.paths

    def forward(self, batch: ProductBatch) -> Tensor:
        """Logits of all nodes, ``(B, C)``, one level after the other."""
        logits: Tensor = self.structural(self.backbone(batch.tokens))
        return logits

    def loss(self, batch: ProductBatch) -> Tensor:
        """Sum over levels of the BCE against the nodes of the path (SST, Section IV-B)."""
        loss: Tensor = self.path_loss(self(batch), batch.targets)
        return loss

    def evaluate(self, batch: ProductBatch) -> tuple[Tensor, Tensor]:
        """Loss, and the logits from which per-level micro F1 is counted (SST, Table VIII)."""
        logits = self(batch)
        return self.path_loss(logits, batch.targets), logits

    def predict_step(self, batch: ProductBatch, batch_idx: int) -> dict[str, Tensor]:
        """Nodes whose probability exceeds one half, as sparse coordinates."""
        probabilities = torch.sigmoid(self(batch).float())
        documents, nodes = torch.nonzero(probabilities > 0.5, as_tuple=True)
        return {"documents": documents, "labels": nodes, "scores": probabilities[documents, nodes]}
