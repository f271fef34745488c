"""Fine-tuning with the level tokens of HPT or HBGL behind the text (SST, Table V)."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from hierarchy_lm.backbones import Backbone
from hierarchy_lm.backbones.appended import AppendedTokens, append_tokens
from hierarchy_lm.backbones.level_tokens import LevelTokens
from hierarchy_lm.batches import TokenBatch
from hierarchy_lm.errors import UserError
from hierarchy_lm.nn.output_transformer import OutputTransformer

Readout = Literal["none", "cls", "transformer"]
NodeAttention = Literal["full", "pretrain"]


@dataclass(frozen=True)
class LevelTokenOptions:
    """The level tokens of an HPT or HBGL pre-training, taken up again in fine-tuning.

    Attributes:
        readout: ``none`` leaves them away: the text alone. With ``cls`` they stand behind the text
            and [CLS] is read as ever; ``transformer`` reads a second small transformer over [CLS]
            and their outputs.
        attention: ``full``: text and level tokens all see each other (Fig. 5). ``pretrain``: as in
            the pre-training; under HBGL the text sees none of them, and each sees the text and
            itself.
        num_layers: Depth of the second transformer.
        dropout: Inside it.
    """

    readout: Readout = "none"
    attention: NodeAttention = "full"
    num_layers: int = 2
    dropout: float = 0.1

    def __post_init__(self) -> None:
        if self.num_layers < 1:
            raise ValueError(f"level_tokens.num_layers must be at least 1, got {self.num_layers}")


class LevelTokenReader(nn.Module):
    """From documents to the vectors that a task's head classifies, by way of level tokens.

    Args:
        tokens: Of the pre-training; their vectors are trained on.
        backbone: The encoder that they were trained with.
        options: How they are read.

    Shape:
        - output: ``(B, k)``

    Raises:
        UserError: If the tokens are those of another encoder, or nothing would depend on them.
    """

    offsets: Tensor
    read: Tensor

    def __init__(self, tokens: LevelTokens, backbone: Backbone, options: LevelTokenOptions) -> None:
        super().__init__()
        width = backbone.word_embeddings.shape[1]
        if tokens.embeddings.shape[1] != width:
            raise UserError(
                f"model.level_tokens: their width is {tokens.embeddings.shape[1]}, that of the "
                f"encoder's words {width}; take both from the same run"
            )
        self.apart = tokens.apart and options.attention == "pretrain"
        if self.apart and options.readout == "cls":
            raise UserError(
                "model.level_tokens: under attention pretrain [CLS] does not see them; set readout "
                "to transformer or attention to full"
            )
        self.embeddings = nn.Parameter(tokens.embeddings.clone())
        self.register_buffer("offsets", tokens.offsets)
        self.register_buffer("read", tokens.read)
        self.segment, self.keep_sep = tokens.segment, tokens.keep_sep
        self.summary: OutputTransformer | None = None
        if options.readout == "transformer":
            self.summary = OutputTransformer(
                len(tokens.read), backbone.hidden_size, options.num_layers, options.dropout
            )

    @property
    def positions(self) -> int:
        """How many positions a text needs beyond its own."""
        return int(self.offsets.max()) + 1 - (not self.keep_sep)

    def forward(self, backbone: Backbone, tokens: TokenBatch) -> Tensor:
        """Encode texts with the level tokens behind them."""
        appended = append_tokens(
            tokens,
            backbone.word_embeddings,
            self.embeddings,
            keep_sep=self.keep_sep,
            offsets=self.offsets,
            segment=self.segment,
        )
        if self.apart:
            appended = _set_apart(appended)
        states = backbone.encode(appended.tokens)
        if self.summary is None:
            return states[:, 0]
        outputs = appended.states_at(states, self.read)
        summary: Tensor = self.summary(torch.cat([states[:, :1], outputs], dim=1))
        return summary


def _set_apart(appended: AppendedTokens) -> AppendedTokens:
    """A mask with which each appended token is seen by itself alone."""
    tokens = appended.tokens
    of_tail = torch.zeros_like(tokens.mask).scatter(1, appended.places, True)
    itself = torch.eye(tokens.mask.shape[1], dtype=torch.bool, device=tokens.mask.device)
    mask = (tokens.mask & ~of_tail).unsqueeze(1) | (itself & of_tail.unsqueeze(1))
    return appended._replace(tokens=tokens._replace(mask=mask))
