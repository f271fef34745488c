"""Reading embeddings: whole, in parts, in samples, and what is refused."""

import json
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from hierarchy_lm.embeddings import documents as module
from hierarchy_lm.embeddings.documents import EmbeddingFolder, hash_ids, sample
from hierarchy_lm.errors import UserError

from .conftest import TREE

SPLITS = ["train", "validation", "test"]
ROWS = [
    {
        "item_id": f"item {number * 7919 % 60}",  # each once, in no order
        "split": SPLITS[number % 3],
        "node_ids": [[], [0], [0, 3], [1, 2]][number % 4],
        "embedding": [float(number), -number / 2, 0.25],
    }
    for number in range(60)
]


def write(folder, rows=ROWS, dtype="float32", parts=(0, 23, 60), **info):
    folder.mkdir()
    number = pa.from_numpy_dtype(np.dtype(dtype))
    schema = pa.schema(
        [
            ("item_id", pa.string()),
            ("split", pa.dictionary(pa.int8(), pa.string())),
            ("node_ids", pa.list_(pa.int32())),
            ("embedding", pa.list_(number, 3)),
        ]
    )
    for part, (start, end) in enumerate(pairwise(parts)):
        columns = [[row[name] for row in rows[start:end]] for name in schema.names]
        columns[3] = np.array(columns[3], dtype=dtype).reshape(-1)
        columns[3] = pa.FixedSizeListArray.from_arrays(pa.array(columns[3]), 3)
        columns[1] = pa.array(columns[1]).dictionary_encode().cast(schema.field("split").type)
        arrays = [pa.array(columns[0]), columns[1], pa.array(columns[2], schema[2].type)]
        table = pa.table([*arrays, columns[3]], schema=schema)
        pq.write_table(table, folder / f"part-{part:05d}.parquet", row_group_size=5)
    TREE.to_parquet(folder / "hierarchy.parquet")
    content = {"size": len(rows), "dimensions": 3, "tree_fingerprint": TREE.fingerprint, **info}
    (folder / "embeddings.json").write_text(json.dumps(content))
    return folder


def as_rows(documents):
    found = []
    for row, item in enumerate(documents.item_ids.to_pylist()):
        nodes = documents.nodes[documents.rows == row].tolist()
        found.append((item, nodes, documents.vectors[row].tolist()))
    return found


def expected(split):
    rows = [row for row in ROWS if row["split"] == split]
    return sorted((row["item_id"], row["node_ids"], row["embedding"]) for row in rows)


@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("batch", [4096, 4])
def test_a_split_is_read_in_the_order_of_its_ids(tmp_path, monkeypatch, dtype, batch):
    monkeypatch.setattr(module, "BATCH_ROWS", batch)
    folder = EmbeddingFolder(write(tmp_path / "e", dtype=dtype))
    assert sorted(folder.splits()) == sorted(SPLITS)
    for split in SPLITS:
        assert as_rows(folder.read(split)) == expected(split)


def test_a_sample_depends_on_the_ids_alone(tmp_path):
    one = EmbeddingFolder(write(tmp_path / "one")).read("train", 7)
    other = EmbeddingFolder(write(tmp_path / "other", ROWS[::-1], parts=(0, 60))).read("train", 7)
    assert len(one) == 7
    assert as_rows(one) == as_rows(other)
    assert set(map(str, as_rows(one))) < set(map(str, expected("train")))


def slow_hash(text: str) -> int:
    total = 0
    for place, byte in enumerate(text.encode()):
        total += (byte + 1) * pow(0x100000001B3, place + 1, 1 << 64)
    value = total % (1 << 64)
    value = (value ^ value >> 30) * 0xBF58476D1CE4E5B9 % (1 << 64)
    value = (value ^ value >> 27) * 0x94D049BB133111EB % (1 << 64)
    return value ^ value >> 31


def test_hash_equals_a_loop_over_letters_wherever_the_text_lies():
    texts = ["P1", "", "Größe & Co", "P2", "", "a" * 50]
    assert hash_ids(pa.array(texts)).tolist() == [slow_hash(text) for text in texts]
    assert hash_ids(pa.array(texts)[2:5]).tolist() == [slow_hash(text) for text in texts[2:5]]
    assert hash_ids(pa.array(["", ""])).tolist() == [0, 0]


def test_samples_are_spread_and_nested():
    ids = pa.array([f"P{number:08d}" for number in range(20_000)])
    small, large = sample(ids, 2000), sample(ids, 4000)
    assert set(small.tolist()) < set(large.tolist())
    counts = np.bincount(small // 2000, minlength=10)
    assert counts.min() > 150
    assert sample(ids, None).tolist() == sample(ids, 30_000).tolist() == list(range(20_000))


def refusal(make):
    with pytest.raises(UserError) as caught:
        make()
    return str(caught.value)


def test_what_is_no_whole_folder_is_refused(tmp_path):
    assert "hlm embed" in refusal(lambda: EmbeddingFolder(tmp_path))
    size = write(tmp_path / "size", size=61)
    assert "60 rows, but embeddings.json says 61" in refusal(lambda: EmbeddingFolder(size))
    tree = write(tmp_path / "tree", tree_fingerprint="other")
    assert "hierarchy.parquet" in refusal(lambda: EmbeddingFolder(tree))
    (size / "embeddings.json").write_text("[")
    assert "embeddings.json" in refusal(lambda: EmbeddingFolder(size))
    (tree / "part-00001.parquet").write_bytes(b"PAR1")
    assert str(tree) in refusal(lambda: EmbeddingFolder(tree))


def test_missing_split_twice_the_same_item_and_no_number_are_refused(tmp_path):
    train = EmbeddingFolder(write(tmp_path / "train", ROWS[::3], parts=(0, 20)))
    assert "only train" in refusal(lambda: train.read("test"))
    twice = EmbeddingFolder(write(tmp_path / "twice", ROWS + ROWS[:1], parts=(0, 61)))
    assert "twice" in refusal(lambda: twice.read("test"))
    broken = [{**ROWS[0], "embedding": [0.0, float("nan"), 0.0]}, *ROWS[1:]]
    wrong = EmbeddingFolder(write(tmp_path / "nan", broken))
    assert "not finite" in refusal(lambda: wrong.read("train"))
    assert len(wrong.read("test")) == 20
