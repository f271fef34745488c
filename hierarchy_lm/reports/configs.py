"""Resolved configurations as a report looks at them."""

import json
from collections.abc import Mapping
from typing import Any


def flat(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Values by their dotted names on the command line, so without ``init_args``."""
    found: dict[str, Any] = {}
    for key, value in config.items():
        name = prefix if key == "init_args" else f"{prefix}.{key}".lstrip(".")
        if isinstance(value, Mapping) and value:
            found |= flat(value, name)
        else:
            found[name] = value
    return found


def as_text(value: object) -> str:
    """A value as one would write it in YAML."""
    return value if isinstance(value, str) else json.dumps(value, default=str)
