"""Training a WordPiece tokenizer on a dataset, for backbones built from scratch."""

import os
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
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

from data_modules.shards import Shard, find_shards
from hierarchy_lm.dataset import PRODUCT_SCHEMA, TASK_SCHEMA
from hierarchy_lm.errors import UserError
from hierarchy_lm.text import TextOptions, clean

SPECIAL_TOKENS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
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
    try:
        folder.parent.mkdir(exist_ok=True)
        with FileLock(folder.with_suffix(".lock")):
            if not folder.is_dir():
                _train(_training_shards(dataset), vocab_size, folder)
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


def _train(shards: list[Shard], vocab_size: int, folder: Path) -> None:
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True, strip_accents=False)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.train_from_iterator(
        _texts(shards),
        trainers.WordPieceTrainer(
            vocab_size=vocab_size, special_tokens=SPECIAL_TOKENS, show_progress=False
        ),
    )
    cls, sep = tokenizer.token_to_id("[CLS]"), tokenizer.token_to_id("[SEP]")
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", cls), ("[SEP]", sep)],
    )
    _save(tokenizer, folder)


def _save(tokenizer: Tokenizer, folder: Path) -> None:
    from transformers import PreTrainedTokenizerFast

    names = ("pad_token", "unk_token", "cls_token", "sep_token", "mask_token")
    wrapped = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, **dict(zip(names, SPECIAL_TOKENS, strict=True))
    )
    temporary = folder.with_suffix(".tmp")
    wrapped.save_pretrained(temporary)
    os.replace(temporary, folder)


def _texts(shards: list[Shard]) -> Iterator[list[str]]:
    rows = 0
    for shard in shards:
        with pq.ParquetFile(shard.path) as file:
            present = set(file.schema_arrow.names)
            columns = [
                n for n in ("title", "description", "bullet_points", "query") if n in present
            ]
            for batch in file.iter_batches(batch_size=BATCH_ROWS, columns=columns):
                table = pa.Table.from_batches([batch])
                for name in columns:
                    yield clean(table[name], TextOptions()).to_pylist()
                rows += len(batch)
                if rows >= TRAINING_ROWS:
                    return
