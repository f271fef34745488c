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
