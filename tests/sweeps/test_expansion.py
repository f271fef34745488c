"""Settings of a grid against itertools, of a random search against what was asked for."""

import itertools
import math
from collections import Counter
from dataclasses import replace

import pytest

from hierarchy_lm.errors import UserError
from hierarchy_lm.sweeps import settings


def test_a_grid_is_the_full_product_in_the_order_of_the_file(sweep):
    loaded = sweep(
        parameters={
            "z.beta": {"values": [0.9, 0.8, 0.7, 0.6]},
            "a.t_gate": {"values": [0, 1000, 3000]},
            "trainer.max_epochs": {"value": 2},
            "seed_everything": {"min": 0, "max": 1},
        }
    )
    expected = [
        {"z.beta": beta, "a.t_gate": gate, "trainer.max_epochs": 2, "seed_everything": seed}
        for beta, gate, seed in itertools.product([0.9, 0.8, 0.7, 0.6], [0, 1000, 3000], [0, 1])
    ]
    found = settings(loaded)
    assert found == expected
    assert [list(setting) for setting in found] == [list(setting) for setting in expected]
    assert len(found) == 4 * 3 * 2


def test_a_cap_takes_the_first_of_a_grid(sweep):
    parameters = {"a": {"values": [1, 2]}, "b": {"values": [3, 4]}}
    assert settings(sweep(parameters=parameters, run_cap=3)) == [
        {"a": 1, "b": 3},
        {"a": 1, "b": 4},
        {"a": 2, "b": 3},
    ]
    assert len(settings(sweep(parameters=parameters, run_cap=3), 2)) == 2


DRAWN = {
    "a": {"values": ["x", "y"]},
    "b": {"min": 1, "max": 3},
    "c": {"min": 0.5, "max": 1.5},
    "d": {"distribution": "log_uniform_values", "min": 1e-5, "max": 1e-1},
    "e": {"distribution": "q_uniform", "min": 0, "max": 100, "q": 10},
    "f": {"distribution": "q_log_uniform_values", "min": 8, "max": 512, "q": 8},
    "g": {"distribution": "normal", "mu": 5, "sigma": 2},
    "h": {"value": "fixed"},
    "i": {"values": [1, 2], "probabilities": [0.9, 0.1]},
    "j": {"distribution": "q_normal", "mu": 100, "sigma": 20, "q": 5},
}


def test_draws_follow_their_distributions(sweep):
    found = settings(sweep(method="random", parameters=DRAWN), 2000, random_seed=1)
    columns = {name: [setting[name] for setting in found] for name in DRAWN}
    assert len(found) == 2000
    assert Counter(columns["a"])["x"] == pytest.approx(1000, abs=120)
    assert all(count == pytest.approx(667, abs=110) for count in Counter(columns["b"]).values())
    assert sorted(set(columns["b"])) == [1, 2, 3]
    assert all(0.5 <= value <= 1.5 for value in columns["c"])
    assert sum(columns["c"]) / 2000 == pytest.approx(1.0, abs=0.03)
    # uniform over the four decades
    decades = Counter(math.floor(math.log10(value)) for value in columns["d"])
    assert set(decades) == {-5, -4, -3, -2}
    assert all(count == pytest.approx(500, abs=100) for count in decades.values())
    assert set(columns["e"]) == set(range(0, 101, 10))
    assert all(type(value) is int for value in columns["e"])
    assert all(value % 8 == 0 and 8 <= value <= 512 for value in columns["f"])
    assert sum(columns["g"]) / 2000 == pytest.approx(5, abs=0.2)
    assert set(columns["h"]) == {"fixed"}
    assert Counter(columns["i"])[2] == pytest.approx(200, abs=60)
    assert all(value % 5 == 0 for value in columns["j"])
    assert sum(columns["j"]) / 2000 == pytest.approx(100, abs=2)


def test_more_runs_continue_fewer_and_the_seed_decides(sweep):
    loaded = sweep(method="random", parameters=DRAWN, run_cap=4)
    assert settings(loaded) == settings(loaded, 9)[:4]
    assert settings(loaded, random_seed=1) != settings(loaded)


def test_no_setting_is_drawn_twice_and_a_small_space_ends(sweep):
    loaded = sweep(method="random", parameters={"a": {"values": [1, 2]}, "b": {"value": 0}})
    assert sorted(setting["a"] for setting in settings(loaded, 10)) == [1, 2]


def test_a_random_search_needs_a_number(sweep):
    with pytest.raises(UserError, match="needs run_cap or --runs"):
        settings(replace(sweep(), method="random"))
