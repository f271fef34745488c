"""What the department and the leaf classifier share: they differ in their labels alone."""

import hashlib
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchmetrics import MeanMetric

from hierarchy_lm.backbones import BackboneOptions
from hierarchy_lm.batches import ProductBatch, SparseTargets
from hierarchy_lm.classification.names import name_vectors
from hierarchy_lm.hierarchy import Hierarchy
from hierarchy_lm.losses import DHPCLoss, DHPCOptions, LabelSpace
from hierarchy_lm.metrics import LabelF1
from hierarchy_lm.module import EncoderModule, LabelledData
from hierarchy_lm.nn import ClassifierHead, HeadOptions, KnowledgeSkip, SkipOptions
from hierarchy_lm.optimizers import OptimizerOptions


class ClassifierData(LabelledData, Protocol):
    """What a classifier asks of its DataModule beyond what every model does."""

    def label_frequencies(self) -> NDArray[np.int64]:
        """Training items of each label."""


class ProductClassifier(EncoderModule):
    """Encoder, knowledge skip and a two-layer head over nodes of the tree (DHPC, Section C.1).

    Labels are not exclusive: each has its sigmoid, and the highest is the prediction.

    Args:
        hierarchy: The tree.
        nodes: Node of each label.
        tokenizer: Folder or hub id of the tokenizer.
        backbone: The encoder.
        skip: Which layers' [CLS] count, and how they are pooled.
        head: The two-layer head.
        loss: Strategies against label noise.
        inference_temperature: Divides the logits outside of training (Eq. 10 with its own value).
        optimizer: AdamW and its schedule.
    """

    f1: LabelF1

    def __init__(
        self,
        hierarchy: Hierarchy,
        nodes: NDArray[np.int64],
        tokenizer: str,
        backbone: BackboneOptions,
        skip: SkipOptions,
        head: HeadOptions,
        loss: DHPCOptions,
        inference_temperature: float,
        optimizer: OptimizerOptions,
    ) -> None:
        super().__init__(tokenizer, backbone, optimizer)
        if inference_temperature <= 0:
            raise ValueError(f"inference_temperature must be positive, got {inference_temperature}")
        self.hierarchy = hierarchy
        self.nodes = nodes
        self.inference_temperature = inference_temperature
        self.fingerprints["tree"] = hierarchy.fingerprint
        # Two departments may have as many leaves as each other.
        self.fingerprints["label set"] = hashlib.sha256(
            "\n".join(self.label_names).encode()
        ).hexdigest()
        self.skip = KnowledgeSkip(skip, self.backbone.num_layers, self.backbone.hidden_size)
        self.head = ClassifierHead(self.skip.output_size, len(nodes), head)
        self.train_loss = DHPCLoss(loss, len(nodes))
        self.plain_loss = DHPCLoss(DHPCOptions(class_reduction=loss.class_reduction), len(nodes))
        self.f1 = LabelF1(len(nodes))
        self.accuracy = MeanMetric()

    @property
    def label_names(self) -> list[str]:
        """Paths of the labels' nodes."""
        return [self.hierarchy.paths[node] for node in self.nodes]

    @property
    def label_keys(self) -> list[str | None]:
        """The shop's own keys of the labels' nodes."""
        return [self.hierarchy.keys[node] for node in self.nodes]

    def forward(self, batch: ProductBatch, columns: Tensor | None = None) -> Tensor:
        """Logits ``(B, N)``, or ``(B, S)`` for S columns."""
        states = self.skip(self.backbone.all_layer_cls(batch.tokens))
        logits: Tensor = self.head(states, counted=batch.loss_scale > 0, columns=columns)
        return logits

    def on_fit_start(self) -> None:
        """Tell the loss the number of steps, and its samplers of negatives about the labels."""
        self.train_loss.set_total_steps(self._total_steps())
        data: ClassifierData = self.data  # type: ignore[assignment]
        labels = LabelSpace(
            counts=torch.from_numpy(data.label_frequencies()),
            parents=torch.from_numpy(self.hierarchy.parents[self.nodes].astype(np.int64)),
            vectors=name_vectors(
                [self.hierarchy.names[node] for node in self.nodes], self.tokenizer, self.backbone
            ),
        )
        self.train_loss.set_label_space(LabelSpace(*(part.to(self.device) for part in labels)))

    def loss(self, batch: ProductBatch) -> Tensor:
        """DHPC loss, mean over the documents."""
        step = self.global_step
        columns = self.train_loss.columns(batch.targets, step)
        logits = self(batch, columns)
        if columns is None:
            loss: Tensor = self.train_loss(logits, batch.targets, step)
        else:
            loss = self.train_loss.forward_columns(logits, columns, batch.targets, step)
        return loss

    def validation_step(self, batch: ProductBatch, batch_idx: int) -> None:
        """Count a batch of the validation split."""
        super().validation_step(batch, batch_idx)
        self.log("val/accuracy", self.accuracy, batch_size=len(batch.rows))

    def test_step(  # type: ignore[override]
        self, batch: ProductBatch, batch_idx: int
    ) -> SparseTargets:
        """Count a batch of the test split; returns what was predicted."""
        predicted = super().test_step(batch, batch_idx)
        self.log("test/accuracy", self.accuracy, batch_size=len(batch.rows))
        return predicted

    def evaluate(self, batch: ProductBatch) -> tuple[Tensor, SparseTargets]:
        """Binary cross entropy without any strategy, and the highest label of each document.

        Accuracy is weighted by the items' importance.
        """
        logits = self(batch)
        documents, labels, _ = self._decide(logits)
        right = torch.zeros(len(logits), device=logits.device)
        found = labels[batch.targets.documents] == batch.targets.labels
        right[batch.targets.documents[found]] = 1.0
        self.accuracy.update(right, batch.weights)
        return self.plain_loss(logits, batch.targets, 0), SparseTargets(documents, labels)

    def _decide(self, logits: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        best, labels = logits.float().max(dim=1)
        documents = torch.arange(len(logits), device=logits.device)
        return documents, labels, torch.sigmoid(best / self.inference_temperature)

    def predict_step(self, batch: ProductBatch, batch_idx: int) -> dict[str, Tensor]:
        """The highest label as sparse coordinates."""
        documents, labels, scores = self._decide(self(batch))
        return {"documents": documents, "labels": labels, "scores": scores}
