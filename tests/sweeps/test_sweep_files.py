"""Sweep files that are wrong are refused in one line that names what is wrong."""

import pytest

from hierarchy_lm.errors import UserError
from hierarchy_lm.sweeps import read_sweep


def one(**entry):
    return {"parameters": {"model.optimizer.lr": entry}}


WRONG = {
    "unknown key 'parameter'": {"parameter": {}},
    "unknown key 'launch'": {"launch": {}},
    "method 'bayes' is none of grid, random": {"method": "bayes"},
    "method 'None'": {"method": None},
    "nothing is swept": {"parameters": {}},
    "nothing is swept;": {"parameters": None},
    "'model optimizer' is no name": {"parameters": {"model optimizer": {"value": 1}}},
    "lr: is no mapping": {"parameters": {"model.optimizer.lr": [1, 2]}},
    "lr: is a nested block": one(parameters={"lr": {"values": [1]}}),
    "lr: unknown key 'vales'": one(vales=[1], value=2),
    "lr: uniform needs min": one(),
    "lr: values is no list with something in it": one(values=[]),
    "lr: values is no list": one(values=3),
    "lr: the value 1 stands there twice": one(values=[1, 2, "1"]),
    "lr: null would arrive as the word None": one(values=[1, None]),
    "null would arrive": one(value={"a": [None]}),
    "lr: a value is no plain YAML": one(values=[__import__("datetime").date(2020, 1, 1)]),
    "lr: distribution 'beta' is none of constant": one(distribution="beta"),
    "lr: a grid needs values, not uniform": one(min=0.1, max=0.5),
    "lr: min 2.5 is above max 1": one(min=2.5, max=1),
    "lr: max a is not a number": one(min=1, max="a"),
    "lr: min 1.5 is not an integer": one(distribution="int_uniform", min=1.5, max=2),
    "lr: min 0 has no logarithm": one(distribution="log_uniform_values", min=0, max=2),
    "lr: q must be above 0": one(distribution="q_uniform", min=0, max=2, q=0),
    "lr: probabilities is no list": one(values=[1, 2], probabilities=[1]),
    "lr: the probabilities add up to 0.9": one(values=[1, 2], probabilities=[0.4, 0.5]),
    "command: it is missing": {"command": None},
    "${args} must stand there once and last": {"command": ["hlm", "fit"]},
    "${args} must stand there once and last,": {
        "command": ["hlm", "fit", "${args}", "--config", "experiments/sst.yaml"]
    },
    "${args} must stand there once": {"command": ["hlm", "fit", "${args}", "${args}"]},
    "${program} is not understood": {"command": ["hlm", "${program}", "${args}"]},
    "${args_no_boolean_flags} is not": {
        "command": ["hlm", "fit", "${args_no_boolean_flags}", "${args}"]
    },
    "a sweep runs `hlm fit`": {"command": ["python", "train.py", "${args}"]},
    "a sweep runs `hlm fit` or `hlm transfer`": {"command": ["hlm", "predict", "${args}"]},
    "the environment variable NO_SUCH is not set": {
        "command": ["hlm", "fit", "${envvar:NO_SUCH}", "${args}"]
    },
    "metric: it has no name": {"metric": {"goal": "maximize"}},
    "metric: unknown key 'gaol'": {"metric": {"name": "val/loss", "gaol": "minimize"}},
    "run_cap: 0 is no number of runs": {"run_cap": 0},
}


@pytest.mark.parametrize("message", WRONG)
def test_a_wrong_file_is_refused_in_one_line(message, sweep_file):
    path = sweep_file(**WRONG[message])
    with pytest.raises(UserError) as error:
        read_sweep(path)
    assert message in str(error.value)
    assert str(error.value).startswith(f"{path}: ")


@pytest.mark.parametrize(
    ("text", "message"),
    [("a: [", "no valid YAML"), ("just text", "no sweep file"), ("", "no sweep file")],
)
def test_a_file_of_something_else_is_refused(text, message, tmp_path):
    (tmp_path / "sweep.yaml").write_text(text)
    with pytest.raises(UserError, match=message):
        read_sweep(tmp_path / "sweep.yaml")
    with pytest.raises(UserError, match="cannot read"):
        read_sweep(tmp_path / "none.yaml")


def test_what_the_file_says_of_itself(sweep):
    loaded = sweep(
        name="Table 11",
        project="shop",
        description="W&B's alone",
        entity="team",
        early_terminate={"type": "hyperband", "min_iter": 3},
        metric={"name": "test/micro_f1", "goal": "maximize"},
        run_cap=5,
    )
    assert loaded.name == "Table 11"
    assert loaded.project == "shop"
    assert loaded.metric == "test/micro_f1"
    assert loaded.run_cap == 5
    assert loaded.command == ["fit", "--config", "experiments/sst.yaml"]
    assert sweep().name == "small"  # that of the file
