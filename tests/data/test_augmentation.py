"""Augmented copies (DHPC, D.4): which items, and the shard that holds them."""

import os
from collections import Counter
from decimal import ROUND_HALF_UP, Decimal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data_modules.augmentation import AugmentationOptions, augmented_shard
from data_modules.shards import find_shards
from data_modules.tokens import open_cache
from hierarchy_lm.dataset import PRODUCT_SCHEMA
from hierarchy_lm.errors import UserError

NAMES = ["Shirts", "Running Shoes", "Kids & Baby", "靴", "Мужская обувь"]
WORDS = ["red", "blue", "cotton", "xl", "2-pack", "for", "men", "синий", "ткань", "新品"]


def make_rows(count: int, seed: int = 0) -> list[dict]:
    rng = np.random.default_rng(seed)
    return [
        {
            "item_id": f"item-{seed}-{number}",
            "title": " ".join(rng.choice(WORDS, rng.integers(2, 9))),
            "description": "a text that must not be there",
            "bullet_points": ["nor", "these"],
            "node_ids": [int(node) for node in rng.choice(8, rng.integers(1, 3), replace=False)],
            "weight": float(number % 7),
        }
        for number in range(count)
    ]


def find(dataset):
    return find_shards(dataset.path / "products", "train", PRODUCT_SCHEMA, ["item_id", "title"])


def one_label_each(count: int, seed: int = 1):
    """Coordinates of one label per document, in documents' order."""
    labels = np.random.default_rng(seed).integers(len(NAMES), size=count)
    return np.arange(count), labels


def augment_all(shards, output, rate=0.3, seed=1):
    """Draws from 300 rows of one label each."""
    options = AugmentationOptions(rate)
    return augmented_shard(
        shards, np.arange(300), NAMES, *one_label_each(300), options, seed, output
    )


def copies_of(path) -> list[dict]:
    return pq.read_table(path).to_pylist()


def words_without(title: str, phrase: str) -> Counter:
    """Words of a title that holds the phrase at word boundaries, less one phrase."""
    assert f" {phrase} " in f" {title} "
    return Counter(title.split()) - Counter(phrase.split())


@pytest.fixture
def split(dataset):
    """Three shards of 300 rows in all, in row groups of 17."""
    rows = make_rows(300)
    for number, (start, end) in enumerate([(0, 120), (120, 121), (121, 300)]):
        dataset.products(rows[start:end], f"train-{number:05d}", row_group_size=17)
    return find(dataset), rows


@pytest.mark.parametrize("rate", [0.05, 0.1, 0.35, 1.0])
def test_each_leaf_gives_its_share_rounded_half_up(split, tmp_path, rate):
    shards, _ = split
    _, labels = one_label_each(300)
    found = augment_all(shards, tmp_path / "a.parquet", rate, 3)
    assert len(set(found.tolist())) == len(found)
    per_leaf = Counter(labels[found].tolist())
    for leaf, count in Counter(labels.tolist()).items():
        share = (Decimal(str(rate)) * count).to_integral_value(ROUND_HALF_UP)
        assert per_leaf[leaf] == share


def test_a_leaf_of_few_items_has_no_copy(split, tmp_path):
    labels = np.array([0] * 9 + [1] * 10 + [2])
    found = augmented_shard(
        split[0],
        np.arange(20),
        NAMES,
        np.arange(20),
        labels,
        AugmentationOptions(0.05),
        0,
        tmp_path / "a.parquet",
    )
    assert labels[found].tolist() == [1]


def test_copies_hold_shuffled_words_the_name_and_nothing_else(split, tmp_path):
    shards, rows = split
    candidates = np.arange(299, -1, -3)  # any order, any subset
    documents, labels = one_label_each(len(candidates))
    output = tmp_path / "made" / "a.parquet"
    found = augmented_shard(
        shards, candidates, NAMES, documents, labels, AugmentationOptions(0.6), 5, output
    )
    label_of = dict(zip(candidates.tolist(), labels.tolist(), strict=True))
    copies = copies_of(output)
    assert found.tolist() == sorted(found.tolist())
    assert len(copies) == len(found) > 40
    shuffled = 0
    for row, copy in zip(found.tolist(), copies, strict=True):
        rest = words_without(copy["title"], NAMES[label_of[row]])
        assert rest == Counter(rows[row]["title"].split())
        shuffled += rows[row]["title"] not in copy["title"]
        assert copy["description"] is None
        assert copy["bullet_points"] == []
        for column in ("item_id", "node_ids", "weight"):
            assert copy[column] == rows[row][column]
    assert shuffled > len(copies) / 2


@pytest.mark.parametrize("title", [None, "", "  \t\n "])
def test_an_item_without_a_title_gets_the_name_alone(dataset, tmp_path, title):
    dataset.products([{"title": title, "description": "text", "node_ids": [1]}])
    zero = np.zeros(1, dtype=np.int64)
    output = tmp_path / "a.parquet"
    augmented_shard(find(dataset), zero, NAMES, zero, zero + 1, AugmentationOptions(1.0), 0, output)
    assert [copy["title"] for copy in copies_of(output)] == ["Running Shoes"]


def test_one_seed_one_result(split, tmp_path):
    shards, _ = split

    def run(seed, name):
        path = tmp_path / name
        found = augment_all(shards, path, seed=seed)
        return found.tolist(), [copy["title"] for copy in copies_of(path)]

    assert run(1, "a") == run(1, "b")
    rows, titles = run(2, "c")
    other_rows, other_titles = run(1, "d")
    assert rows != other_rows
    common = set(rows) & set(other_rows)
    assert any(titles[rows.index(n)] != other_titles[other_rows.index(n)] for n in common)


def test_the_cut_into_shards_and_row_groups_does_not_matter(split, dataset, tmp_path):
    shards, rows = split

    def run(shards, name):
        output = tmp_path / name
        augment_all(shards, output)
        return copies_of(output)

    before = run(shards, "a")
    for shard in shards:
        shard.path.unlink()
    dataset.products(rows)
    assert run(find(dataset), "b") == before


@pytest.fixture
def two_labels(split):
    """Every item has two labels; all items have the last one."""
    labels = np.stack([np.arange(300) % 4, np.full(300, 4)], axis=1).ravel()
    return (split[0], np.arange(300), NAMES, np.repeat(np.arange(300), 2), labels)


def test_one_of_several_labels_lends_its_name(two_labels, split, tmp_path):
    output = tmp_path / "a.parquet"
    found = augmented_shard(*two_labels, AugmentationOptions(0.2), 1, output)
    # Five leaves drew: 75 * 0.2 for each of four, 300 * 0.2 for the last; some items twice.
    assert 60 < len(found) < 4 * 15 + 60
    used = Counter()
    for row, copy in zip(found.tolist(), copies_of(output), strict=True):
        counts = Counter(split[1][row]["title"].split())
        fits = [
            label
            for label in (row % 4, 4)
            if Counter(copy["title"].split()) == counts + Counter(NAMES[label].split())
        ]
        assert len(fits) == 1
        used[fits[0]] += 1
        words_without(copy["title"], NAMES[fits[0]])
    # Each leaf names what it alone drew, and some of what two leaves drew.
    assert all(0 < used[leaf] <= 15 for leaf in range(4))
    assert 45 < used[4] <= 60
    assert sum(used[leaf] for leaf in range(4)) > 40


def test_all_labels_lend_their_names(two_labels, split, tmp_path):
    output = tmp_path / "a.parquet"
    found = augmented_shard(*two_labels, AugmentationOptions(0.2, multi_label="all"), 1, output)
    for row, copy in zip(found.tolist(), copies_of(output), strict=True):
        both = [NAMES[row % 4], NAMES[4]]
        expected = Counter(f"{split[1][row]['title']} {both[0]} {both[1]}".split())
        assert Counter(copy["title"].split()) == expected
        assert all(f" {name} " in f" {copy['title']} " for name in both)


def test_options_for_several_labels_draw_the_same_items(two_labels, tmp_path):
    one = augmented_shard(*two_labels, AugmentationOptions(0.2), 1, tmp_path / "a")
    every = augmented_shard(
        *two_labels, AugmentationOptions(0.2, multi_label="all"), 1, tmp_path / "b"
    )
    assert one.tolist() == every.tolist()


def test_the_copies_tokenise_like_any_shard(split, dataset):
    folder = dataset.path / "copies"
    found = augment_all(split[0], folder / "train-copies.parquet", 0.2, 1)
    columns = ["item_id", "title", "description", "bullet_points", "node_ids"]
    shards = tuple(find_shards(folder, "train", PRODUCT_SCHEMA, columns))
    store = open_cache(dataset.spec(shards=shards, hierarchy=None), dataset.path / "cache", "train")
    ids = [split[1][row]["item_id"] for row in found]
    assert store.item_ids(np.arange(len(store))).to_pylist() == ids
    documents, nodes = store.labels(np.arange(len(store)))
    for number, row in enumerate(found.tolist()):
        assert sorted(nodes[documents == number]) == sorted(split[1][row]["node_ids"])


def test_a_shard_of_the_same_input_is_not_written_again(split, tmp_path):
    documents, labels = one_label_each(300)
    output = tmp_path / "a.parquet"

    def run(seed=1, shards=split[0], names=NAMES):
        common = (np.arange(300), names, documents, labels, AugmentationOptions(0.2))
        return augmented_shard(shards, *common, seed, output)

    def time_of_writing(**changes):
        os.utime(output, ns=(1, 1))
        run(**changes)
        return output.stat().st_mtime_ns

    first = run()
    assert time_of_writing() == 1
    assert run().tolist() == first.tolist()
    assert time_of_writing(seed=2) > 1
    assert time_of_writing(names=["other", *NAMES[1:]]) > 1
    os.utime(split[0][0].path, ns=(5, 5))
    folder = split[0][0].path.parent
    changed = find_shards(folder, "train", PRODUCT_SCHEMA, ["title"])
    assert time_of_writing(shards=changed) > 1
    output.write_bytes(b"half a file")
    run()
    assert len(copies_of(output)) == len(first)


def test_nothing_drawn_is_a_shard_without_rows(split, tmp_path):
    none = np.zeros(0, dtype=np.int64)
    output = tmp_path / "a.parquet"
    for rows, documents, labels, rate in [
        (none, none, none, 0.5),
        (np.arange(300), *one_label_each(300), 0.0),
        (np.arange(300), none, none, 1.0),  # unlabelled items
    ]:
        found = augmented_shard(
            split[0], rows, NAMES, documents, labels, AugmentationOptions(rate), 1, output
        )
        assert found.tolist() == []
        assert copies_of(output) == []


def test_wide_columns_missing_weights_and_bad_utf8(dataset, make_table, tmp_path):
    table = make_table(make_rows(4)).drop_columns(["weight"])
    binary = pa.array([b"red \xff", b"blue", None, b"\xd1 x"], pa.large_binary())
    broken = pa.Array.from_buffers(pa.large_string(), 4, binary.buffers(), 1)
    table = table.set_column(table.column_names.index("title"), "title", broken)
    node_ids = table["node_ids"].cast(pa.large_list(pa.int64()))
    dataset.write(table.set_column(table.column_names.index("node_ids"), "node_ids", node_ids))
    four = np.arange(4)
    output = tmp_path / "a.parquet"
    augmented_shard(find(dataset), four, ["N"] * 4, four, four, AugmentationOptions(1.0), 1, output)
    copies = copies_of(output)
    expected = [["N", "red", "�"], ["N", "blue"], ["N"], ["N", "x", "�"]]
    assert [sorted(copy["title"].split()) for copy in copies] == [sorted(e) for e in expected]
    assert [copy["weight"] for copy in copies] == [1.0] * 4


def test_a_place_that_cannot_be_written_is_one_line(split, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"not written .*; set data.cache_dir") as caught:
        augment_all(split[0], tmp_path / "file" / "a.parquet", 0.2, 1)
    assert "\n" not in str(caught.value)


def test_a_failed_write_leaves_nothing(split, tmp_path):
    split[0][2].path.write_bytes(b"")  # the last shard breaks after it was looked at
    output = tmp_path / "made" / "a.parquet"
    with pytest.raises(UserError):
        augment_all(split[0], output, 0.5, 1)
    assert [path.name for path in output.parent.iterdir()] == ["a.parquet.lock"]
