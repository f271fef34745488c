"""HBGL's sequence: a text, the label vectors of each step, and a mask per step (UniLM's masks)."""

import torch
from torch import Tensor
from torch.nn import functional as F

from hierarchy_lm.backbones import Backbone, EmbeddedTokens
from hierarchy_lm.batches import TokenBatch

SEGMENT = 1
"""Of everything that is not text."""


def text_tokens(backbone: Backbone, tokens: TokenBatch) -> EmbeddedTokens:
    """The text as :meth:`Backbone.forward` reads it; it attends to itself alone.

    Shape:
        - output.mask: ``(B, T)``
    """
    words = F.embedding(tokens.input_ids, backbone.word_embeddings)
    positions = torch.arange(words.shape[1], device=words.device)[None]
    return EmbeddedTokens(words, tokens.attention_mask > 0, positions, tokens.token_type_ids)


def label_tokens(
    true: Tensor, mask: Tensor, text: EmbeddedTokens, earlier: int = 0, asked: int = 0
) -> EmbeddedTokens:
    """True blocks and masked blocks of some steps in a row, to stand behind a text.

    A true block attends to the text, to those of the steps before and to itself; a masked block to
    the text, to the true blocks of the steps before and to itself. Both of a step have one
    position, counted on from the text's last token.

    The true block of the last step and the stop symbols inside true blocks are left out: no masked
    block that carries a loss attends to them.

    Args:
        true: Sums of the label vectors of the steps but the last.
        mask: The embedding of [MASK].
        text: What stands before.
        earlier: True blocks between the text and these, in a cache.
        asked: First of these steps to have a masked block.

    Shape:
        - true: ``(B, S - 1, E)``
        - mask: ``(E,)``
        - output: the S - 1 true blocks, then S - asked masked ones; its mask has columns for the
          text's T tokens, the earlier blocks and these
    """
    batch_size, blocks, width = true.shape
    before = torch.arange(blocks, device=true.device)
    masked = torch.arange(asked, blocks + 1, device=true.device)
    hidden = mask.to(true.dtype).expand(batch_size, len(masked), width)
    seen = F.pad(text.mask, (0, earlier), value=True)[:, None, :]
    among = torch.cat(
        [
            F.pad(before <= before[:, None], (0, len(masked))),
            torch.cat([before < masked[:, None], masked == masked[:, None]], dim=1),
        ]
    )
    count = len(among)
    allowed = [seen.expand(-1, count, -1), among.expand(batch_size, -1, -1)]
    positions = text.mask.sum(dim=1, keepdim=True) + earlier + torch.cat([before, masked])
    return EmbeddedTokens(
        torch.cat([true, hidden], dim=1),
        torch.cat(allowed, dim=2),
        positions,
        torch.full((1, count), SEGMENT, device=true.device),
    )


def behind(text: EmbeddedTokens, labels: EmbeddedTokens) -> EmbeddedTokens:
    """A text and its label blocks as one sequence, in which no text token sees a label."""
    batch_size, length = text.mask.shape
    count = labels.embeddings.shape[1]
    words = F.pad(text.mask, (0, count))[:, None, :].expand(-1, length, -1)
    return EmbeddedTokens(
        torch.cat([text.embeddings, labels.embeddings], dim=1),
        torch.cat([words, labels.mask], dim=1),
        torch.cat([text.positions.expand(batch_size, -1), labels.positions], dim=1),
        torch.cat([text.segments, labels.segments.expand(batch_size, -1)], dim=1),
    )
