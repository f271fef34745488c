"""Configuration files in which no key may be written twice; YAML would silently take the last."""

from typing import Any

import yaml
from jsonargparse import get_loader, set_loader

from hierarchy_lm.errors import UserError

MODE = "yaml"
_plain_load = get_loader(MODE)


def use_strict_yaml() -> None:
    """Let all parsers of this process refuse repeated keys."""
    set_loader(MODE, _strict_load, (yaml.YAMLError,))


def _strict_load(text: str) -> Any:  # noqa: ANN401 - whatever YAML may hold
    if "\n" in text:  # not the value of a single option
        _check(yaml.compose(text, Loader=yaml.SafeLoader))
    return _plain_load(text)


def _check(node: yaml.Node | None) -> None:
    if isinstance(node, yaml.MappingNode):
        seen: dict[str, int] = {}
        for key, value in node.value:
            line = key.start_mark.line + 1
            if isinstance(key, yaml.ScalarNode) and key.value in seen:
                raise UserError(
                    f"the key '{key.value}' stands on line {seen[key.value]} and again on line "
                    f"{line} of the configuration file; keep one"
                )
            if isinstance(key, yaml.ScalarNode):
                seen[key.value] = line
            _check(value)
    elif isinstance(node, yaml.SequenceNode):
        for item in node.value:
            _check(item)
