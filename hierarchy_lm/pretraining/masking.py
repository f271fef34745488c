"""Which tokens are masked, as a pure function of seed, epoch, row and position."""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from hierarchy_lm.batches import TokenBatch
from hierarchy_lm.pretraining.draws import mix, random_bits, uniform
from hierarchy_lm.vocabulary import Vocabulary

WORD_STARTS = ("▁", "Ġ")
"""How SentencePiece and byte-level BPE mark the first piece of a word."""


@dataclass(frozen=True)
class MaskingOptions:
    """Which tokens are to be predicted, and what the encoder sees in their place.

    Attributes:
        share: Share of the tokens that are chosen, each by itself. Special tokens never are.
        mask: Share of the chosen that become [MASK].
        random: Share of the chosen that become a random ordinary token; the rest stay as they are.
        whole_words: Choose all pieces of a word or none.
    """

    share: float = 0.15
    mask: float = 0.8
    random: float = 0.1
    whole_words: bool = False

    def __post_init__(self) -> None:
        if not 0 < self.share < 1:
            raise ValueError(f"masking.share must be between 0 and 1, got {self.share}")
        if min(self.mask, self.random) < 0 or self.mask + self.random > 1:
            raise ValueError(
                f"masking.mask and masking.random are shares of the chosen tokens and sum to at "
                f"most 1, got {self.mask} and {self.random}"
            )


class MaskedTokens(NamedTuple):
    """Documents with some tokens hidden.

    Attributes:
        tokens: What the encoder sees.
        chosen: ``(B, T)`` bool, where the original tokens are to be predicted.
    """

    tokens: TokenBatch
    chosen: Tensor


class TokenMasking(nn.Module):
    """Chooses and replaces tokens (Devlin et al., 2019, Section 3.1).

    Each token is chosen independently, so that documents of any length give the same share; of a
    chosen word each piece is replaced by itself, as in BERT's whole-word masking.

    Args:
        vocabulary: The tokenizer.
        options: Shares.

    Raises:
        UserError: If the tokenizer has no [MASK].
    """

    special: Tensor
    continues: Tensor
    ordinary: Tensor

    def __init__(self, vocabulary: Vocabulary, options: MaskingOptions) -> None:
        super().__init__()
        self.options = options
        self.mask_id = vocabulary.mask_for("MLM")
        special = torch.zeros(vocabulary.size, dtype=torch.bool)
        special[list(vocabulary.special_ids)] = True
        known = torch.tensor(sorted(vocabulary.tokenizer.get_vocab().values()))
        self.register_buffer("special", special, persistent=False)
        self.register_buffer("continues", continuation_pieces(vocabulary), persistent=False)
        self.register_buffer("ordinary", known[~special[known]], persistent=False)

    def forward(self, tokens: TokenBatch, rows: Tensor, seed: int, epoch: int) -> MaskedTokens:
        """Mask documents.

        Args:
            tokens: The documents.
            rows: ``(B,)`` row numbers of the documents in their split.
            seed: Of the run.
            epoch: Each has masks of its own; a constant one gives fixed masks.
        """
        ids = tokens.input_ids
        eligible = (tokens.attention_mask > 0) & ~self.special[ids]
        bits = random_bits(rows, ids.shape[1], seed, epoch)
        chosen = eligible & (uniform(self._of_words(bits, ids, eligible)) < self.options.share)
        more = mix(bits)
        action = uniform(more)
        masked = chosen & (action < self.options.mask)
        replaced = chosen & ~masked & (action < self.options.mask + self.options.random)
        random = self.ordinary[(mix(more) & 0x7FFFFFFF) % len(self.ordinary)]
        seen = torch.where(replaced, random, ids.masked_fill(masked, self.mask_id))
        return MaskedTokens(tokens._replace(input_ids=seen), chosen)

    def _of_words(self, bits: Tensor, ids: Tensor, eligible: Tensor) -> Tensor:
        """Give all pieces of a word the draw of its first, if whole words are asked for."""
        if not self.options.whole_words:
            return bits
        after_word = torch.zeros_like(eligible)
        after_word[:, 1:] = eligible[:, :-1]
        inside = self.continues[ids] & after_word
        places = torch.arange(ids.shape[1], device=ids.device)
        first = places.masked_fill(inside, 0).cummax(dim=1).values
        return bits.gather(1, first)


def continuation_pieces(vocabulary: Vocabulary) -> Tensor:
    """Which ids continue the word of the token before, ``(V,)`` bool.

    WordPiece marks them (``##``); other tokenizers mark the first piece of a word instead.
    """
    pieces = vocabulary.tokenizer.get_vocab()
    prefix = getattr(vocabulary.tokenizer.model, "continuing_subword_prefix", None)
    marks_starts = any(piece.startswith(WORD_STARTS) for piece in pieces)
    continues = torch.zeros(vocabulary.size, dtype=torch.bool)
    for piece, number in pieces.items():
        if prefix:
            continues[number] = piece.startswith(prefix)
        elif marks_starts:
            continues[number] = not piece.startswith(WORD_STARTS)
    return continues
