"""A tokenizer trained on a dataset's own texts."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import data_modules.wordpiece
from data_modules.wordpiece import SPECIAL_TOKENS, train_wordpiece, wordpiece_folder
from hierarchy_lm.dataset import TaskInfo
from hierarchy_lm.errors import UserError
from hierarchy_lm.vocabulary import load_vocabulary

TRAIN = "import sys, pathlib; from data_modules.wordpiece import train_wordpiece; "
TRAIN += "train_wordpiece(pathlib.Path(sys.argv[1]), int(sys.argv[2]))"


def words(count: int, letters: str, seed: int = 0) -> list[str]:
    random = np.random.default_rng(seed)
    return ["".join(random.choice(list(letters), size=random.integers(2, 9))) for _ in range(count)]


def products(letters: str = "abcdefghij-,éж靴鞋") -> list[dict]:
    known, random = words(150, letters), np.random.default_rng(1)
    return [
        {
            "title": " ".join(random.choice(known, size=6)),
            "description": " ".join(random.choice(known, size=12)) if number % 3 else None,
            "bullet_points": random.choice(known, size=2).tolist(),
        }
        for number in range(300)
    ]


def refusal(folder: Path) -> str:
    with pytest.raises(UserError) as caught:
        train_wordpiece(folder, 300)
    assert "\n" not in str(caught.value)
    assert not wordpiece_folder(folder, 300).exists()
    return str(caught.value)


def test_loads_with_the_right_special_tokens_and_size(dataset):
    dataset.products(products())
    folder = train_wordpiece(dataset.path, 200)
    vocabulary = load_vocabulary(str(folder))
    tokenizer = vocabulary.tokenizer
    assert vocabulary.size == 200
    assert sorted(tokenizer.get_vocab().values()) == list(range(200))
    ids = [tokenizer.token_to_id(name) for name in SPECIAL_TOKENS]
    assert ids == [0, 1, 2, 3, 4]
    assert vocabulary.special._asdict() == {"cls": 2, "sep": 3, "pad": 0}
    special = {token.content for token in tokenizer.get_added_tokens_decoder().values()}
    assert special == set(SPECIAL_TOKENS)  # no piece of a word is one


def test_every_training_text_round_trips(dataset):
    rows = products()
    dataset.products(rows)
    tokenizer = load_vocabulary(str(train_wordpiece(dataset.path, 300))).tokenizer
    for row in rows:
        encoding = tokenizer.encode(row["title"], add_special_tokens=False)
        assert "[UNK]" not in encoding.tokens
        # Spaces are lost around signs that stand alone; the characters are not.
        assert tokenizer.decode(encoding.ids).replace(" ", "") == row["title"].replace(" ", "")


def test_frequent_words_become_one_token_and_case_does_not_matter(dataset):
    dataset.products([{"title": f"Trekkingschuhe ROT {word}"} for word in words(200, "abcdef")])
    tokenizer = load_vocabulary(str(train_wordpiece(dataset.path, 200))).tokenizer
    assert tokenizer.encode("trekkingschuhe rot", add_special_tokens=False).tokens == [
        "trekkingschuhe",
        "rot",
    ]
    upper, lower = (
        tokenizer.encode(text).ids for text in ("TREKKINGSCHUHE Rot", "trekkingschuhe rot")
    )
    assert upper == lower
    frame = tokenizer.encode("rot", "rot")
    assert frame.tokens == ["[CLS]", "rot", "[SEP]", "rot", "[SEP]"]
    assert frame.type_ids == [0, 0, 0, 1, 1]


EQUALLY_RARE = [{"title": "".join(map(chr, range(0x430, 0x4A0)))}] * 3


@pytest.mark.parametrize("rows", [products(), EQUALLY_RARE], ids=["words", "equally rare signs"])
def test_two_processes_train_the_same_tokenizer(dataset, rows):
    """Also where more characters occur than fit: which ones stay must not be left to chance."""
    dataset.products(rows)
    folder, trained = wordpiece_folder(dataset.path, 200), []
    for number, threads in enumerate(["1", "2"]):
        environment = os.environ | {"RAYON_NUM_THREADS": threads, "PYTHONHASHSEED": str(number)}
        command = [sys.executable, "-c", TRAIN, str(dataset.path), "200"]
        subprocess.run(command, env=environment, check=True, timeout=120)
        trained.append((folder / "tokenizer.json").read_bytes())
        folder.rename(folder.with_name(f"kept-{number}"))
    assert trained[0] == trained[1]


def test_trained_once(dataset, monkeypatch):
    dataset.products(products())
    folder = train_wordpiece(dataset.path, 300)
    monkeypatch.setattr(data_modules.wordpiece, "_train", None)
    assert train_wordpiece(dataset.path, 300) == folder


def test_of_a_large_dataset_the_first_rows(dataset, monkeypatch):
    monkeypatch.setattr(data_modules.wordpiece, "TRAINING_ROWS", 20)
    dataset.products([{"title": "abc"}] * 20 + [{"title": "xyz"}] * 20, row_group_size=10)
    vocab = load_vocabulary(str(train_wordpiece(dataset.path, 300))).tokenizer.get_vocab()
    assert "abc" in vocab
    assert "x" not in vocab


def test_dataset_of_tasks_alone(dataset):
    info = TaskInfo("relevance", "binary", ["no", "yes"], pair=True)
    dataset.task(info, [{"title": "kayak", "query": "paddle"}] * 5)
    vocab = load_vocabulary(str(train_wordpiece(dataset.path, 300))).tokenizer.get_vocab()
    assert {"kayak", "paddle"} <= set(vocab)


def test_invalid_utf8_and_wide_columns(dataset):
    titles = pa.array([b"kayak \xff", b"kayak"], pa.large_binary())
    table = pa.table(
        {
            "item_id": ["a", "b"],
            "title": pa.Array.from_buffers(pa.large_string(), 2, titles.buffers()),
            "description": pa.nulls(2),
            "bullet_points": pa.array([["paddle"], None], pa.large_list(pa.large_string())),
        }
    )
    dataset.write(table)
    vocab = load_vocabulary(str(train_wordpiece(dataset.path, 300))).tokenizer.get_vocab()
    assert {"kayak", "paddle"} <= set(vocab)


@pytest.mark.parametrize("rows", [[{}], [{"title": " ", "bullet_points": [None, ""]}] * 3])
def test_no_texts(dataset, rows):
    dataset.products(rows)
    assert refusal(dataset.path).startswith(f"{dataset.path / 'products'}: no text in title")


def test_neither_products_nor_tasks(tmp_path):
    assert refusal(tmp_path).startswith(f"{tmp_path}: neither products nor tasks")


def test_damaged_shard(dataset):
    file = dataset.products([{"title": f"red {n}"} for n in range(2000)], row_group_size=500)
    whole = bytearray(file.read_bytes())
    start = pq.ParquetFile(file).metadata.row_group(0).column(1).dictionary_page_offset
    whole[start : start + 500] = bytes(500)
    file.write_bytes(whole)
    assert refusal(dataset.path).startswith(f"{file}: row group 0 cannot be read")


def test_folder_that_cannot_be_written(dataset):
    dataset.products(products())
    (dataset.path / ".cache").write_text("in the way")
    message = refusal_of_writing(dataset.path)
    assert message.startswith(f"{dataset.path / '.cache'}: cannot write the tokenizer")


def refusal_of_writing(folder: Path) -> str:
    with pytest.raises(UserError) as caught:
        train_wordpiece(folder, 300)
    return str(caught.value)


def test_a_killed_training_is_taken_up_anew(dataset):
    dataset.products(products())
    left_over = wordpiece_folder(dataset.path, 200).with_suffix(".tmp")
    left_over.mkdir(parents=True)
    (left_over / "tokenizer.json").write_text("half")
    assert load_vocabulary(str(train_wordpiece(dataset.path, 200))).size == 200
    assert not left_over.exists()
