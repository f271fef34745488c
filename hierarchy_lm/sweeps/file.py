"""A sweep file: what W&B reads from it, checked before anything runs."""

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from hierarchy_lm.errors import UserError
from hierarchy_lm.sweeps.expansion import render
from hierarchy_lm.sweeps.parameters import Parameter, read_parameter

SEED = "seed_everything"
CONFIG = "config"
ARGS = "${args}"
METHODS = ("grid", "random")
COMMANDS = ("fit", "transfer", "tfidf")
REMOTE = ("program", "description", "entity", "early_terminate", "controller")
"""Keys that mean something to W&B alone."""
KEYS = ("method", "parameters", "command", "name", "project", "metric", "run_cap", *REMOTE)
NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")  # as W&B wants it
ENVIRONMENT = re.compile(r"\$\{envvar:([A-Z0-9_]*)\}")


@dataclass(frozen=True)
class Sweep:
    """A sweep file that was checked.

    Attributes:
        name: Its name, by default that of the file.
        method: ``grid`` or ``random``.
        command: What stands before the arguments, from ``fit`` or ``transfer`` on.
        parameters: By their dotted names, in the order of the file.
        metric: The metric that the sweep is about, if it says so.
        project: W&B project, if it says so.
        run_cap: Largest number of runs.
    """

    name: str
    method: str
    command: list[str]
    parameters: Mapping[str, Parameter]
    metric: str | None = None
    project: str | None = None
    run_cap: int | None = None

    def argv(self, values: Mapping[str, Any], extra: Sequence[str] = ()) -> list[str]:
        """Command line of one run, without the program's name.

        A swept ``config`` is a whole file: it comes first, so that neither the extra arguments nor
        the other swept values are overridden by it.

        Args:
            values: The swept values.
            extra: Arguments of every run, weaker than the swept values.
        """
        files = {name: value for name, value in values.items() if name == CONFIG}
        others = {name: value for name, value in values.items() if name != CONFIG}
        return [*self.command, *render(files), *extra, *render(others)]


def read_sweep(path: Path) -> Sweep:
    """Read a sweep file as W&B does, and check it more strictly.

    Raises:
        UserError: If it is no sweep that `hlm sweep` can run.
    """
    content = _load(path)
    if unknown := [key for key in content if key not in KEYS]:
        raise UserError(f"{path}: unknown key '{unknown[0]}'; W&B knows {', '.join(KEYS)}")
    method = content.get("method")
    if method not in METHODS:
        raise UserError(f"{path}: method '{method}' is none of {', '.join(METHODS)}")
    parameters = _parameters(path, content.get("parameters"))
    for name, parameter in parameters.items():
        if method == "grid" and parameter.values() is None:
            raise UserError(
                f"{path}: parameters: {name}: a grid needs values, not {parameter.distribution}"
            )
    return Sweep(
        str(content.get("name") or path.stem),
        method,
        _command(path, content.get("command")),
        parameters,
        _metric(path, content.get("metric")),
        content.get("project"),
        _run_cap(path, content.get("run_cap")),
    )


def _load(path: Path) -> dict[str, Any]:
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"{path}: cannot read the sweep file ({error.strerror})") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: no valid YAML ({error})") from error
    if not isinstance(content, dict):
        raise UserError(f"{path}: no sweep file; it has no method, parameters and command")
    return content


def _parameters(path: Path, content: Any) -> dict[str, Parameter]:  # noqa: ANN401
    if not isinstance(content, dict) or not content:
        raise UserError(f"{path}: parameters: nothing is swept; name at least one option there")
    parameters = {}
    for name, entry in content.items():
        if not isinstance(name, str) or not NAME.fullmatch(name):
            raise UserError(f"{path}: parameters: '{name}' is no name of an option")
        try:
            parameters[name] = read_parameter(entry)
        except UserError as error:
            raise UserError(f"{path}: parameters: {name}: {error}") from error
    return parameters


def _command(path: Path, content: Any) -> list[str]:  # noqa: ANN401
    """What stands before ``${args}``, from the name of the `hlm` command on."""
    form = f"command: [hlm, fit, --config, FILE, '{ARGS}']"
    if not isinstance(content, list) or not content:
        raise UserError(f"{path}: command: it is missing; write {form}")
    words = [_fill(path, str(word)) for word in content]
    if words.count(ARGS) != 1 or words[-1] != ARGS:
        raise UserError(
            f"{path}: command: {ARGS} must stand there once and last, or what stands behind it "
            f"overrides the swept values; write {form}"
        )
    words = words[1:-1] if words[0] == "${env}" else words[:-1]
    if macros := [word for word in words if word.startswith("${")]:
        raise UserError(f"{path}: command: {macros[0]} is not understood here; write {form}")
    if len(words) < 2 or words[0] != "hlm" or words[1] not in COMMANDS:
        raise UserError(
            f"{path}: command: a sweep runs `hlm {'` or `hlm '.join(COMMANDS)}`; write {form}"
        )
    return words[1:]


def _fill(path: Path, word: str) -> str:
    """A word of the command with its environment variables filled in, as W&B's agent does it."""

    def value(match: re.Match[str]) -> str:
        name = match.group(1)
        if name not in os.environ:
            raise UserError(f"{path}: command: the environment variable {name} is not set")
        return os.environ[name]

    return ENVIRONMENT.sub(value, word)


def _metric(path: Path, content: Any) -> str | None:  # noqa: ANN401
    if content is None:
        return None
    if not isinstance(content, dict) or not isinstance(content.get("name"), str):
        raise UserError(f"{path}: metric: it has no name")
    if unknown := [key for key in content if key not in ("name", "goal", "target", "impute")]:
        raise UserError(f"{path}: metric: unknown key '{unknown[0]}'")
    return str(content["name"])


def _run_cap(path: Path, content: Any) -> int | None:  # noqa: ANN401
    if content is not None and (type(content) is not int or content < 1):
        raise UserError(f"{path}: run_cap: {content} is no number of runs")
    return content
