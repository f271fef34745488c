"""Titles of augmented copies (DHPC, D.4), and the options."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_modules.augmentation import AugmentationOptions, augment_title


def test_words_and_the_names_place_are_uniform():
    titles = Counter(
        augment_title("a b c", ["N M"], np.random.default_rng([7, n])) for n in range(4800)
    )
    assert len(titles) == 24  # 3! orders times 4 places
    chi_square = sum((count - 200) ** 2 / 200 for count in titles.values())
    assert chi_square < 49.7  # 99.9 % of 23 degrees of freedom


@given(title=st.one_of(st.none(), st.text()), name=st.text(), seed=st.integers(0, 2**32))
def test_any_title_keeps_its_words_and_gains_the_name(title, name, seed):
    made = augment_title(title, [name], np.random.default_rng(seed))
    words = (title or "").split()
    assert Counter(made.split()) == Counter(words) + Counter(name.split())
    assert " ".join(name.split()) in made
    assert made == " ".join(made.split())


@pytest.mark.parametrize(
    "changes",
    [
        {"rate": -0.1},
        {"rate": 1.1},
        {"rate": float("nan")},
        {"mode": "both"},
        {"multi_label": "some"},
    ],
)
def test_values_that_make_no_sense_are_refused(changes):
    with pytest.raises(ValueError, match=rf"augmentation.{next(iter(changes))} must be"):
        AugmentationOptions(**changes)
