"""Configuration files in which no key may be written twice; YAML would silently take the last."""

from typing import Any

import yaml
from jsonargparse import get_loader, set_loader

from hierarchy_lm.errors import UserError

MODE = "yaml"
NULL = "tag:yaml.org,2002:null"
_plain_load = get_loader(MODE)


def use_strict_yaml(empty_values: bool = True) -> None:
    """Let all parsers of this process refuse repeated keys.

    Args:
        empty_values: Whether a key of a file may have no value, as ``comment: #`` has none.
    """

    def load(text: str) -> Any:  # noqa: ANN401 - whatever YAML may hold
        if "\n" in text:
            _check(yaml.compose(text, Loader=yaml.SafeLoader), empty_values)
        elif text.lstrip().startswith("{"):  # the value of an option, perhaps a plain text
            _check(yaml.compose(text, Loader=yaml.SafeLoader), empty_values=True)
        return _plain_load(text)

    set_loader(MODE, load, (yaml.YAMLError,))


def _check(node: yaml.Node | None, empty_values: bool) -> None:
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
            if value.tag == NULL and not empty_values:
                raise UserError(
                    f"the key '{getattr(key, 'value', key)}' on line {line} of the configuration "
                    "file has no value; put the text in quotes, or leave the key out"
                )
            _check(value, empty_values)
    elif isinstance(node, yaml.SequenceNode):
        for item in node.value:
            _check(item, empty_values)
