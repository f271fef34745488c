"""What all hierarchy pre-training has in common: a tree, logits of its nodes, F1 per level."""

from abc import abstractmethod
from pathlib import Path

import torch
from torch import Tensor

from hierarchy_lm.backbones import BackboneOptions
from hierarchy_lm.batches import ProductBatch, SparseTargets
from hierarchy_lm.hierarchy import Hierarchy
from hierarchy_lm.metrics import LevelF1
from hierarchy_lm.module import EncoderModule
from hierarchy_lm.optimizers import OptimizerOptions


class HierarchyPretrainer(EncoderModule):
    """An encoder that learns to predict a product's nodes in the category tree.

    A subclass builds its head and calls ``save_hyperparameters`` after ``super().__init__()``, and
    says what :meth:`forward` and :meth:`path_loss` are.

    Args:
        hierarchy: Path of ``hierarchy.parquet``.
        tokenizer: Folder or hub id of the tokenizer.
        backbone: The encoder, all that later stages take.
        optimizer: AdamW and its schedule.

    Attributes:
        hierarchy: The tree.
        offsets: ``L + 1`` numbers; level l holds the nodes from ``offsets[l - 1]`` up to
            ``offsets[l]``, exclusive.
    """

    def __init__(
        self,
        hierarchy: str,
        tokenizer: str,
        backbone: BackboneOptions,
        optimizer: OptimizerOptions,
    ) -> None:
        super().__init__(tokenizer, backbone, optimizer)
        self.hierarchy = Hierarchy.from_parquet(Path(hierarchy))
        self.fingerprints["category tree"] = self.hierarchy.fingerprint
        self.offsets: list[int] = self.hierarchy.level_offsets.tolist()
        self.f1 = LevelF1(self.offsets)

    @property
    def label_names(self) -> list[str]:
        """Paths of the nodes."""
        return self.hierarchy.paths

    @abstractmethod
    def forward(self, batch: ProductBatch) -> Tensor:
        """Logits of all nodes, ``(B, C)``, one level after the other."""

    @abstractmethod
    def path_loss(self, logits: Tensor, targets: SparseTargets) -> Tensor:
        """Mean loss over documents; the targets are closed under ancestors."""

    def loss(self, batch: ProductBatch) -> Tensor:
        """Mean loss over the documents of the batch."""
        return self.path_loss(self(batch), batch.targets)

    def evaluate(self, batch: ProductBatch) -> tuple[Tensor, Tensor | SparseTargets]:
        """Loss, and the logits from which per-level micro F1 is counted (SST, Table VIII)."""
        logits: Tensor = self(batch)
        return self.path_loss(logits, batch.targets), logits

    def predict_step(self, batch: ProductBatch, batch_idx: int) -> dict[str, Tensor]:
        """Nodes whose probability exceeds one half, as sparse coordinates."""
        probabilities = torch.sigmoid(self(batch).float())
        documents, nodes = torch.nonzero(probabilities > 0.5, as_tuple=True)
        return {"documents": documents, "labels": nodes, "scores": probabilities[documents, nodes]}
