"""Fine-tuning of the plain encoder on one task (SST, Section IV-B)."""

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hierarchy_lm.backbones import BackboneOptions
from hierarchy_lm.backbones.level_tokens import find_level_tokens
from hierarchy_lm.batches import ProductBatch, SparseTargets
from hierarchy_lm.dataset import read_task
from hierarchy_lm.finetuning.level_tokens import LevelTokenOptions, LevelTokenReader
from hierarchy_lm.losses import sparse_bce
from hierarchy_lm.metrics import LabelF1
from hierarchy_lm.module import EncoderModule
from hierarchy_lm.optimizers import OptimizerOptions
from hierarchy_lm.precision import at_least_float32
from hierarchy_lm.training import check_room


class DownstreamFinetuner(EncoderModule):
    """Encoder, dropout and one linear layer on the last hidden state of [CLS].

    The loss is cross entropy for a multi-class task, binary cross entropy for a binary or
    multi-label one. No pre-training module is left: the encoder is all that is transferred, unless
    ``level_tokens`` asks for more.

    Args:
        task: Folder that holds ``task.json``; the command line takes it from the data.
        tokenizer: Folder or hub id of the tokenizer; the command line takes it from the backbone.
        backbone: The encoder.
        head_dropout: Dropout in front of the linear layer.
        level_tokens: What HPT or HBGL put behind a text, put there again (SST, Table V).
        optimizer: AdamW and its schedule.
    """

    def __init__(
        self,
        task: str,
        tokenizer: str,
        backbone: BackboneOptions = BackboneOptions(),
        head_dropout: float = 0.1,
        level_tokens: LevelTokenOptions = LevelTokenOptions(),
        optimizer: OptimizerOptions = OptimizerOptions(),
    ) -> None:
        super().__init__(tokenizer, backbone, optimizer)
        self.save_hyperparameters(logger=False)
        self.task = read_task(Path(task))
        self.fingerprints["label list"] = self.task.fingerprint
        self.reader: LevelTokenReader | None = None
        if level_tokens.readout != "none":
            found = find_level_tokens(backbone)
            self.reader = LevelTokenReader(found, self.backbone, level_tokens)
        self.dropout = nn.Dropout(head_dropout)
        self.head = nn.Linear(self.backbone.hidden_size, self.task.num_outputs)
        nn.init.normal_(self.head.weight, std=0.02)
        nn.init.zeros_(self.head.bias)
        self.f1 = LabelF1(len(self.task.labels))

    @property
    def label_names(self) -> list[str]:
        """Names of the task's labels."""
        return self.task.labels

    def setup(self, stage: str) -> None:
        """Check the data.

        Raises:
            UserError: As the base class, or if the texts leave no room for the level tokens.
        """
        super().setup(stage)
        extra = 0 if self.reader is None else self.reader.positions
        check_room(self.backbone, self.data, extra, "level tokens")

    def forward(self, batch: ProductBatch) -> Tensor:
        """Logits ``(B, labels)``, or ``(B, 1)`` for a binary task."""
        if self.reader is None:
            read = self.backbone(batch.tokens)
        else:
            read = self.reader(self.backbone, batch.tokens)
        logits: Tensor = self.head(self.dropout(read))
        return logits

    def loss(self, batch: ProductBatch) -> Tensor:
        """Mean over documents of the task's loss."""
        return self._loss(self(batch), batch)

    def _loss(self, logits: Tensor, batch: ProductBatch) -> Tensor:
        match self.task.kind:
            case "multiclass":
                return F.cross_entropy(at_least_float32(logits), batch.targets.labels)
            case "binary":
                precise = at_least_float32(logits).squeeze(1)
                wanted = batch.targets.labels.to(precise.dtype)
                return F.binary_cross_entropy_with_logits(precise, wanted)
            case "multilabel":
                return sparse_bce(logits, batch.targets)

    def evaluate(self, batch: ProductBatch) -> tuple[Tensor, SparseTargets]:
        """Loss and predicted labels."""
        logits = self(batch)
        documents, labels, _ = self._decide(logits)
        return self._loss(logits, batch), SparseTargets(documents, labels)

    def _decide(self, logits: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Predicted (document, label) pairs with their probabilities."""
        logits = logits.float()
        documents = torch.arange(len(logits), device=logits.device)
        match self.task.kind:
            case "multiclass":
                scores, labels = logits.softmax(dim=1).max(dim=1)
                return documents, labels, scores
            case "binary":
                positive = torch.sigmoid(logits.squeeze(1))
                return documents, (positive > 0.5).long(), torch.maximum(positive, 1 - positive)
            case "multilabel":
                scores = torch.sigmoid(logits)
                documents, labels = torch.nonzero(scores > 0.5, as_tuple=True)
                return documents, labels, scores[documents, labels]

    def predict_step(self, batch: ProductBatch, batch_idx: int) -> dict[str, Tensor]:
        """Predicted labels as sparse coordinates."""
        documents, labels, scores = self._decide(self(batch))
        return {"documents": documents, "labels": labels, "scores": scores}
