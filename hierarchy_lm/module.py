"""What all models of labels have in common: an encoder in training, and F1."""

from abc import abstractmethod
from collections.abc import Sequence
from typing import Protocol

import pyarrow as pa
import torch
from torch import Tensor
from torchmetrics import Metric

from hierarchy_lm.batches import ProductBatch, SparseTargets
from hierarchy_lm.errors import UserError
from hierarchy_lm.metrics import LabelF1, LevelF1
from hierarchy_lm.training import EncoderTraining, TrainingData

PREDICTIONS = pa.schema([("labels", pa.list_(pa.string())), ("scores", pa.list_(pa.float32()))])
KEYS = pa.field("keys", pa.list_(pa.string()))


class LabelledData(TrainingData, Protocol):
    """What a model of labels asks of its DataModule.

    Attributes:
        num_labels: Number of distinct label ids.
    """

    num_labels: int


class EncoderModule(EncoderTraining):
    """A text encoder that learns labels.

    A subclass builds its head and its ``f1`` after ``super().__init__()``, calls
    ``save_hyperparameters`` and says what :meth:`loss` and :meth:`evaluate` are.
    """

    f1: LabelF1 | LevelF1

    @property
    @abstractmethod
    def label_names(self) -> list[str]:
        """Names of the labels, in the order of their ids."""

    @property
    def label_keys(self) -> Sequence[str | None] | None:
        """The shop's own keys of the labels that are nodes; None where labels are none."""
        return None

    @abstractmethod
    def evaluate(self, batch: ProductBatch) -> tuple[Tensor, SparseTargets]:
        """Mean loss, and the predicted pairs of documents and labels that the F1 counts."""

    @abstractmethod
    def loss(self, batch: ProductBatch) -> Tensor:
        """Mean loss over the documents of the batch."""

    @property
    def data(self) -> LabelledData:
        """The DataModule of the run."""
        return self.trainer.datamodule  # type: ignore[attr-defined, no-any-return]

    def setup(self, stage: str) -> None:
        """Check that the model fits the data's texts and labels.

        Raises:
            UserError: As the base class, or if the labels differ.
        """
        if self.data.num_labels != len(self.label_names):
            raise UserError(
                f"the data has {self.data.num_labels} labels, the model {len(self.label_names)}; "
                "each model has a DataModule of its own, see the table in docs/training.md"
            )
        super().setup(stage)

    def training_step(self, batch: ProductBatch, batch_idx: int) -> Tensor:
        """Mean loss over the global batch, whatever share of it this rank holds."""
        loss = self.loss(batch)
        self.log("train/loss", loss.detach(), prog_bar=True, batch_size=len(batch.rows))
        return loss * batch.loss_scale

    def validation_step(self, batch: ProductBatch, batch_idx: int) -> None:
        """Count a batch of the validation split."""
        self._count(batch, "val")

    def test_step(  # type: ignore[override]
        self, batch: ProductBatch, batch_idx: int
    ) -> SparseTargets:
        """Count a batch of the test split; returns what was predicted."""
        return self._count(batch, "test")

    def _count(self, batch: ProductBatch, stage: str) -> SparseTargets:
        loss, predicted = self.evaluate(batch)
        self.f1.update(predicted, batch.targets)
        self.mean_loss.update(loss, len(batch.rows))
        self.log(f"{stage}/loss", self.mean_loss, batch_size=len(batch.rows))
        return predicted

    def on_validation_epoch_end(self) -> None:
        """Log F1 over the whole split."""
        self._log_f1("val")

    def on_test_epoch_end(self) -> None:
        """Log F1 over the whole split."""
        self._log_f1("test")

    def _log_f1(self, stage: str) -> None:
        self._log_scores(self.f1, f"{stage}/")

    def _log_scores(self, metric: Metric, prefix: str) -> None:
        """Log what a metric of several scores has counted, and let it begin anew."""
        scores: dict[str, Tensor] = metric.compute()
        self.log_dict({f"{prefix}{name}": value for name, value in scores.items()})
        metric.reset()

    @property
    def prediction_schema(self) -> pa.Schema:
        """Columns of the predictions: names of the labels, their probabilities, keys of nodes."""
        return PREDICTIONS if self.label_keys is None else PREDICTIONS.append(KEYS)

    def prediction_columns(
        self, prediction: dict[str, Tensor], batch: ProductBatch
    ) -> list[pa.Array]:
        """A batch's predictions, given as sparse coordinates, as columns."""
        counts = torch.bincount(prediction["documents"], minlength=len(batch.rows)).cpu()
        ends = torch.cat([torch.zeros(1, dtype=torch.long), counts.cumsum(0)])
        offsets = pa.array(ends.numpy().astype("int32"))
        labels = pa.array(prediction["labels"].cpu().numpy())
        scores = pa.array(prediction["scores"].float().cpu().numpy())
        parts = [pa.array(self.label_names).take(labels), scores]
        if self.label_keys is not None:
            parts.append(pa.array(self.label_keys, pa.string()).take(labels))
        return [pa.ListArray.from_arrays(offsets, part) for part in parts]
