"""Training a backbone, whatever it learns: optimiser, checkpoints that know their data."""

import os
from dataclasses import asdict, is_dataclass
from typing import Any, Protocol

import torch
from lightning.pytorch import LightningModule
from torch import Tensor
from torch.optim.lr_scheduler import LambdaLR
from torchmetrics import MeanMetric

from hierarchy_lm.backbones import Backbone, BackboneOptions, create_backbone
from hierarchy_lm.batches import ProductBatch
from hierarchy_lm.errors import UserError
from hierarchy_lm.optimizers import OptimizerOptions, build_optimizer, build_schedule, restore_rates
from hierarchy_lm.vocabulary import load_vocabulary


class TextData(Protocol):
    """What an encoder asks of its DataModule.

    Attributes:
        max_length: Longest text in tokens.
        num_segments: Segment ids in use.
    """

    max_length: int
    num_segments: int


class TrainingData(TextData, Protocol):
    """What a model in training asks of its DataModule."""

    @property
    def num_train_batches(self) -> int:
        """Batches of one epoch on one rank."""


class EncoderTraining(LightningModule):
    """A text encoder in training.

    A subclass builds its head after ``super().__init__()``, calls ``save_hyperparameters`` and has
    the steps of training and evaluation.

    Args:
        tokenizer: Folder or hub id of the tokenizer that the data was encoded with.
        backbone: The encoder.
        optimizer: AdamW and its schedule.
    """

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
    def data(self) -> TrainingData:
        """The DataModule of the run."""
        return self.trainer.datamodule  # type: ignore[attr-defined, no-any-return]

    @property
    def run_seed(self) -> int:
        """What ``seed_everything`` is, from which all draws of the run follow."""
        return int(os.environ.get("PL_GLOBAL_SEED", "0"))

    def setup(self, stage: str) -> None:
        """Check that the model fits the data's texts.

        Raises:
            UserError: If the texts are too long or have too many segments.
        """
        check_texts(self.backbone, self.data)

    def on_train_start(self) -> None:
        """Flags win over a checkpoint: its optimiser state carries the rates it was saved with."""
        schedule = self.lr_schedulers()
        assert isinstance(schedule, LambdaLR)
        restore_rates(schedule, self._configured)

    def on_train_batch_start(self, batch: ProductBatch, batch_idx: int) -> None:
        """Seed dropout from (seed, epoch, step, rank), so that a resumed run draws the same."""
        parts = (self.run_seed, self.current_epoch, batch_idx, self.global_rank)
        torch.manual_seed(hash(parts))  # a hash of integers is the same in every process

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


def check_texts(backbone: Backbone, data: TextData) -> None:
    """Check that an encoder can read a DataModule's texts.

    Raises:
        UserError: If they are too long or have too many segments.
    """
    if data.max_length > backbone.max_length:
        raise UserError(
            f"data.text.max_length is {data.max_length}, but the backbone reads at most "
            f"{backbone.max_length} tokens; lower it"
        )
    # 0 segments: the encoder, ModernBERT say, ignores them.
    if 0 < backbone.num_segments < data.num_segments:
        raise UserError(
            f"the texts have {data.num_segments} segments, the backbone knows "
            f"{backbone.num_segments}; set model.backbone.num_segments"
        )


def check_room(backbone: Backbone, data: TextData, extra: int, what: str) -> None:
    """Check that a DataModule's texts leave an encoder room for tokens of the model's own.

    Raises:
        UserError: If they do not.
    """
    if data.max_length + extra > backbone.max_length:
        raise UserError(
            f"data.text.max_length is {data.max_length} and the {what} take {extra} tokens more, "
            f"but the backbone reads at most {backbone.max_length}; set it to at most "
            f"{backbone.max_length - extra}"
        )


def check_token_states(backbone: Backbone, method: str, name: str) -> None:
    """Check that an encoder gives every token a state of its own.

    Args:
        backbone: The encoder.
        method: What needs them, for the message.
        name: The encoder's.

    Raises:
        UserError: If it does not.
    """
    if not backbone.has_token_states:
        raise UserError(
            f"{method}: the backbone '{name}' has no states of single tokens; use a transformer"
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
