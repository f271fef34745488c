"""A hand-made WordPiece tokenizer and documents of its ids."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer, models
from transformers import AlbertConfig, AlbertModel, PreTrainedTokenizerFast

from hierarchy_lm.backbones import Backbone, BackboneOptions, create_backbone
from hierarchy_lm.batches import ProductBatch, SparseTargets, TokenBatch
from hierarchy_lm.nn import MLMHead
from hierarchy_lm.vocabulary import Vocabulary, load_vocabulary

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
PAD, UNK, CLS, SEP, MASK = range(5)
FIRST_WORD, FIRST_PIECE, SIZE = 5, 25, 40
WORDS = [f"w{n}" for n in range(FIRST_PIECE - FIRST_WORD)]
PIECES = [f"##p{n}" for n in range(SIZE - FIRST_PIECE)]

MakeDocuments = Callable[..., ProductBatch]


def fake_trainer(epoch: int = 0) -> Any:
    """What a step asks of the trainer, as on one rank."""
    strategy = SimpleNamespace(reduce=lambda value, reduce_op: value)
    return SimpleNamespace(strategy=strategy, barebones=True, current_epoch=epoch, training=True)


def kept_level_tokens(model: Any) -> dict[str, Any]:
    """Those of a checkpoint of HPT or HBGL."""
    model._trainer = SimpleNamespace(datamodule=SimpleNamespace(max_length=20))
    checkpoint: dict[str, Any] = {}
    model.on_save_checkpoint(checkpoint)
    return checkpoint["level_tokens"]


def write_tokenizer(folder: Path, model: models.Model, special: list[str] = SPECIAL) -> Path:
    roles = ("pad_token", "unk_token", "cls_token", "sep_token", "mask_token")
    PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer(model), **dict(zip(roles, special, strict=False))
    ).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def wordpiece_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    tokens = {token: number for number, token in enumerate([*SPECIAL, *WORDS, *PIECES])}
    model = models.WordPiece(tokens, unk_token="[UNK]")
    return write_tokenizer(tmp_path_factory.mktemp("wordpiece"), model)


@pytest.fixture(scope="session")
def wordpiece(wordpiece_folder: Path) -> Vocabulary:
    return load_vocabulary(str(wordpiece_folder))


@pytest.fixture(scope="module")
def tree_file(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The module's ``TREE`` as a file."""
    file = tmp_path_factory.mktemp("tree") / "hierarchy.parquet"
    request.module.TREE.to_parquet(file)
    return str(file)


@pytest.fixture
def narrow(tmp_path: Path) -> BackboneOptions:
    """An ALBERT of 32 dimensions whose word embeddings have 16."""
    config = AlbertConfig(
        vocab_size=SIZE,
        embedding_size=16,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
    )
    torch.manual_seed(0)
    AlbertModel(config, add_pooling_layer=False).save_pretrained(tmp_path / "narrow")
    return BackboneOptions(str(tmp_path / "narrow"))


@pytest.fixture
def encoder() -> tuple[Backbone, MLMHead]:
    """With the MLM head that fits it, both from random weights."""
    torch.manual_seed(0)
    backbone = create_backbone(BackboneOptions("tiny", pretrained="none"), SIZE, PAD)
    rows, width = backbone.word_embeddings.shape
    return backbone, MLMHead(backbone.hidden_size, width, rows)


@pytest.fixture
def make_documents() -> MakeDocuments:
    """Random documents [CLS] ... [SEP] of different lengths, each the same in every batch."""

    def make(rows: list[int], longest: int = 40) -> ProductBatch:
        documents = []
        for row in rows:
            generator = torch.Generator().manual_seed(row)
            length = int(torch.randint(longest // 2, longest - 1, (), generator=generator))
            body = torch.randint(FIRST_WORD, SIZE, (length,), generator=generator)
            documents.append(torch.cat([torch.tensor([CLS]), body, torch.tensor([SEP])]))
        ids = torch.nn.utils.rnn.pad_sequence(documents, batch_first=True, padding_value=PAD)
        tokens = TokenBatch(ids, torch.zeros_like(ids), (ids != PAD).long())
        nothing = torch.empty(0, dtype=torch.long)
        return ProductBatch(
            tokens, SparseTargets(nothing, nothing), torch.tensor(rows), torch.ones(len(rows)), 1.0
        )

    return make
