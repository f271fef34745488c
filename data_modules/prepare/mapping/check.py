"""What the types of a mapping's keys cannot say."""

from dataclasses import fields, is_dataclass

from hierarchy_lm.errors import UserError

COUNTS = ("skip_rows", "max_depth", "min_items", "title_leaf")
"""Options that count something, so that they cannot be negative."""


def check_mapping(options: object, path: str) -> None:
    """Check a part of a mapping and all below it.

    Args:
        options: Options, a dictionary or list of them, or a value.
        path: The key it stands at, for messages.

    Raises:
        UserError: If a dictionary's key is no text, or a count is negative.
    """
    if is_dataclass(options):
        for field in fields(options):
            value = getattr(options, field.name)
            if field.name in COUNTS and value < 0:
                raise UserError(f"{path}.{field.name} must not be negative, got {value}")
            check_mapping(value, f"{path}.{field.name}")
    elif isinstance(options, dict):
        for key, value in options.items():
            if not isinstance(key, str):
                spoken = str(key).lower() if isinstance(key, bool) else str(key)
                raise UserError(f"{path}: the key {spoken} is no text to YAML; put it in quotes")
            check_mapping(value, f"{path}.{key}")
    elif isinstance(options, list):
        for value in options:
            check_mapping(value, path)
