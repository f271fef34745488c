"""Backbones by name."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from transformers import PreTrainedConfig

from hierarchy_lm.errors import UserError

ConfigFunction = Callable[[], PreTrainedConfig]


@dataclass(frozen=True)
class Entry:
    """A registered backbone.

    Attributes:
        config: Makes the architecture, without network.
        hub_id: Where its weights and tokenizer are published; None if it is trained from scratch.
    """

    config: ConfigFunction
    hub_id: str | None


_ENTRIES: dict[str, Entry] = {}


def register_backbone(
    name: str, hub_id: str | None = None
) -> Callable[[ConfigFunction], ConfigFunction]:
    """Register the decorated function, which makes the Hugging Face config, under ``name``.

    Raises:
        ValueError: If the name is taken.
    """
    if name in _ENTRIES:
        raise ValueError(f"a backbone named '{name}' is already registered")

    def register(config: ConfigFunction) -> ConfigFunction:
        _ENTRIES[name] = Entry(config, hub_id)
        return config

    return register


def list_backbones() -> list[str]:
    """Registered names, sorted."""
    return sorted(_ENTRIES)


def find_entry(name: str) -> Entry | None:
    """The entry registered as ``name``; None for what can only be a folder or a hub id.

    Raises:
        UserError: If the name is not registered and can be neither.
    """
    if name not in _ENTRIES and "/" not in name and not Path(name).is_dir():
        raise UserError(
            f"unknown backbone '{name}'; use one of {', '.join(list_backbones())}, "
            "a Hugging Face id (owner/name) or a folder"
        )
    return _ENTRIES.get(name)
