"""Sequences that are more than a text: embeddings, positions and who may attend to whom."""

from typing import NamedTuple

from torch import Tensor


class EmbeddedTokens(NamedTuple):
    """B sequences for :meth:`Backbone.encode`, in which labels or prompts stand beside words.

    Shape:
        - embeddings: ``(B, S, E)``, E the width of the word embeddings (128 for ALBERT); position
          and segment are added by the encoder
        - mask: bool, True where a token may be attended to: ``(B, S)`` for all queries alike, or
          ``(B, S, S)`` with a row for each query, every row at least one True
        - positions: ``(B, S)`` or ``(1, S)`` int64 from 0 on, as a text's are
        - segments: ``(B, S)`` or ``(1, S)`` int64
    """

    embeddings: Tensor
    mask: Tensor
    positions: Tensor
    segments: Tensor
