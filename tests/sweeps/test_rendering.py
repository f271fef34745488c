"""Arguments against W&B's own functions, put together as its agent does it."""

import pytest
import yaml
from wandb.sdk.launch.sweeps.utils import create_sweep_command, create_sweep_command_args

from hierarchy_lm.sweeps import read_sweep, render

VALUES = {
    "model.loss.beta": 0.7,
    "model.optimizer.lr": 1e-05,
    "model.loss.symmetric": False,
    "trainer.max_epochs": 3,
    "data.department": "Home & Garden",
    "model.skip.layers": [1, "a", True],
    "data.text": {"max_length": 64, "clean": "letters"},
    "name": "",
}


def agent_command_line(command, values):
    """What `wandb agent` starts (wandb_agent.py, _command_run)."""
    variables = create_sweep_command_args(
        {"args": {name: {"value": value} for name, value in values.items()}}
    )
    variables["env"] = ["/usr/bin/env"]
    line = []
    for word in create_sweep_command(list(command)):
        is_macro = word.startswith("${") and word.endswith("}")
        line += variables[word[2:-1]] if is_macro else [word]
    return line


def test_arguments_are_those_of_the_agent():
    expected = create_sweep_command_args(
        {"args": {name: {"value": value} for name, value in VALUES.items()}}
    )["args"]
    assert render(VALUES) == expected
    assert expected[:2] == ["--model.loss.beta=0.7", "--model.optimizer.lr=1e-05"]


@pytest.mark.parametrize(
    "command",
    [
        ["hlm", "fit", "--config", "experiments/sst.yaml", "${args}"],
        ["${env}", "hlm", "fit", "--config=experiments/sst.yaml", "${args}"],
        ["hlm", "fit", "--data.dataset", "${envvar:SHOP}/${envvar:YEAR}", "${args}"],
        ["hlm", "transfer", "--pretrain_seed", 3, "${args}"],
    ],
)
def test_command_lines_are_those_of_the_agent(command, sweep_file, monkeypatch):
    monkeypatch.setenv("SHOP", "catalogue")
    monkeypatch.setenv("YEAR", "2024")
    path = sweep_file(command=command)
    expected = agent_command_line(map(str, yaml.safe_load(path.read_text())["command"]), VALUES)
    if expected[0] == "/usr/bin/env":
        del expected[0]
    assert ["hlm", *read_sweep(path).argv(VALUES)] == expected


def test_extra_arguments_stand_behind_the_command_and_a_swept_file(sweep):
    values = {"model.loss.beta": 0.7, "config": "leaf.yaml", "data.department": "Toys"}
    assert sweep(command=["hlm", "fit", "${args}"]).argv(values, ["--config", "smoke.yaml"]) == [
        *("fit", "--config=leaf.yaml", "--config", "smoke.yaml"),
        *("--model.loss.beta=0.7", "--data.department=Toys"),
    ]
