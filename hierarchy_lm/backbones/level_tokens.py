"""What HPT and HBGL put behind a text, a few vectors for the levels of the tree: kept and found."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from hierarchy_lm.backbones.options import BackboneOptions
from hierarchy_lm.backbones.sources import encoder_place
from hierarchy_lm.errors import UserError
from hierarchy_lm.run_files import load_checkpoint

LEVEL_TOKENS = "level_tokens"
LEVEL_TOKENS_FILE = "level_tokens.safetensors"
"""Beside the weights of an exported encoder, which do without it."""


TENSORS = ("embeddings", "offsets", "read")
NUMBERS = ("segment", "keep_sep", "apart")


class LevelTokens(NamedTuple):
    """S vectors that stand behind a text at inference.

    Attributes:
        embeddings: ``(S, E)`` in the space of the word embeddings, float32.
        offsets: ``(S,)`` position of each, counted from the end of the text.
        read: ``(L,)`` which of them have an output that stands for level 1 .. L.
        segment: Their segment id.
        keep_sep: Whether the text keeps its last [SEP] before them.
        apart: Whether in pre-training each of them saw the text and itself alone, and the text
            none of them (HBGL); else all see all (HPT).
    """

    embeddings: Tensor
    offsets: Tensor
    read: Tensor
    segment: int
    keep_sep: bool
    apart: bool

    def plain(self) -> dict[str, Any]:
        """As plain data for a checkpoint, which :func:`level_tokens_of` reads."""
        named = self._asdict()
        apart = named.pop("apart")
        return named | {"attention": "apart" if apart else "full"}


def level_tokens_of(checkpoint: Mapping[str, Any]) -> LevelTokens | None:
    """Those of a checkpoint of `hlm fit`; None if its method has none."""
    kept = checkpoint.get(LEVEL_TOKENS)
    if kept is None:
        return None
    return LevelTokens(
        kept["embeddings"].detach().float().cpu(),
        kept["offsets"].cpu(),
        kept["read"].cpu(),
        int(kept["segment"]),
        bool(kept["keep_sep"]),
        kept.get("attention", "apart") == "apart",
    )


def save_level_tokens(tokens: LevelTokens, folder: Path) -> None:
    """Write them beside an encoder's weights."""
    tensors = {name: getattr(tokens, name).contiguous() for name in TENSORS}
    rest = {name: str(int(getattr(tokens, name))) for name in NUMBERS}
    save_file(tensors, folder / LEVEL_TOKENS_FILE, rest)


def find_level_tokens(options: BackboneOptions) -> LevelTokens:
    """The level tokens that were trained with the encoder that the options name.

    Raises:
        UserError: If there are none.
    """
    source = encoder_place(options)
    place, found = Path(source or ""), None
    if place.is_file():
        found = level_tokens_of(load_checkpoint(place))
    elif source is not None and (place / LEVEL_TOKENS_FILE).is_file():
        found = _read(place / LEVEL_TOKENS_FILE)
    if found is None:
        named = options.init_from or source or options.name
        raise UserError(
            f"model.level_tokens: none come with the encoder of '{named}'; set "
            "model.backbone.init_from to a run of HPT or HBGL or to its export, or readout to none"
        )
    return found


def _read(file: Path) -> LevelTokens:
    try:
        with safe_open(file, "pt") as stored:
            rest = stored.metadata() or {}
            embeddings, offsets, read = (stored.get_tensor(name) for name in TENSORS)
        segment, keep_sep, apart = (int(rest[name]) for name in NUMBERS)
    except (OSError, ValueError, KeyError, SafetensorError) as error:
        raise UserError(f"{file}: cannot read it ({error}); export the run anew") from error
    return LevelTokens(embeddings, offsets, read, segment, bool(keep_sep), bool(apart))
