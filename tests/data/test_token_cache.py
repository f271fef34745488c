"""The token cache against row-by-row oracles."""

import pickle
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

import data_modules.encoding
import data_modules.tokens
from data_modules.tokens import TokenStore, open_cache
from hierarchy_lm.errors import UserError
from hierarchy_lm.hierarchy import Hierarchy
from hierarchy_lm.text import TextOptions

WORDS = ["red", "shoes", "blue", "size", "42", "cotton", "голубой"]


@pytest.fixture
def rows() -> list[dict]:
    random = np.random.default_rng(0)
    return [
        {
            "title": " ".join(random.choice(WORDS, size=random.integers(0, 6))),
            "description": " ".join(random.choice(WORDS, size=random.integers(0, 12))) or None,
            "bullet_points": random.choice(WORDS, size=random.integers(0, 3)).tolist(),
            "node_ids": random.choice(8, size=random.integers(0, 4), replace=False).tolist(),
            "weight": float(np.float32(random.lognormal())),
        }
        for _ in range(60)
    ]


def slow_closure(tree: Hierarchy, nodes: list[int]) -> list[int]:
    closed = set()
    for node in nodes:
        while node >= 0:
            closed.add(node)
            node = int(tree.parents[node])
    return sorted(closed)


def slow_ids(vocabulary, row: dict, max_length: int) -> list[int]:
    """One segment; the title first, the other two share what is left."""
    texts = [row["title"], row["description"] or "", " ".join(row["bullet_points"])]
    title, *rest = (vocabulary.tokenizer.encode(t, add_special_tokens=False).ids for t in texts)
    title = title[: max_length - 2]
    left = max_length - 2 - len(title)
    short, long = sorted(rest, key=len)
    room = {id(short): min(len(short), left // 2)}
    room[id(long)] = left - room[id(short)]
    parts = [title, *(part[: room[id(part)]] for part in rest)]
    ids = [token for part in parts for token in part]
    return [vocabulary.special.cls, *ids, vocabulary.special.sep]


def content(folder: Path) -> dict[str, bytes]:
    (cache,) = (path for path in folder.iterdir() if path.is_dir())
    files = {path.name: path.read_bytes() for path in cache.iterdir()}
    assert len(files) == 8
    return files


def label_rows(store: TokenStore) -> list[list[int]]:
    documents, labels = store.labels(np.arange(len(store)))
    sets: list[list[int]] = [[] for _ in range(len(store))]
    for document, label in zip(documents, labels, strict=True):
        sets[document].append(int(label))
    return sets


def test_content_equals_the_rows(dataset, rows, tmp_path):
    dataset.products(rows[:25], "train-00000", row_group_size=9)
    dataset.products([], "train-00001")
    dataset.products(rows[25:], "train-00002")
    store = open_cache(dataset.spec(), tmp_path / "cache", "train")
    expected = [slow_ids(dataset.vocabulary, row, 16) for row in rows]
    assert len(store) == 60
    assert store.lengths.tolist() == [len(ids) for ids in expected]
    order = np.random.default_rng(1).permutation(60)[:40]
    ids, segments, mask = store.tokens(order)
    longest = max(len(expected[row]) for row in order)
    assert ids.tolist() == [expected[row] + [0] * (longest - len(expected[row])) for row in order]
    assert mask.sum(axis=1).tolist() == [len(expected[row]) for row in order]
    assert not segments.any()
    assert label_rows(store) == [slow_closure(dataset.retail, row["node_ids"]) for row in rows]
    assert store.label_counts.tolist() == [len(labels) for labels in label_rows(store)]
    for array in (ids, segments, mask, *store.labels(order)):
        assert array.dtype == np.int64


def test_padding_is_the_tokenizers(dataset, tmp_path):
    dataset.products([{"title": "red"}, {"title": "red shoes"}])
    special = dataset.vocabulary.special._replace(pad=7)
    spec = dataset.spec(vocabulary=replace(dataset.vocabulary, special=special))
    ids, _, mask = open_cache(spec, tmp_path, "train").tokens(np.array([0, 1]))
    assert ids[0, 3:].tolist() == [7, 7]
    assert mask[0].tolist() == [1, 1, 1, 0, 0]


def test_segments_of_fields(dataset, tmp_path):
    dataset.products(
        [
            {"title": "red", "description": "blue blue", "bullet_points": ["size"]},
            {"title": "red", "bullet_points": ["size", "size"]},
            {"description": "blue"},
            {},
        ]
    )
    spec = dataset.spec(text=TextOptions(max_length=16, segments="fields"))
    _, segments, mask = open_cache(spec, tmp_path, "train").tokens(np.arange(4))
    assert segments.tolist() == [
        [0, 0, 0, 1, 1, 1, 2, 2],
        [0, 0, 0, 2, 2, 2, 0, 0],
        [0, 1, 1, 0, 0, 0, 0, 0],
        [0, 0, 0, 0, 0, 0, 0, 0],
    ]
    assert mask.sum(axis=1).tolist() == [8, 6, 3, 2]


def test_labels_of_a_task_are_sorted_sets(dataset, tmp_path):
    dataset.products([{"node_ids": [5, 1, 5]}, {"node_ids": []}, {"node_ids": [0]}])
    spec = dataset.spec(hierarchy=None)
    store = open_cache(spec, tmp_path, "train")
    assert label_rows(store) == [[1, 5], [], [0]]
    documents, labels = store.labels(np.array([2, 0, 1, 0]))
    assert documents.tolist() == [0, 1, 1, 3, 3]
    assert labels.tolist() == [0, 1, 5, 1, 5]


def test_null_label_lists_count_as_unlabelled(dataset, make_table, tmp_path):
    table = make_table([{"node_ids": [7]}, {}, {"node_ids": [1]}])
    labels = pa.array([[7], None, [1]], pa.list_(pa.int64()))
    dataset.write(table.set_column(4, "node_ids", labels))
    store = open_cache(dataset.spec(), tmp_path, "train")
    assert label_rows(store) == [[0, 3, 7], [], [1]]


def test_item_ids_by_row(dataset, tmp_path):
    dataset.products([{"item_id": f"a{n}"} for n in range(5)], row_group_size=2)
    dataset.products([{"item_id": f"b{n}"} for n in range(5)], "train-00001")
    store = open_cache(dataset.spec(), tmp_path, "train")
    assert store.item_ids(np.array([9, 0, 5, 4])).to_pylist() == ["b4", "a0", "b0", "a4"]
    assert store.item_ids(np.array([], dtype=np.int64)).to_pylist() == []


@pytest.mark.parametrize(("size", "dtype"), [(65_536, "uint16"), (65_537, "uint32")])
def test_dtype_holds_the_vocabulary(dataset, tmp_path, monkeypatch, size, dtype):
    dataset.products([{"title": "red"}])
    spec = dataset.spec(vocabulary=replace(dataset.vocabulary, size=size))
    highest = size - 1
    encode = data_modules.encoding.ProductTokenizer.encode

    def with_highest_id(self, table):
        rows = encode(self, table)
        rows.ids[1] = highest
        return rows

    monkeypatch.setattr(data_modules.encoding.ProductTokenizer, "encode", with_highest_id)
    store = open_cache(spec, tmp_path, "train")
    assert store.meta["dtype"] == dtype
    assert store.tokens(np.array([0]))[0][0, 1] == highest


def test_a_cache_is_built_once(dataset, tmp_path, monkeypatch, rows):
    dataset.products(rows)
    open_cache(dataset.spec(), tmp_path, "train")
    monkeypatch.setattr(data_modules.tokens, "_build", None)
    assert len(open_cache(dataset.spec(), tmp_path, "train")) == 60


def test_key_follows_everything_that_matters(dataset, rows, tmp_path):
    dataset.products(rows)
    spec = dataset.spec()
    moved = shutil.copytree(dataset.path, tmp_path / "elsewhere")  # keeps the time of writing
    dataset.products([*rows, {}], "train-00001")
    more = dataset.spec()
    tree = Hierarchy.from_paths([path.split(" > ") for path in [*dataset.retail.paths, "Toys"]])
    other = dataset.vocabulary.tokenizer.from_str(
        dataset.vocabulary.tokenizer.to_str().replace('"##shoe"', '"##shoo"')
    )
    keys = [
        spec.key,
        more.key,
        replace(spec, text=TextOptions(max_length=17)).key,
        replace(spec, text=TextOptions(max_length=16, lowercase=True)).key,
        replace(spec, text=TextOptions(("title", "bullet_points", "description"), 16)).key,
        replace(spec, vocabulary=replace(dataset.vocabulary, tokenizer=other)).key,
        replace(spec, hierarchy=tree).key,
        replace(spec, hierarchy=None).key,
        replace(spec, num_labels=9).key,
        replace(spec, pair=True).key,
        replace(spec, weighted=True).key,
    ]
    assert len(set(keys)) == len(keys)
    dataset.path = moved
    assert dataset.spec().key == spec.key


def test_processes_build_the_same_bytes(dataset, rows, tmp_path, monkeypatch):
    dataset.products(rows, row_group_size=7)
    dataset.products(rows[:20], "train-00001")
    open_cache(dataset.spec(weighted=True), tmp_path / "one", "train")
    started = []
    pool = data_modules.tokens.ProcessPoolExecutor

    def spy(workers, mp_context):
        started.append(workers)
        return pool(workers, mp_context=mp_context)

    monkeypatch.setattr(data_modules.tokens, "ProcessPoolExecutor", spy)
    monkeypatch.setattr(data_modules.tokens, "PARALLEL_ROWS", 10)
    monkeypatch.setattr(data_modules.encoding, "ROWS_PER_JOB", 10)
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    monkeypatch.setenv("TOKENIZERS_PARALLELISM", "true")
    store = open_cache(dataset.spec(weighted=True), tmp_path / "two", "train")
    assert started == [2]
    one, two = content(tmp_path / "one"), content(tmp_path / "two")
    one_ids, two_ids = (
        pa.ipc.open_file(files.pop("item_ids.arrow")).read_all()["item_id"].to_pylist()
        for files in (one, two)
    )
    assert one == two
    assert one_ids == two_ids
    assert store.weights(np.arange(80)).tolist() == [row["weight"] for row in rows + rows[:20]]
    assert data_modules.tokens.os.environ["TOKENIZERS_PARALLELISM"] == "true"


def test_a_store_travels_to_a_loader_process_as_its_path(dataset, rows, tmp_path):
    dataset.products(rows * 20)
    store = open_cache(dataset.spec(), tmp_path, "train")
    parcel = pickle.dumps(store)
    assert len(parcel) < 1000
    copy = pickle.loads(parcel)
    every = np.arange(len(store))
    for ours, theirs in zip(store.tokens(every), copy.tokens(every), strict=True):
        assert np.array_equal(ours, theirs)


def test_errors_come_through_the_processes(dataset, monkeypatch, tmp_path):
    dataset.products([{"node_ids": [0]}] * 9 + [{"node_ids": [8]}], row_group_size=2)
    monkeypatch.setattr(data_modules.tokens, "PARALLEL_ROWS", 1)
    monkeypatch.setattr(data_modules.encoding, "ROWS_PER_JOB", 2)
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    with pytest.raises(UserError, match="row 9: node_ids holds 8"):
        open_cache(dataset.spec(), tmp_path, "train")
