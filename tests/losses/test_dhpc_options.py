import pytest

from hierarchy_lm.losses import (
    BootstrapOptions,
    DHPCOptions,
    NegativeOptions,
    TemperatureOptions,
)


@pytest.mark.parametrize(
    ("options", "values", "message"),
    [
        (BootstrapOptions, {"beta": 0.0}, "bootstrap.beta must lie in"),
        (BootstrapOptions, {"beta": 1.1}, "bootstrap.beta must lie in"),
        (BootstrapOptions, {"t_gate": -1}, "bootstrap.t_gate"),
        (BootstrapOptions, {"t_gate": -0.5}, "bootstrap.t_gate"),
        (BootstrapOptions, {"t_gate": 2.5}, "bootstrap.t_gate"),
        (BootstrapOptions, {"form": "soft"}, "bootstrap.form: unknown 'soft'; use one of paper"),
        (BootstrapOptions, {"over": "none"}, "bootstrap.over: unknown 'none'"),
        (NegativeOptions, {"keep": 0.0}, "negatives.keep must lie in"),
        (NegativeOptions, {"keep": 1.5}, "negatives.keep must lie in"),
        (NegativeOptions, {"sampler": "hard"}, "negatives.sampler: unknown 'hard'"),
        (NegativeOptions, {"scale": "sqrt"}, "negatives.scale: unknown 'sqrt'"),
        (NegativeOptions, {"per": "epoch"}, "negatives.per: unknown 'epoch'"),
        (TemperatureOptions, {"train": 0.0}, "temperature must be positive"),
        (
            TemperatureOptions,
            {"schedule": "linear", "end": -1.0, "steps": 5},
            "temperature must be positive",
        ),
        (TemperatureOptions, {"schedule": "cosine"}, "temperature.schedule: unknown 'cosine'"),
        (
            TemperatureOptions,
            {"schedule": "linear", "steps": 5},
            "temperature.schedule: linear needs 'end'",
        ),
        (
            TemperatureOptions,
            {"schedule": "linear", "end": 0.9},
            "temperature.schedule: linear needs 'end'",
        ),
        (TemperatureOptions, {"end": 0.9}, "temperature: 'end' and 'steps' belong to"),
        (TemperatureOptions, {"steps": 10}, "temperature: 'end' and 'steps' belong to"),
        (DHPCOptions, {"label_smoothing": 1.0}, "label_smoothing must lie in"),
        (DHPCOptions, {"label_smoothing": -0.1}, "label_smoothing must lie in"),
        (DHPCOptions, {"class_reduction": "max"}, "class_reduction: unknown 'max'"),
    ],
)
def test_refused_values_are_named_in_one_line(options, values, message):
    with pytest.raises(ValueError, match=rf"^loss\.{message}") as caught:
        options(**values)
    assert "\n" not in str(caught.value)


def test_defaults_turn_every_strategy_off():
    options = DHPCOptions()
    assert options.bootstrap.beta_hat(0) == options.temperature.at(10**6) == 1.0
    assert options.negatives.keep == 1.0
    assert options.label_smoothing == 0.0


@pytest.mark.parametrize(
    ("t_gate", "total_steps", "first"),
    [(0, 10, 0), (0.25, 8, 2), (0.3, 8, 3), (0.99, 10, 10), (1, 10, 1), (3, 10, 3), (3.0, 2, 3)],
)
def test_a_gate_below_one_is_a_share_of_all_steps_rounded_up(t_gate, total_steps, first):
    options = BootstrapOptions(0.8, t_gate)
    found = [options.beta_hat(step, total_steps) for step in range(12)]
    assert found == [1.0] * first + [0.8] * (12 - first)


def test_a_share_needs_the_number_of_steps():
    with pytest.raises(ValueError, match="share of all steps; set_total_steps first"):
        BootstrapOptions(0.8, 0.5).beta_hat(0)
