"""Masked language modelling: the stage before all hierarchy pre-training (SST, Section V-C)."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F
from torchmetrics import MeanMetric

from hierarchy_lm.backbones import BackboneOptions
from hierarchy_lm.batches import ProductBatch
from hierarchy_lm.errors import UserError
from hierarchy_lm.nn import MLMHead
from hierarchy_lm.optimizers import OptimizerOptions
from hierarchy_lm.precision import at_least_float32
from hierarchy_lm.pretraining.masking import MaskingOptions, TokenMasking
from hierarchy_lm.training import EncoderTraining, check_token_states
from hierarchy_lm.vocabulary import load_vocabulary

EVALUATION = -1
"""In place of the epoch: evaluation has the same masks always, whatever the seed of the run."""


class Guesses(NamedTuple):
    """What a model makes of the M chosen tokens of a batch.

    Attributes:
        loss: Cross entropy summed over them.
        hits: How many it finds.
        chosen: M.
    """

    loss: Tensor
    hits: Tensor
    chosen: int


def guesses_of(logits: Tensor, wanted: Tensor) -> Guesses:
    """Predict M words.

    Args:
        logits: ``(M, V)``.
        wanted: ``(M,)`` ids of what was there.
    """
    logits = at_least_float32(logits)
    loss = F.cross_entropy(logits, wanted, reduction="sum")
    return Guesses(loss, (logits.argmax(dim=1) == wanted).sum(), len(wanted))


def global_mean(guesses: Guesses, batch: ProductBatch, module: EncoderTraining) -> Tensor:
    """Mean loss over the chosen tokens of the global batch.

    Ranks choose different numbers of tokens: each one's sum is divided by the mean number over
    ranks, so that DDP's average is the mean over all of them.
    """
    repeated = batch.loss_scale == 0  # a document that only keeps the rank in step
    count = torch.tensor(0.0 if repeated else guesses.chosen, device=module.device)
    total = module.trainer.strategy.reduce(count, reduce_op="mean").clamp(min=1e-9)
    return guesses.loss * (not repeated) / total


class MLMPretrainer(EncoderTraining):
    """Pre-train ``backbone`` to find masked tokens (Devlin et al., 2019), without sentence pairs.

    Only the chosen positions pass the vocabulary head. Later stages take the backbone alone.

    Args:
        tokenizer: Folder or hub id of the tokenizer; the command line takes it from the backbone.
        backbone: The encoder.
        masking: Which tokens are chosen, and what stands in their place.
        optimizer: AdamW and its schedule.

    Raises:
        UserError: If the backbone has no states of single tokens, or the tokenizer no [MASK].
    """

    def __init__(
        self,
        tokenizer: str,
        backbone: BackboneOptions = BackboneOptions(),
        masking: MaskingOptions = MaskingOptions(),
        optimizer: OptimizerOptions = OptimizerOptions(),
    ) -> None:
        super().__init__(tokenizer, backbone, optimizer)
        self.save_hyperparameters(logger=False)
        check_token_states(self.backbone, "MLM", backbone.name)
        self.masking = TokenMasking(load_vocabulary(tokenizer), masking)
        rows, width = self.backbone.word_embeddings.shape
        self.head = MLMHead(self.backbone.hidden_size, width, rows)
        self.accuracy = MeanMetric()

    @classmethod
    def best_by(cls, options: Mapping[str, Any]) -> tuple[str, str]:
        """The best checkpoint's metric and mode: there are no labels to count F1 of."""
        return "val/loss", "min"

    def setup(self, stage: str) -> None:
        """Check that the model fits the data's texts.

        Raises:
            UserError: As the base class, or for ``hlm predict``.
        """
        super().setup(stage)
        if stage == "predict":
            raise UserError(
                "MLMPretrainer has nothing to predict; `hlm embed` writes its encoder's embeddings"
            )

    def predict_step(self, batch: ProductBatch, batch_idx: int) -> None:
        """Nothing, but Lightning asks for it before :meth:`setup` can refuse."""

    def guess(self, batch: ProductBatch, seed: int, epoch: int) -> Guesses:
        """Mask a batch and predict what was there."""
        masked = self.masking(batch.tokens, batch.rows, seed, epoch)
        states = self.backbone.hidden_states(masked.tokens)[masked.chosen]
        wanted = batch.tokens.input_ids[masked.chosen]
        return guesses_of(self.head(states, self.backbone.word_embeddings), wanted)

    def training_step(self, batch: ProductBatch, batch_idx: int) -> Tensor:
        """Mean loss over the chosen tokens of the global batch."""
        guesses = self.guess(batch, self.run_seed, self.current_epoch)
        mean = guesses.loss.detach() / max(1, guesses.chosen)
        self.log("train/loss", mean, prog_bar=True, batch_size=len(batch.rows))
        return global_mean(guesses, batch, self)

    def validation_step(self, batch: ProductBatch, batch_idx: int) -> None:
        """Count a batch of the validation split."""
        self._count(batch, "val")

    def test_step(self, batch: ProductBatch, batch_idx: int) -> None:
        """Count a batch of the test split."""
        self._count(batch, "test")

    def _count(self, batch: ProductBatch, stage: str) -> None:
        guesses = self.guess(batch, seed=0, epoch=EVALUATION)
        count = max(1, guesses.chosen)
        self.mean_loss.update(guesses.loss / count, guesses.chosen)
        self.accuracy.update(guesses.hits / count, guesses.chosen)
        scores = {f"{stage}/loss": self.mean_loss, f"{stage}/accuracy": self.accuracy}
        self.log_dict(scores, batch_size=len(batch.rows))

    def on_validation_epoch_end(self) -> None:
        """Log the perplexity over the whole split."""
        self.log("val/perplexity", self.mean_loss.compute().exp())

    def on_test_epoch_end(self) -> None:
        """Log the perplexity over the whole split."""
        self.log("test/perplexity", self.mean_loss.compute().exp())
