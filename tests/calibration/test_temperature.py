import numpy as np
import pytest

from hierarchy_lm.calibration import fit_temperature, tuning_items


def log_loss(temperature: float, logits, correct, weights) -> float:
    margin = np.where(correct, 1, -1) * np.asarray(logits) / temperature
    return float((weights * np.logaddexp(0, -margin)).sum())  # -log sigmoid(margin)


def synthetic(temperature: float, num_items: int, seed: int = 0):
    """Logits that are ``temperature`` times too large."""
    random = np.random.default_rng(seed)
    true_logits = random.normal(1.0, 2.0, num_items)
    correct = random.random(num_items) < 1 / (1 + np.exp(-true_logits))
    return true_logits * temperature, correct


@pytest.mark.parametrize("temperature", [0.3, 1.0, 2.5, 8.0])
def test_a_known_temperature_is_recovered(temperature):
    logits, correct = synthetic(temperature, 100_000)
    assert fit_temperature(logits, correct, np.ones(100_000)) == pytest.approx(
        temperature, rel=0.03
    )


@pytest.mark.parametrize("seed", range(5))
def test_no_temperature_of_a_grid_has_a_smaller_weighted_loss(seed):
    logits, correct = synthetic(2.0, 60, seed)
    weights = np.random.default_rng(seed).exponential(size=60)
    best = log_loss(fit_temperature(logits, correct, weights), logits, correct, weights)
    grid = np.geomspace(0.05, 20, 400)
    assert best <= min(log_loss(t, logits, correct, weights) for t in grid) + 1e-9


def test_integer_weights_are_repetitions():
    logits, correct = synthetic(1.7, 40)
    times = np.random.default_rng(0).integers(0, 4, 40)
    repeated = fit_temperature(
        np.repeat(logits, times), np.repeat(correct, times), np.ones(times.sum())
    )
    assert fit_temperature(logits, correct, times) == pytest.approx(repeated, rel=1e-9)


@pytest.mark.parametrize(
    ("logits", "correct", "weights"),
    [
        ([], [], []),
        ([2.0, 1.0], [True, False], [0.0, 0.0]),
        ([2.0, 3.0], [True, True], [1.0, 1.0]),
        ([2.0, 3.0], [False, False], [1.0, 1.0]),
        ([2.0, 3.0], [True, False], [1.0, 0.0]),
        ([0.0, 0.0], [True, False], [1.0, 1.0]),
    ],
)
def test_data_that_say_nothing_leave_the_scores_alone(logits, correct, weights):
    assert fit_temperature(logits, correct, weights) == 1.0


def test_a_minimum_outside_the_range_gives_the_nearer_end():
    separable = fit_temperature([3.0, 2.0, -1.0], [True, True, False], [1.0, 1.0, 1.0])
    reversed_signs = fit_temperature([3.0, 2.0, -1.0], [False, False, True], [1.0, 1.0, 1.0])
    assert separable == pytest.approx(0.05)
    assert reversed_signs == pytest.approx(20.0)


def test_huge_logits_do_not_overflow():
    # Half of the confident answers wrong: as flat as allowed.
    found = fit_temperature([1e4, 1e4], [True, False], [1.0, 1.0])
    assert found == pytest.approx(20.0)


@pytest.mark.parametrize(
    ("logits", "correct", "weights", "message"),
    [
        ([1.0], [True, False], [1.0], "alike"),
        ([float("nan")], [True], [1.0], "finite"),
        ([1.0], [True], [-1.0], "negative"),
    ],
)
def test_broken_input_is_refused(logits, correct, weights, message):
    with pytest.raises(ValueError, match=message):
        fit_temperature(logits, correct, weights)


def test_tuning_items_are_the_same_share_every_time():
    mask = tuning_items(1000, 0.2)
    assert mask.sum() == 200
    assert (mask == tuning_items(1000, 0.2)).all()
    assert (mask != tuning_items(1000, 0.2, seed=1)).any()
    assert 60 < mask[:500].sum() < 140  # not a block of the file
    with pytest.raises(ValueError, match="share"):
        tuning_items(10, 1.5)
