"""One swept parameter: the values that it takes, or the distribution that they are drawn from."""

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from random import Random
from typing import Any, NamedTuple

from hierarchy_lm.errors import UserError


class Distribution(NamedTuple):
    """A distribution of W&B.

    Attributes:
        needs: Keys that it must have.
        may: Its other keys, with their defaults.
        draw: One value.
    """

    needs: tuple[str, ...]
    may: Mapping[str, Any]
    draw: Callable[[Mapping[str, Any], Random], Any]


@dataclass(frozen=True)
class Parameter:
    """A parameter of a sweep file that was checked.

    Attributes:
        distribution: Its name in W&B.
        options: Its keys.
    """

    distribution: str
    options: Mapping[str, Any]

    def values(self) -> list[Any] | None:
        """What a grid gives it; None if it can only be drawn."""
        match self.distribution:
            case "constant":
                return [self.options["value"]]
            case "categorical":
                return list(self.options["values"])
            case "int_uniform":
                return list(range(self.options["min"], self.options["max"] + 1))
            case _:
                return None

    def draw(self, generator: Random) -> Any:  # noqa: ANN401  (a value of the YAML file)
        """One value at random."""
        return DISTRIBUTIONS[self.distribution].draw(self.options, generator)


def _uniform(options: Mapping[str, Any], generator: Random) -> float:
    return generator.uniform(options["min"], options["max"])


def _log_uniform(options: Mapping[str, Any], generator: Random) -> float:
    """Uniform between the logarithms of ``min`` and ``max``, which are the values themselves."""
    return math.exp(generator.uniform(math.log(options["min"]), math.log(options["max"])))


def _normal(options: Mapping[str, Any], generator: Random) -> float:
    return generator.gauss(options["mu"], options["sigma"])


Draw = Callable[[Mapping[str, Any], Random], float]


def _quantised(draw: Draw) -> Draw:
    """Draws rounded to multiples of ``q``; an integer ``q`` gives integers."""

    def rounded(options: Mapping[str, Any], generator: Random) -> float:
        q: float = options["q"]
        return round(draw(options, generator) / q) * q

    return rounded


_RANGE = ("min", "max")
_BELL = {"mu": 0.0, "sigma": 1.0}
DISTRIBUTIONS = {
    "constant": Distribution(("value",), {}, lambda o, _: o["value"]),
    "categorical": Distribution(("values",), {}, lambda o, g: g.choice(o["values"])),
    "categorical_w_probabilities": Distribution(
        ("values", "probabilities"), {}, lambda o, g: g.choices(o["values"], o["probabilities"])[0]
    ),
    "int_uniform": Distribution(_RANGE, {}, lambda o, g: g.randint(o["min"], o["max"])),
    "uniform": Distribution(_RANGE, {}, _uniform),
    "q_uniform": Distribution(_RANGE, {"q": 1}, _quantised(_uniform)),
    "log_uniform_values": Distribution(_RANGE, {}, _log_uniform),
    "q_log_uniform_values": Distribution(_RANGE, {"q": 1}, _quantised(_log_uniform)),
    "normal": Distribution((), _BELL, _normal),
    "q_normal": Distribution((), {**_BELL, "q": 1}, _quantised(_normal)),
}


def read_parameter(content: Any) -> Parameter:  # noqa: ANN401  (whatever the YAML file holds)
    """Check one entry of ``parameters``.

    Raises:
        UserError: If it is wrong; without saying which parameter it is.
    """
    if not isinstance(content, dict):
        raise UserError("is no mapping; write value, values, or min and max")
    if "parameters" in content:
        raise UserError("is a nested block, which arrives as one argument; write dotted names")
    name = content.get("distribution") or _usual_distribution(content)
    if name not in DISTRIBUTIONS:
        raise UserError(f"distribution '{name}' is none of {', '.join(DISTRIBUTIONS)}")
    distribution = DISTRIBUTIONS[name]
    given = {key: value for key, value in content.items() if key != "distribution"}
    known = (*distribution.needs, *distribution.may)
    if unknown := [key for key in given if key not in known]:
        raise UserError(f"unknown key '{unknown[0]}'; {name} knows {', '.join(known)}")
    if missing := [key for key in distribution.needs if key not in given]:
        raise UserError(f"{name} needs {missing[0]}")
    options = {**distribution.may, **given}
    _check_values(options)
    _check_numbers(name, options)
    return Parameter(name, options)


def _usual_distribution(content: Mapping[str, Any]) -> str:
    """What W&B takes a parameter without ``distribution`` for."""
    if "value" in content:
        return "constant"
    if "values" in content:
        return "categorical_w_probabilities" if "probabilities" in content else "categorical"
    limits = [content.get("min"), content.get("max")]
    return "int_uniform" if all(type(limit) is int for limit in limits) else "uniform"


def _check_values(options: Mapping[str, Any]) -> None:
    if "values" in options:
        values = options["values"]
        if not isinstance(values, list) or not values:
            raise UserError("values is no list with something in it")
        texts = [str(value) for value in values]
        if len(set(texts)) < len(texts):
            twice = next(text for text in texts if texts.count(text) > 1)
            raise UserError(f"the value {twice} stands there twice")
    try:
        json.dumps(options)  # as sweep.json will hold it
    except TypeError as error:
        raise UserError(f"a value is no plain YAML ({error}); put it in quotes") from error
    if any(_has_null(value) for value in [options.get("value", 0), *options.get("values", [])]):
        raise UserError("null would arrive as the word None; leave it out or name the default")


def _has_null(value: Any) -> bool:  # noqa: ANN401
    if isinstance(value, dict):
        return any(map(_has_null, value.values()))
    return any(map(_has_null, value)) if isinstance(value, list) else value is None


def _check_numbers(name: str, options: Mapping[str, Any]) -> None:
    numbers = {key: options[key] for key in ("min", "max", "q", "mu", "sigma") if key in options}
    kind = int if name == "int_uniform" else int | float
    for key, number in numbers.items():
        if not isinstance(number, kind) or isinstance(number, bool) or not math.isfinite(number):
            what = "an integer" if kind is int else "a number"
            raise UserError(f"{key} {number} is not {what}")
    if numbers.get("min", 0) > numbers.get("max", math.inf):
        raise UserError(f"min {numbers['min']} is above max {numbers['max']}")
    if "log" in name and numbers["min"] <= 0:
        raise UserError(f"min {numbers['min']} has no logarithm")
    if numbers.get("q", 1) <= 0 or numbers.get("sigma", 0) < 0:
        raise UserError("q must be above 0, and sigma not below")
    if "probabilities" in options:
        _check_probabilities(options["probabilities"], len(options["values"]))


def _check_probabilities(shares: Any, count: int) -> None:  # noqa: ANN401
    right = isinstance(shares, list) and len(shares) == count
    if not right or any(not isinstance(share, int | float) or share < 0 for share in shares):
        raise UserError("probabilities is no list of a number for each value")
    if not math.isclose(sum(shares), 1.0, abs_tol=1e-6):
        raise UserError(f"the probabilities add up to {sum(shares):g}")
