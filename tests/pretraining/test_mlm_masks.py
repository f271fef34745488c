"""Which tokens are masked: shares, what is never touched, and what the draw depends on."""

import dataclasses

import numpy as np
import pytest
import torch
from tokenizers import models

from hierarchy_lm.batches import TokenBatch
from hierarchy_lm.errors import UserError
from hierarchy_lm.pretraining.masking import (
    MaskingOptions,
    TokenMasking,
    continuation_pieces,
    random_bits,
)
from hierarchy_lm.vocabulary import load_vocabulary

from .conftest import CLS, FIRST_PIECE, FIRST_WORD, MASK, PAD, SEP, SIZE, UNK, write_tokenizer

MANY = range(2000)


def sigmas(found: int, trials: int, share: float) -> float:
    """How far a count is from its expectation, in standard deviations."""
    return abs(found - trials * share) / np.sqrt(trials * share * (1 - share))


@pytest.fixture
def documents(make_documents):
    return make_documents(list(MANY))


@pytest.mark.parametrize(
    "options", [MaskingOptions(), MaskingOptions(0.3, 0.5, 0.25), MaskingOptions(whole_words=True)]
)
def test_shares_are_those_asked_for(wordpiece, documents, options):
    masked = TokenMasking(wordpiece, options)(documents.tokens, documents.rows, 0, 0)
    original, seen = documents.tokens.input_ids, masked.tokens.input_ids
    ordinary = original >= FIRST_WORD
    chosen = masked.chosen
    number = int(chosen.sum())
    # Pieces of a word are chosen together, which widens the distribution by the words' length.
    wide = 2 if options.whole_words else 1
    assert sigmas(number, int(ordinary.sum()), options.share) < 4 * wide
    assert sigmas(int((seen[chosen] == MASK).sum()), number, options.mask) < 4
    other = (seen != original) & (seen != MASK)
    changed = options.random * (1 - 1 / (SIZE - FIRST_WORD))  # a random token may be the same one
    assert sigmas(int(other.sum()), number, changed) < 4
    assert torch.equal(seen[~chosen], original[~chosen])


def test_random_tokens_are_all_ordinary_ones_alike(wordpiece, documents):
    options = MaskingOptions(0.9, 0.0, 1.0)
    masked = TokenMasking(wordpiece, options)(documents.tokens, documents.rows, 0, 0)
    drawn = torch.bincount(masked.tokens.input_ids[masked.chosen], minlength=SIZE)
    assert drawn[:FIRST_WORD].sum() == 0
    worst = max(sigmas(int(n), int(drawn.sum()), 1 / 35) for n in drawn[FIRST_WORD:])
    assert worst < 4


def test_special_tokens_and_padding_are_never_chosen(wordpiece):
    ids = torch.tensor([[CLS, UNK, 7, MASK, SEP, 8, SEP, PAD, PAD]]).expand(3000, -1)
    tokens = TokenBatch(ids, torch.zeros_like(ids), (ids != PAD).long())
    masked = TokenMasking(wordpiece, MaskingOptions(0.9))(tokens, torch.arange(3000), 0, 0)
    assert masked.chosen.any(dim=0).tolist() == [n in (2, 5) for n in range(9)]
    assert masked.tokens.attention_mask is tokens.attention_mask


def test_padding_is_told_by_the_attention_mask(wordpiece):
    """Some tokenizers pad with a token that also occurs in texts."""
    ids = torch.full((500, 4), 9)
    attention = torch.tensor([[1, 1, 0, 0]]).expand(500, -1)
    tokens = TokenBatch(ids, torch.zeros_like(ids), attention)
    masked = TokenMasking(wordpiece, MaskingOptions(0.9))(tokens, torch.arange(500), 0, 0)
    assert masked.chosen.any(dim=0).tolist() == [True, True, False, False]


def test_masks_do_not_depend_on_the_batch(wordpiece, make_documents):
    masking = TokenMasking(wordpiece, MaskingOptions(whole_words=True))
    whole = make_documents([3, 1, 4, 15, 9, 26])
    together = masking(whole.tokens, whole.rows, 7, 2)
    for place, row in enumerate(whole.rows.tolist()):
        alone = make_documents([row])
        masked = masking(alone.tokens, alone.rows, 7, 2)
        length = alone.tokens.input_ids.shape[1]
        assert torch.equal(masked.chosen[0], together.chosen[place, :length])
        assert torch.equal(masked.tokens.input_ids[0], together.tokens.input_ids[place, :length])


@pytest.mark.parametrize("other", [{"seed": 1, "epoch": 0}, {"seed": 0, "epoch": 1}])
def test_another_epoch_or_seed_has_independent_masks(wordpiece, documents, other):
    masking = TokenMasking(wordpiece, MaskingOptions(0.3))
    first = masking(documents.tokens, documents.rows, seed=0, epoch=0).chosen
    second = masking(documents.tokens, documents.rows, **other).chosen
    trials = int((documents.tokens.input_ids >= FIRST_WORD).sum())
    assert sigmas(int((first & second).sum()), trials, 0.3 * 0.3) < 4


def test_neighbouring_rows_and_positions_are_independent():
    bits = random_bits(torch.arange(1000), 100, seed=0, epoch=0)
    ones = (bits > 0).double()  # the sign bit
    trials = 100 * 999
    assert sigmas(int((ones[1:] * ones[:-1]).sum()), trials, 0.25) < 4
    assert sigmas(int((ones[:, 1:] * ones[:, :-1]).sum()), 1000 * 99, 0.25) < 4
    assert len(bits.unique()) == bits.numel()


def splitmix64(state: int) -> int:
    """The published generator, in Python's integers."""
    size = (1 << 64) - 1
    z = (state + 0x9E3779B97F4A7C15) & size
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & size
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & size
    return z ^ (z >> 31)


def test_bits_are_those_of_splitmix64():
    assert splitmix64(0) == 0xE220A8397B1DCDAF  # the first number of its reference implementation
    found = random_bits(torch.tensor([0, 5, 123_456_789]), 4, seed=42, epoch=3)
    for row, numbers in zip([0, 5, 123_456_789], found.tolist(), strict=True):
        key = splitmix64(splitmix64(42) + 3)
        for position, number in enumerate(numbers):
            assert number % (1 << 64) == splitmix64(splitmix64(key + row) + position)


def slow_words(ids: list[int]) -> list[list[int]]:
    """Positions of each word: a first piece and the continuations right behind it."""
    words: list[list[int]] = []
    for position, number in enumerate(ids):
        if number < FIRST_WORD:
            continue
        after_word = position > 0 and ids[position - 1] >= FIRST_WORD
        if number >= FIRST_PIECE and after_word:
            words[-1].append(position)
        else:
            words.append([position])
    return words


def test_whole_words_are_chosen_with_their_first_piece(wordpiece, documents):
    single, whole = MaskingOptions(), MaskingOptions(whole_words=True)
    arguments = (documents.tokens, documents.rows, 0, 0)
    pieces = TokenMasking(wordpiece, single)(*arguments).chosen
    words = TokenMasking(wordpiece, whole)(*arguments).chosen
    expected = torch.zeros_like(pieces)
    for row, ids in enumerate(documents.tokens.input_ids.tolist()):
        for word in slow_words(ids):
            expected[row, word] = pieces[row, word[0]]
    assert torch.equal(words, expected)
    assert not torch.equal(words, pieces)


def test_other_tokenizers_mark_the_first_piece_of_a_word(tmp_path):
    pieces = ["<pad>", "<unk>", "<cls>", "<sep>", "<mask>", "▁run", "ning", "▁shoe", "s"]
    model = models.Unigram([(piece, 0.0) for piece in pieces], unk_id=1)
    folder = write_tokenizer(tmp_path, model, pieces[:5])
    continues = continuation_pieces(load_vocabulary(str(folder)))
    assert [pieces[n] for n in range(5, 9) if continues[n]] == ["ning", "s"]


def test_a_tokenizer_without_mask_is_refused(wordpiece):
    with pytest.raises(UserError, match="has no mask token"):
        TokenMasking(dataclasses.replace(wordpiece, mask=None), MaskingOptions())


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"share": 0.0}, "masking.share"),
        ({"share": 1.0}, "masking.share"),
        ({"mask": 0.8, "random": 0.3}, "sum to at most 1"),
        ({"random": -0.1}, "shares of the chosen"),
    ],
)
def test_impossible_shares_are_refused(values, message):
    with pytest.raises(ValueError, match=message):
        MaskingOptions(**values)
