"""What all hierarchy pre-training has in common: a tree, logits of its nodes, F1 per level."""

from abc import abstractmethod
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hierarchy_lm.backbones import BackboneOptions
from hierarchy_lm.batches import ProductBatch, SparseTargets
from hierarchy_lm.decoding import DecodeOptions, decode
from hierarchy_lm.hierarchy import Hierarchy
from hierarchy_lm.metrics import LevelF1, PathConsistency
from hierarchy_lm.module import EncoderModule, LabelledData
from hierarchy_lm.optimizers import OptimizerOptions
from hierarchy_lm.pretraining.paths import PathMode, one_path


class CountedData(LabelledData, Protocol):
    """What a model that starts from the nodes' frequencies asks of its DataModule."""

    def label_frequencies(self) -> NDArray[np.int64]:
        """``(C,)`` training products at or below each node."""


class HierarchyPretrainer(EncoderModule):
    """An encoder that learns to predict a product's nodes in the category tree.

    A subclass builds its head and calls ``save_hyperparameters`` after ``super().__init__()``, and
    says what :meth:`forward` and :meth:`path_loss` are.

    Args:
        hierarchy: Path of ``hierarchy.parquet``.
        tokenizer: Folder or hub id of the tokenizer.
        backbone: The encoder, all that later stages take.
        path_mode: Train on all paths of a product at once (``union``), or in each epoch on one that
            is drawn from the seed, the epoch and the product (``sample_one``). Evaluation always
            counts all paths.
        decode: Which nodes count as predicted.
        optimizer: AdamW and its schedule.

    Attributes:
        hierarchy: The tree.
        offsets: ``L + 1`` numbers; level l holds the nodes from ``offsets[l - 1]`` up to
            ``offsets[l]``, exclusive.
        parents: ``(C,)`` int64 parent of each node, -1 at a root.
    """

    parents: Tensor

    def __init__(
        self,
        hierarchy: str,
        tokenizer: str,
        backbone: BackboneOptions,
        path_mode: PathMode,
        decode: DecodeOptions,
        optimizer: OptimizerOptions,
    ) -> None:
        super().__init__(tokenizer, backbone, optimizer)
        self.hierarchy = Hierarchy.from_parquet(Path(hierarchy))
        self.fingerprints["category tree"] = self.hierarchy.fingerprint
        self.offsets: list[int] = self.hierarchy.level_offsets.tolist()
        self.decode_options = decode
        self.path_mode = path_mode
        parents = torch.from_numpy(self.hierarchy.parents).long()
        self.register_buffer("parents", parents, persistent=False)
        self.f1 = LevelF1(self.offsets)
        self.consistency = PathConsistency(self.hierarchy.parents)

    @property
    def label_names(self) -> list[str]:
        """Paths of the nodes."""
        return self.hierarchy.paths

    @property
    def label_keys(self) -> list[str | None]:
        """The shop's own keys of the nodes."""
        return self.hierarchy.keys

    @abstractmethod
    def forward(self, batch: ProductBatch) -> Tensor:
        """Logits of all nodes that the loss is of, ``(B, C)``, one level after the other."""

    @abstractmethod
    def path_loss(self, logits: Tensor, targets: SparseTargets) -> Tensor:
        """Mean loss over documents; the targets are closed under ancestors."""

    def node_logits(self, logits: Tensor) -> Tensor:
        """Logits of "the product lies at or below the node", as evaluation and prediction need."""
        return logits

    def loss(self, batch: ProductBatch) -> Tensor:
        """Mean loss over the documents of the batch."""
        return self.path_loss(self(batch), self._train_targets(batch))

    def _train_targets(self, batch: ProductBatch) -> SparseTargets:
        if self.path_mode == "union":
            return batch.targets
        seed = hash((self.run_seed, self.current_epoch))
        return one_path(batch.targets, self.parents, self.hierarchy.depth, batch.rows, seed)

    def evaluate(self, batch: ProductBatch) -> tuple[Tensor, SparseTargets]:
        """Loss and decoded nodes; their path consistency is counted on the way."""
        logits: Tensor = self(batch)
        return self.path_loss(logits, batch.targets), self._decoded(logits)

    def _decoded(self, logits: Tensor) -> SparseTargets:
        """Nodes that logits ``(B, C)`` predict, counted for the path consistency."""
        predicted = decode(self.node_logits(logits), self.hierarchy, self.decode_options)
        self.consistency.update(predicted, len(logits))
        return predicted

    def _log_f1(self, stage: str) -> None:
        super()._log_f1(stage)
        self._log_scores(self.consistency, f"{stage}/")

    def predict_step(self, batch: ProductBatch, batch_idx: int) -> dict[str, Tensor]:
        """Decoded nodes and their probabilities, as sparse coordinates."""
        logits = self.node_logits(self(batch))
        documents, nodes = decode(logits, self.hierarchy, self.decode_options)
        scores = torch.sigmoid(logits[documents, nodes].float())
        return {"documents": documents, "labels": nodes, "scores": scores}
