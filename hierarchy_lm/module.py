"""What all models have in common: a backbone, an optimiser, checkpoints that know their data."""

import os
from abc import abstractmethod
from dataclasses import asdict, is_dataclass
from typing import Any, Protocol

import pyarrow as pa
import torch
from lightning.pytorch import LightningModule
from torch import Tensor
from torch.optim.lr_scheduler import LambdaLR
from torchmetrics import MeanMetric

from hierarchy_lm.backbones import BackboneOptions, create_backbone
from hierarchy_lm.batches import ProductBatch, SparseTargets
from hierarchy_lm.errors import UserError
from hierarchy_lm.metrics import LabelF1, LevelF1
from hierarchy_lm.optimizers import OptimizerOptions, build_optimizer, build_schedule, restore_rates
from hierarchy_lm.vocabulary import load_vocabulary

PREDICTIONS = pa.schema([("labels", pa.list_(pa.string())), ("scores", pa.list_(pa.float32()))])


class TrainingData(Protocol):
    """What a model asks of its DataModule.

    Attributes:
        max_length: Longest text in tokens.
        num_segments: Segment ids in use.
        num_labels: Number of distinct label ids.
    """

    max_length: int
    num_segments: int
    num_labels: int

    @property
    def num_train_batches(self) -> int:
        """Batches of one epoch on one rank."""


class EncoderModule(LightningModule):
    """A text encoder in training.

    A subclass builds its head and its ``f1`` after ``super().__init__()``, calls
    ``save_hyperparameters`` and says what :meth:`loss` and :meth:`evaluate` are.

    Args:
        tokenizer: Folder or hub id of the tokenizer that the data was encoded with.
        backbone: The encoder.
        optimizer: AdamW and its schedule.
    """

    f1: LabelF1 | LevelF1

    def __init__(
        self, tokenizer: str, backbone: BackboneOptions, optimizer: OptimizerOptions
    ) -> None:
        super().__init__()
        vocabulary = load_vocabulary(tokenizer)
        self.tokenizer = tokenizer
        self.optimizer_options = optimizer
        self.backbone = create_backbone(backbone, vocabulary.size, vocabulary.special.pad)
        self.mean_loss = MeanMetric()
        self.fingerprints = {"tokenizer": vocabulary.fingerprint}

    @property
    @abstractmethod
    def label_names(self) -> list[str]:
        """Names of the labels, in the order of their ids."""

    @abstractmethod
    def evaluate(self, batch: ProductBatch) -> tuple[Tensor, Tensor | SparseTargets]:
        """Mean loss, and what the F1 counts: logits or predicted pairs."""

    @abstractmethod
    def loss(self, batch: ProductBatch) -> Tensor:
        """Mean loss over the documents of the batch."""

    @property
    def data(self) -> TrainingData:
        """The DataModule of the run."""
        return self.trainer.datamodule  # type: ignore[attr-defined, no-any-return]

    def setup(self, stage: str) -> None:
        """Check that the model fits the data's texts and labels.

        Raises:
            UserError: If the texts are too long or have too many segments, or the labels differ.
        """
        if self.data.num_labels != len(self.label_names):
            raise UserError(
                f"the data has {self.data.num_labels} labels, the model {len(self.label_names)}; "
                "each model has a DataModule of its own, see the table in docs/training.md"
            )
        if self.data.max_length > self.backbone.max_length:
            raise UserError(
                f"data.text.max_length is {self.data.max_length}, but the backbone reads at most "
                f"{self.backbone.max_length} tokens; lower it"
            )
        # 0 segments: the encoder, ModernBERT say, ignores them.
        if 0 < self.backbone.num_segments < self.data.num_segments:
            raise UserError(
                f"the texts have {self.data.num_segments} segments, the backbone knows "
                f"{self.backbone.num_segments}; set model.backbone.num_segments"
            )

    def on_train_start(self) -> None:
        """Flags win over a checkpoint: its optimiser state carries the rates it was saved with."""
        schedule = self.lr_schedulers()
        assert isinstance(schedule, LambdaLR)
        restore_rates(schedule, self._configured)

    def on_train_batch_start(self, batch: ProductBatch, batch_idx: int) -> None:
        """Seed dropout from (seed, epoch, step, rank), so that a resumed run draws the same."""
        seed = int(os.environ.get("PL_GLOBAL_SEED", "0"))
        parts = (seed, self.current_epoch, batch_idx, self.global_rank)
        torch.manual_seed(hash(parts))  # a hash of integers is the same in every process

    def training_step(self, batch: ProductBatch, batch_idx: int) -> Tensor:
        """Mean loss over the global batch, whatever share of it this rank holds."""
        loss = self.loss(batch)
        self.log("train/loss", loss.detach(), prog_bar=True, batch_size=len(batch.rows))
        return loss * batch.loss_scale

    def validation_step(self, batch: ProductBatch, batch_idx: int) -> None:
        """Count a batch of the validation split."""
        self._count(batch, "val")

    def test_step(self, batch: ProductBatch, batch_idx: int) -> None:
        """Count a batch of the test split."""
        self._count(batch, "test")

    def _count(self, batch: ProductBatch, stage: str) -> None:
        loss, predicted = self.evaluate(batch)
        self.f1.update(predicted, batch.targets)
        self.mean_loss.update(loss, len(batch.rows))
        self.log(f"{stage}/loss", self.mean_loss, batch_size=len(batch.rows))

    def on_validation_epoch_end(self) -> None:
        """Log F1 over the whole split."""
        self._log_f1("val")

    def on_test_epoch_end(self) -> None:
        """Log F1 over the whole split."""
        self._log_f1("test")

    def _log_f1(self, stage: str) -> None:
        scores = self.f1.compute()
        self.log_dict({f"{stage}/{name}": value for name, value in scores.items()})
        self.f1.reset()

    @property
    def prediction_schema(self) -> pa.Schema:
        """Columns of the predictions: names of the labels, and their probabilities."""
        return PREDICTIONS

    def prediction_columns(
        self, prediction: dict[str, Tensor], batch: ProductBatch
    ) -> list[pa.Array]:
        """A batch's predictions, given as sparse coordinates, as columns."""
        counts = torch.bincount(prediction["documents"], minlength=len(batch.rows)).cpu()
        ends = torch.cat([torch.zeros(1, dtype=torch.long), counts.cumsum(0)])
        offsets = pa.array(ends.numpy().astype("int32"))
        names = pa.array(self.label_names).take(pa.array(prediction["labels"].cpu().numpy()))
        scores = pa.array(prediction["scores"].float().cpu().numpy())
        return [pa.ListArray.from_arrays(offsets, part) for part in (names, scores)]

    def configure_optimizers(self) -> Any:  # noqa: ANN401  (Lightning's union of many forms)
        """AdamW and a schedule that moves with every optimiser step."""
        # With a gradient scaler the fused kernel unscales by itself, too late for clipping.
        fused = self.trainer.precision not in ("16-mixed", "16")
        optimizer = build_optimizer(self.backbone, self, self.optimizer_options, fused)
        self._configured = [
            {name: group[name] for name in ("lr", "weight_decay", "eps")}
            for group in optimizer.param_groups
        ]
        schedule = build_schedule(optimizer, self.optimizer_options, self._total_steps())
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": schedule, "interval": "step"},
        }

    def _total_steps(self) -> int:
        # Not trainer.estimated_stepping_batches: it starts the loaders before a resumed run knows
        # where it stopped.
        trainer = self.trainer
        steps = -(-self.data.num_train_batches // trainer.accumulate_grad_batches)
        limits = [trainer.max_steps, steps * (trainer.max_epochs or 0)]
        limits = [limit for limit in limits if limit > 0]  # -1: no limit
        if not limits:
            raise UserError(
                "the schedule needs the number of steps; set trainer.max_epochs or max_steps"
            )
        return min(limits)

    def configure_gradient_clipping(
        self,
        optimizer: torch.optim.Optimizer,
        gradient_clip_val: int | float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Clip by norm or value; Lightning's own way refuses a fused optimiser under bf16."""
        if gradient_clip_val and gradient_clip_algorithm == "value":
            torch.nn.utils.clip_grad_value_(self.parameters(), gradient_clip_val)
        elif gradient_clip_val:
            torch.nn.utils.clip_grad_norm_(self.parameters(), gradient_clip_val)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add what rebuilds the encoder and what it may be used with, as plain data."""
        checkpoint["hyper_parameters"] = _plain(dict(checkpoint.get("hyper_parameters", {})))
        checkpoint["encoder_config"] = self.backbone.config_dict
        checkpoint["fingerprints"] = dict(self.fingerprints)
        checkpoint["model_class"] = type(self).__name__
        checkpoint["max_length"] = self.data.max_length

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Refuse a checkpoint of another tree, tokenizer, task or size.

        Raises:
            UserError: Naming what differs.
        """
        for what, expected in self.fingerprints.items():
            found = checkpoint.get("fingerprints", {}).get(what)
            if found != expected:
                raise UserError(
                    f"checkpoint: made with another {what} (fingerprint {str(found)[:12]}) than "
                    f"this run's (fingerprint {expected[:12]}); use the dataset and backbone it "
                    "was trained with"
                )
        found, own = _shapes(checkpoint["state_dict"]), _shapes(self.state_dict())
        differing = sorted(name for name in found.keys() | own if found.get(name) != own.get(name))
        if differing:
            raise UserError(
                f"checkpoint: {len(differing)} weights do not fit the model, the first is "
                f"'{differing[0]}'; use the options of its run (config.yaml there)"
            )


def _shapes(state: dict[str, Tensor]) -> dict[str, torch.Size]:
    return {name: value.shape for name, value in state.items()}


def _plain(value: Any) -> Any:  # noqa: ANN401  (any nesting of plain data)
    """Dataclasses to dictionaries, so that ``torch.load(weights_only=True)`` accepts the file."""
    if is_dataclass(value) and not isinstance(value, type):
        return _plain(asdict(value))
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items() if key != "_instantiator"}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value
