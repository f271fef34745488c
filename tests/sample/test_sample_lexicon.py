import hashlib

import numpy as np
import pyarrow as pa
import pytest

from data_modules.sample.lexicon import Lexicon, Sentences, join
from data_modules.sample.splits import split_numbers
from data_modules.sample.texts import list_column
from data_modules.sample.vocabulary import SLOTS, load_vocabulary


def ints(*values):
    return np.array(values, dtype=np.int64)


def test_words_are_picked_by_key_locale_and_uniform_number():
    lexicon = Lexicon([[["a", "b"], ["A"]], [["c", "d", "e", "f"], ["C", "D"]]])
    picked = lexicon.pick(
        ints(0, 0, 0, 1, 1, 1, -1),
        ints(0, 0, 1, 0, 1, 1, 0),
        np.array([0.1, 0.5, 0.9, 0.8, 0.4, 0.5, 0]),
    )
    assert picked.to_pylist() == ["a", "b", "A", "f", "C", "D", None]
    assert lexicon.size == 2


def test_sentences_are_filled_and_null_where_a_gap_is():
    sentences = Sentences([["{0} and {1}!", "not {0} but {1}"], ["{0} und {1}!", "{0}/{1}"]])
    filled = sentences.fill(
        ints(0, 0, 1, 1), np.array([0.1, 0.6, 0.1, 0.9]),
        pa.array(["x", "x", "x", None]), pa.array(["y", "z", "z", "z"]),
    )  # fmt: skip
    assert filled.to_pylist() == ["x and y!", "not x but z", "x und z!", None]


def test_join_leaves_out_nulls_and_keeps_rows_of_nulls():
    columns = [pa.array(["a", None, None, "d"]), pa.array(["b", "c", None, None], pa.string())]
    assert join(columns, "-").to_pylist() == ["a-b", "c", None, "d"]


def test_list_column_drops_nulls_row_by_row():
    columns = [pa.array(["a", None, None]), pa.array(["b", "c", None])]
    assert list_column(columns).to_pylist() == [["a", "b"], ["c"], []]


def test_split_numbers_follow_the_hash():
    keys = [f"key {number}" for number in range(2000)]
    hashes = [hashlib.md5(key.encode()).hexdigest()[:8] for key in keys]
    expected = [0 if h < "cccccccc" else 1 if h < "e6666666" else 2 for h in hashes]
    assert split_numbers(pa.array(keys)).tolist() == expected
    assert split_numbers(pa.array(["e", "a"])).tolist() == [1, 0]  # e1671797..., 0cc175b9...


@pytest.fixture(scope="module")
def vocabulary():
    return load_vocabulary()


def test_word_lists_are_a_believable_shop(vocabulary):
    assert len(vocabulary.departments) >= 12
    assert len(vocabulary.types) >= 300
    assert all(len(department.facets) == SLOTS for department in vocabulary.departments)
    for kind in vocabulary.types:
        home = vocabulary.departments[vocabulary.groups[kind.group].department]
        assert kind.facets <= set(home.facets)


def test_types_of_other_departments_share_forms(vocabulary):
    homes = {}
    for kind in vocabulary.types:
        homes.setdefault(kind.form, set()).add(vocabulary.groups[kind.group].department)
    assert sum(len(departments) > 1 for departments in homes.values()) >= 30


def test_words_mean_different_things_in_different_departments(vocabulary):
    """The mouse of a computer and of a cat, dishwasher tablets and tablet computers."""
    forms = {}
    for kind in vocabulary.types:
        forms.setdefault(kind.form[0], set()).add(kind.names[0])
    assert {"Mice", "Toy Mice"} <= forms["mouse"]
    assert {"Tablets", "Dishwasher Tablets", "Vitamins"} <= forms["tablet"]


def test_no_name_holds_the_path_separator(vocabulary):
    named = [*vocabulary.departments, *vocabulary.groups, *vocabulary.types]
    names = [name for thing in named for name in thing.names]
    names += [name for pair in vocabulary.values for name in pair]
    assert all(name.strip() == name and name and " > " not in name for name in names)
