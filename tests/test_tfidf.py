"""Which labels TF-IDF answers where scikit-learn has nothing to fit."""

import numpy as np
import pytest

from hierarchy_lm.errors import UserError
from hierarchy_lm.tfidf import Labels, TfidfLinear

TEXTS = ["red shoe", "red boot", "blue shoe", "blue boot"]


def fit(pairs, num_labels, single=False, others=("a red thing", "a blue thing", "nothing"), **more):
    labels = Labels(*np.array(pairs, dtype=np.int64).T, len(TEXTS), num_labels, single)
    counted = []
    model = TfidfLinear(ngrams=1, min_df=1, jobs=1)
    found = model.fit_predict(TEXTS, labels, list(others), advance=counted.append, **more)
    assert sum(counted) == num_labels
    return list(zip(*(part.tolist() for part in found.pairs), strict=True)), found


def test_labels_of_all_and_of_none_need_no_classifier():
    """Label 0 is red, 1 is everything, 2 is nothing, 3 is blue; "nothing" has no known word."""
    pairs, found = fit([(0, 0), (1, 0), (2, 3), (3, 3), *((n, 1) for n in range(4))], 4)
    assert found.num_classifiers == 2
    assert found.num_features == 4
    assert pairs[:4] == [(0, 0), (0, 1), (1, 1), (1, 3)]
    assert (2, 1) in pairs
    assert (2, 2) not in pairs


def test_one_label_alone_is_always_the_answer():
    pairs, found = fit([(n, 2) for n in range(4)], 5, single=True)
    assert pairs == [(0, 2), (1, 2), (2, 2)]
    assert found.num_classifiers == 0


@pytest.mark.parametrize(("num_labels", "classifiers"), [(2, 1), (3, 2)])
def test_a_single_label_is_that_of_the_largest_margin(num_labels, classifiers):
    pairs, found = fit([(0, 0), (1, 0), (2, 1), (3, 1)], num_labels, single=True)
    assert pairs[:2] == [(0, 0), (1, 1)]
    assert [document for document, _ in pairs] == [0, 1, 2]
    assert found.num_classifiers == classifiers


def test_more_labels_than_one_job_takes():
    others = [f"{colour} thing" for colour in ("red", "blue")]
    pairs = [(n, 2 * label + (n >= 2)) for label in range(20) for n in range(4)]
    found, _ = fit(pairs, 40, others=others)
    assert found == [(n, 2 * label + n) for n in range(2) for label in range(20)]


def test_texts_without_a_word_are_the_users_mistake():
    labels = Labels(np.array([0]), np.array([0]), 2, 2, False)
    with pytest.raises(UserError, match="no word occurs in 2 of the 2 training texts"):
        TfidfLinear().fit_predict(["", "?!"], labels, ["word"])
