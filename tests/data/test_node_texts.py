"""Node names in front of the text, against token rows written out by hand."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data_modules.node_texts import node_texts
from data_modules.tasks import TaskDataModule
from data_modules.tokens import CacheSpec, TokenStore
from hierarchy_lm.dataset import TASK_SCHEMA, TaskInfo
from hierarchy_lm.errors import UserError
from hierarchy_lm.hierarchy import Hierarchy
from hierarchy_lm.text import TextOptions

from .conftest import RETAIL

SPLITS = ("train", "validation", "test")
ROWS = [
    {"title": "red shirt", "query": "shirt", "node_ids": [6]},  # one path
    {"title": "blue", "description": "cotton", "query": "red", "node_ids": [4, 7]},  # two paths
    {"title": "red", "query": None, "node_ids": [1]},  # an inner node
    {"title": "size 42", "query": "blue shoe", "node_ids": []},  # no link
    {"title": None, "query": "red", "node_ids": None},  # no link and no text
    {"title": None, "query": None, "node_ids": [6]},  # a link and no text
]
LEAVES = ["shirts", "accessories ; shirts", "shoes", "", "", "shirts"]
PATHS = [
    "clothing > men > shirts",
    "shoes > accessories ; clothing > women > shirts",
    "shoes",
    "",
    "",
    "clothing > men > shirts",
]


def opened(dataset, tokenizer_folder, pair=False, rows=ROWS, max_length=64, **options):
    info = TaskInfo("t", "multiclass", ["a", "b"], pair=pair)
    dataset.task(info, rows, SPLITS)
    dataset.finish()
    text = options.pop("text", TextOptions(max_length=max_length))
    data = TaskDataModule(str(dataset.path), "t", str(tokenizer_folder), text, **options)
    data.setup("fit")
    return data


def ids_of(store: TokenStore) -> list[list[int]]:
    ids, _, mask = store.tokens(np.arange(len(store)))
    return [row[: sum(kept)].tolist() for row, kept in zip(ids, mask, strict=True)]


def slow_ids(vocabulary, *segments: list[str | None]) -> list[int]:
    """[CLS], then the texts of each segment one after the other and a [SEP] behind it."""
    special, tokenizer = vocabulary.special, vocabulary.tokenizer
    ids = [special.cls]
    for texts in segments:
        for text in texts:
            ids += tokenizer.encode(text or "", add_special_tokens=False).ids
        ids.append(special.sep)
    return ids


@pytest.mark.parametrize(("kind", "names"), [("leaf", LEAVES), ("path", PATHS)])
def test_names_stand_before_the_title(dataset, tokenizer_folder, kind, names):
    data = opened(dataset, tokenizer_folder, node_text=kind)
    assert ids_of(data.stores["train"]) == [
        slow_ids(dataset.vocabulary, [name, row["title"], row.get("description")])
        for name, row in zip(names, ROWS, strict=True)
    ]


@pytest.mark.parametrize(("kind", "names"), [("leaf", LEAVES), ("path", PATHS)])
def test_names_stand_behind_the_query_in_the_product_s_segment(
    dataset, tokenizer_folder, kind, names
):
    store = opened(dataset, tokenizer_folder, pair=True, node_text=kind).stores["train"]
    assert ids_of(store) == [
        slow_ids(dataset.vocabulary, [row["query"]], [name, row["title"], row.get("description")])
        for name, row in zip(names, ROWS, strict=True)
    ]
    _, segments, mask = store.tokens(np.array([0]))
    # [CLS] shirt [SEP] ... [SEP]
    assert segments[0].tolist() == [0, 0, 0] + [1] * (int(mask.sum()) - 3)


def test_without_a_link_the_tokens_are_those_without_node_text(dataset, tokenizer_folder):
    plain = ids_of(opened(dataset, tokenizer_folder).stores["train"])
    linked = ids_of(opened(dataset, tokenizer_folder, node_text="path").stores["train"])
    assert [a == b for a, b in zip(plain, linked, strict=True)] == [
        not row["node_ids"] for row in ROWS
    ]


def test_names_are_cleaned_like_the_other_fields(dataset, tokenizer_folder):
    dataset.retail = Hierarchy.from_paths([("Red 42!", "Blue-Shoe")])
    text = TextOptions(max_length=32, clean="letters")
    rows = [{"title": "size 42", "node_ids": [1]}]
    data = opened(dataset, tokenizer_folder, rows=rows, text=text, node_text="path")
    expected = slow_ids(dataset.vocabulary, ["red blue shoe", "size"])
    assert ids_of(data.stores["train"]) == [expected]


def test_names_are_served_before_the_title(dataset, tokenizer_folder):
    rows = [{"title": "red blue red", "description": "size", "node_ids": [7]}]
    data = opened(dataset, tokenizer_folder, rows=rows, max_length=6, node_text="leaf")
    tokens = slow_ids(dataset.vocabulary, ["shirts", "red blue red"])
    assert ids_of(data.stores["train"]) == [[*tokens[:5], dataset.vocabulary.special.sep]]


def test_another_tree_or_another_text_of_its_nodes_makes_another_cache(dataset):
    dataset.products(ROWS)

    def spec(**changes) -> CacheSpec:
        return replace(dataset.spec(hierarchy=None, num_labels=8), **changes)

    other = Hierarchy.from_paths([path for path in RETAIL if path[0] == "Clothing"])
    choices = [
        None,
        node_texts(dataset.retail, "leaf"),
        node_texts(dataset.retail, "path"),
        node_texts(other, "leaf"),
    ]
    keys = [spec(nodes=nodes).key for nodes in choices]
    assert len(set(keys)) == len(keys)
    assert spec(nodes=node_texts(Hierarchy.from_paths(RETAIL), "leaf")).key == keys[1]


def test_a_changed_tree_is_not_read_from_the_old_cache(dataset, tokenizer_folder):
    rows = [{"title": "red", "node_ids": [4]}]
    before = opened(dataset, tokenizer_folder, rows=rows, node_text="leaf").stores["train"]
    dataset.retail = Hierarchy.from_paths([("Shoes", "Blue"), *RETAIL[1:]])
    dataset.finish()  # the shards stay as they are
    after = TaskDataModule(str(dataset.path), "t", str(tokenizer_folder), node_text="leaf")
    after.setup("fit")
    assert ids_of(before) == [slow_ids(dataset.vocabulary, ["accessories", "red"])]
    assert ids_of(after.stores["train"]) == [slow_ids(dataset.vocabulary, ["blue", "red"])]


def test_encoding_of_chunked_and_null_lists():
    texts = node_texts(Hierarchy.from_paths(RETAIL), "leaf")
    column = pa.chunked_array(
        [[[6], None], pa.array([[1, 2], [5], []], pa.list_(pa.int32())).slice(1), [[0, 3, 4]]],
        pa.list_(pa.int32()),
    )
    expected = ["Shirts", "", "Accessories", "", "Clothing ; Women ; Accessories"]
    assert texts.of(column).to_pylist() == expected


def test_an_unknown_node_is_named(dataset, tokenizer_folder):
    with pytest.raises(UserError, match=r"row 1: node_ids holds 8, but ids go from 0 to 7"):
        opened(
            dataset, tokenizer_folder, rows=[{"node_ids": [1]}, {"node_ids": [8]}], node_text="leaf"
        )


def test_a_task_without_links_works_until_they_are_asked_for(dataset, tokenizer_folder):
    data = opened(dataset, tokenizer_folder)
    expected = ids_of(data.stores["train"])
    for file in (dataset.path / "tasks" / "t").glob("*.parquet"):
        pq.write_table(pq.read_table(file).drop_columns("node_ids"), file)
    again = TaskDataModule(
        str(dataset.path), "t", str(tokenizer_folder), TextOptions(max_length=64)
    )
    again.setup("fit")
    assert ids_of(again.stores["train"]) == expected
    with pytest.raises(UserError, match=r"no column 'node_ids', which node_text needs; prepare"):
        TaskDataModule(str(dataset.path), "t", str(tokenizer_folder), node_text="leaf").setup("fit")
    (dataset.path / "hierarchy.parquet").unlink()
    with pytest.raises(UserError, match="has no tree, which node_text needs"):
        TaskDataModule(str(dataset.path), "t", str(tokenizer_folder), node_text="leaf")


def test_node_text_has_no_fields_layout(dataset, tokenizer_folder):
    with pytest.raises(UserError, match=r"text\.segments: fields cannot be used with node_text"):
        opened(dataset, tokenizer_folder, text=TextOptions(segments="fields"), node_text="leaf")


def test_the_contract_has_the_column_of_links():
    assert TASK_SCHEMA.field("node_ids") == pa.field("node_ids", pa.list_(pa.int32()))
