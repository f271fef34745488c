"""Training a WordPiece tokenizer on a dataset, for backbones built from scratch."""

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from filelock import FileLock
from tokenizers import (
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)

from data_modules.columns import read_row_groups
from data_modules.shards import Shard, find_shards
from hierarchy_lm.dataset import PRODUCT_SCHEMA, TASK_SCHEMA
from hierarchy_lm.errors import UserError
from hierarchy_lm.text import TextOptions, clean

SPECIAL_TOKENS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
TEXTS = ["title", "description", "bullet_points", "query"]
TRAINING_ROWS = 500_000
BATCH_ROWS = 5_000


def wordpiece_folder(dataset: Path, vocab_size: int) -> Path:
    """Where the tokenizer trained on a dataset is kept."""
    return dataset / ".cache" / f"wordpiece-{vocab_size}"


def train_wordpiece(dataset: Path, vocab_size: int) -> Path:
    """Train a lower-casing WordPiece tokenizer on the training texts, once.

    The products' texts are used, or the tasks' where there are no products; of a large dataset the
    first ``TRAINING_ROWS`` rows.

    Returns:
        A Hugging Face tokenizer folder.

    Raises:
        UserError: If the dataset has no texts or its folder cannot be written.
    """
    folder = wordpiece_folder(dataset, vocab_size)
    if folder.is_dir():
        return folder
    shards = _training_shards(dataset)
    try:
        folder.parent.mkdir(exist_ok=True)
        with FileLock(folder.with_suffix(".lock")):
            if not folder.is_dir():
                _save(_train(shards, vocab_size), folder)
    except OSError as error:
        raise UserError(
            f"{folder.parent}: cannot write the tokenizer ({error.strerror}); make the dataset "
            "folder writable"
        ) from error
    return folder


def _training_shards(dataset: Path) -> list[Shard]:
    if (dataset / "products").is_dir():
        return find_shards(dataset / "products", "train", PRODUCT_SCHEMA, ["title"])
    tasks = sorted(path.parent for path in dataset.glob("tasks/*/task.json"))
    if not tasks:
        raise UserError(f"{dataset}: neither products nor tasks to train a tokenizer on")
    return [shard for task in tasks for shard in find_shards(task, "train", TASK_SCHEMA, ["title"])]


def _train(shards: list[Shard], vocab_size: int) -> Tokenizer:
    tokenizer = _untrained({})
    alphabet = _alphabet(shards, tokenizer, vocab_size // 4)
    # The trainer numbers continuations in the order of a randomly seeded hash map, and breaks the
    # ties of its merges by number. As special tokens they are numbered before it looks at any text.
    continuations = [f"##{sign}" for sign in alphabet if _continues_words(tokenizer, sign)]
    trainer = trainers.WordPieceTrainer(
        vocab_size=vocab_size,
        special_tokens=[*SPECIAL_TOKENS, *continuations],
        initial_alphabet=alphabet,
        limit_alphabet=len(alphabet),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_texts(shards), trainer)
    return _untrained(tokenizer.get_vocab())  # without the continuations' role as special tokens


def _untrained(vocabulary: dict[str, int]) -> Tokenizer:
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True, strip_accents=False)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    if vocabulary:
        special = [(name, vocabulary[name]) for name in ("[CLS]", "[SEP]")]
        tokenizer.post_processor = processors.TemplateProcessing(
            single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=special
        )
    return tokenizer


def _alphabet(shards: list[Shard], tokenizer: Tokenizer, most: int) -> list[str]:
    """The most frequent characters after normalisation, spaces left out."""
    raw: Counter[int] = Counter()
    for texts in _texts(shards):
        codes = np.frombuffer("".join(texts).encode("utf-32-le"), dtype="<u4")
        values, found = np.unique(codes, return_counts=True)
        raw.update(dict(zip(values.tolist(), found.tolist(), strict=True)))
    counts: Counter[str] = Counter()
    for code, count in raw.items():  # the normaliser looks at characters one by one, and is slow
        for sign in tokenizer.normalizer.normalize_str(chr(code)):
            counts[sign] += count
    signs = sorted(counts, key=lambda sign: (-counts[sign], sign))
    alphabet = [sign for sign in signs if not sign.isspace()][:most]
    if not alphabet:
        raise UserError(
            f"{shards[0].path.parent}: no text in {', '.join(TEXTS)} to train a tokenizer on"
        )
    return alphabet


def _continues_words(tokenizer: Tokenizer, sign: str) -> bool:
    """Whether a character is part of words, unlike punctuation and Chinese characters."""
    normal = tokenizer.normalizer.normalize_str(f"a{sign}")
    return len(tokenizer.pre_tokenizer.pre_tokenize_str(normal)) == 1


def _save(tokenizer: Tokenizer, folder: Path) -> None:
    from transformers import PreTrainedTokenizerFast

    names = ("pad_token", "unk_token", "cls_token", "sep_token", "mask_token")
    wrapped = PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=tokenizer,
        model_input_names=["input_ids", "token_type_ids", "attention_mask"],
        **dict(zip(names, SPECIAL_TOKENS, strict=True)),
    )
    temporary = folder.with_suffix(".tmp")
    wrapped.save_pretrained(temporary)
    os.replace(temporary, folder)


def _texts(shards: list[Shard]) -> Iterator[list[str]]:
    rows = 0
    for shard in shards:
        columns = [name for name in TEXTS if name in pq.read_schema(shard.path).names]
        for group in range(shard.num_row_groups):
            table, _ = read_row_groups(shard.path, [group], columns)
            for start in range(0, len(table), BATCH_ROWS):
                part = table.slice(start, BATCH_ROWS)
                yield from (clean(part[name], TextOptions()).to_pylist() for name in columns)
            rows += len(table)
            if rows >= TRAINING_ROWS:
                return
