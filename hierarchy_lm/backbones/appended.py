"""Texts with the same vectors behind each of them: prompts, or masks for the levels of a tree."""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from hierarchy_lm.backbones.embedded import EmbeddedTokens
from hierarchy_lm.batches import TokenBatch


class AppendedTokens(NamedTuple):
    """Texts and what was put behind them.

    Attributes:
        tokens: For :meth:`Backbone.encode`; all tokens may attend to all.
        places: ``(B, S)`` where in its sequence each of the S vectors stands.
    """

    tokens: EmbeddedTokens
    places: Tensor

    def states_at(self, states: Tensor, which: Tensor) -> Tensor:
        """Hidden states ``(B, L, k)`` of L of the S vectors, out of all ``(B, T + S, k)``."""
        places = self.places[:, which]
        return states.gather(1, places.unsqueeze(2).expand(-1, -1, states.shape[2]))


def append_tokens(
    tokens: TokenBatch,
    table: Tensor,
    tail: Tensor,
    *,
    keep_sep: bool,
    offsets: Tensor | None = None,
    segment: int = 0,
) -> AppendedTokens:
    """Put S vectors, at least one, right behind the last token of each text, however long it is.

    Padding stands behind them, so that the order of a sequence is that of its positions.

    Args:
        tokens: The texts, the last token of each [SEP].
        table: Word embeddings ``(V, E)``.
        tail: The vectors.
        keep_sep: Keep the text's last [SEP] before them.
        offsets: Position of each vector, counted from the end of the text; by default 0, 1, 2 ...
        segment: Of the vectors; the words keep theirs.

    Shape:
        - tail: ``(S, E)``
        - offsets: ``(S,)`` int64
    """
    count, device, cut = len(tail), tokens.input_ids.device, int(not keep_sep)
    lengths = tokens.attention_mask.sum(dim=1, keepdim=True) - cut
    places = lengths + torch.arange(count, device=device)
    behind = places if offsets is None else lengths + offsets
    words = F.pad(F.embedding(tokens.input_ids, table), (0, 0, 0, count - cut))
    batch, total, width = words.shape
    index = places.unsqueeze(2).expand(-1, -1, width)
    rows = torch.arange(total, device=device).expand(batch, -1)
    mask = rows < lengths + count
    embedded = EmbeddedTokens(
        words.scatter(1, index, tail.to(words.dtype).expand(batch, -1, -1)),
        mask,
        rows.scatter(1, places, behind).masked_fill(~mask, 0),
        F.pad(tokens.token_type_ids, (0, count - cut)).scatter(1, places, segment),
    )
    return AppendedTokens(embedded, places)
