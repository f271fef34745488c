"""Small hand-made dataset folders and a hand-made WordPiece vocabulary."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from string import ascii_lowercase, digits
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from data_modules.encoding import read_columns
from data_modules.shards import find_shards
from data_modules.tokens import CacheSpec
from hierarchy_lm.dataset import PRODUCT_SCHEMA, TASK_SCHEMA, DatasetInfo, TaskInfo, write_json
from hierarchy_lm.hierarchy import Hierarchy
from hierarchy_lm.text import TextOptions
from hierarchy_lm.vocabulary import Vocabulary, load_vocabulary

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
WORDS = [
    "red",
    "blue",
    "shoe",
    "##s",
    "##shoe",
    "shirt",
    "size",
    "cotton",
    "голубой",
    "靴",
    "\ufffd",
]
SIGNS = [*ascii_lowercase, *digits, *(f"##{sign}" for sign in ascii_lowercase + digits), ".", ","]
VOCABULARY = {token: number for number, token in enumerate([*SPECIAL, *WORDS, *SIGNS])}

# Ids:  0 Clothing   1 Shoes
#       2 Clothing/Men   3 Clothing/Women   4 Shoes/Accessories
#       5 Clothing/Men/Accessories   6 Clothing/Men/Shirts   7 Clothing/Women/Shirts
RETAIL = [
    ("Shoes", "Accessories"),
    ("Clothing", "Women", "Shirts"),
    ("Clothing", "Men", "Shirts"),
    ("Clothing", "Men", "Accessories"),
]
EMPTY_ROW = {"title": None, "description": None, "bullet_points": None, "query": None}
DEFAULTS = {"node_ids": [], "label_ids": [0], "weight": 1.0, "locale": None}


@pytest.fixture(scope="session")
def tokenizer_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    tokenizer = Tokenizer(models.WordPiece(VOCABULARY, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True, strip_accents=False)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    names = ("pad_token", "unk_token", "cls_token", "sep_token", "mask_token")
    folder = tmp_path_factory.mktemp("tokenizer")
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, **dict(zip(names, SPECIAL, strict=True))
    ).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def vocabulary(tokenizer_folder: Path) -> Vocabulary:
    return load_vocabulary(str(tokenizer_folder))


@pytest.fixture(scope="session")
def retail() -> Hierarchy:
    return Hierarchy.from_paths(RETAIL)


def product_table(rows: list[dict[str, Any]], schema: pa.Schema = PRODUCT_SCHEMA) -> pa.Table:
    """Rows with an item id of their own and nulls for what they do not say."""
    full = [EMPTY_ROW | DEFAULTS | {"item_id": f"item-{n}"} | row for n, row in enumerate(rows)]
    return pa.Table.from_pylist(
        [{name: row[name] for name in schema.names} for row in full], schema
    )


@dataclass
class DatasetFolder:
    path: Path
    vocabulary: Vocabulary
    retail: Hierarchy

    def write(self, table: pa.Table, name: str = "train-00000", **options: Any) -> Path:
        file = self.path / "products" / f"{name}.parquet"
        file.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(table, file, **options)
        return file

    def products(
        self, rows: list[dict[str, Any]], name: str = "train-00000", **options: Any
    ) -> Path:
        return self.write(product_table(rows), name, **options)

    def task(
        self, info: TaskInfo, rows: list[dict[str, Any]], splits: tuple[str, ...] = ("train",)
    ) -> Path:
        folder = self.path / "tasks" / info.name
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / "task.json", info)
        for split in splits:
            pq.write_table(product_table(rows, TASK_SCHEMA), folder / f"{split}-00000.parquet")
        return folder

    def finish(self) -> Path:
        """Add what makes the shards a dataset folder."""
        write_json(self.path / "dataset.json", DatasetInfo("toy", "by hand", "none", "0"))
        self.retail.to_parquet(self.path / "hierarchy.parquet")
        return self.path

    def spec(self, split: str = "train", **changes: Any) -> CacheSpec:
        text = changes.pop("text", TextOptions(max_length=16))
        columns = read_columns(text, False, "node_ids", changes.get("weighted", False))
        settings = {
            "shards": tuple(find_shards(self.path / "products", split, PRODUCT_SCHEMA, columns)),
            "vocabulary": self.vocabulary,
            "text": text,
            "pair": False,
            "label_column": "node_ids",
            "num_labels": self.retail.num_nodes,
            "hierarchy": self.retail,
        }
        return CacheSpec(**settings | changes)


@pytest.fixture
def dataset(tmp_path: Path, vocabulary: Vocabulary, retail: Hierarchy) -> DatasetFolder:
    return DatasetFolder(tmp_path / "toy", vocabulary, retail)


@pytest.fixture
def make_table() -> Callable[..., pa.Table]:
    return product_table


@pytest.fixture
def read_json() -> Callable[[Path], Any]:
    return lambda path: json.loads(path.read_text(encoding="utf-8"))
