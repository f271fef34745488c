"""The MLM head that lies beside an encoder's weights: found, and kept when an encoder is exported.

Everywhere in this package it has the names of :class:`hierarchy_lm.nn.MLMHead`; each library class
has names of its own. ModernBERT's has no biases but that of the words: 0 stands for them.
"""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

import torch
from huggingface_hub import try_to_load_from_cache
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor
from transformers import AutoModelForMaskedLM, PreTrainedModel

from hierarchy_lm.backbones.options import BackboneOptions
from hierarchy_lm.backbones.sources import INDEX_FILE, NEEDED_FILES, encoder_place
from hierarchy_lm.errors import UserError
from hierarchy_lm.run_files import load_checkpoint

HEAD_FILE = "mlm_head.safetensors"
"""Beside the weights of an encoder whose library class has no place for such a head."""

NAMES = ("dense.weight", "dense.bias", "norm.weight", "norm.bias", "bias")
OF_MODULES = ("mlm_head.", "head.")  # what our modules call theirs
# dense layer, LayerNorm and bias of the words, by library class
LAYOUTS = (
    ("cls.predictions.transform.dense", "cls.predictions.transform.LayerNorm", "cls.predictions"),
    ("predictions.dense", "predictions.LayerNorm", "predictions"),
    ("lm_head.dense", "lm_head.layer_norm", "lm_head"),
    ("vocab_transform", "vocab_layer_norm", "vocab_projector"),
    ("head.dense", "head.norm", "decoder"),
)
OLD_NAMES = {"gamma": "weight", "beta": "bias"}  # of a LayerNorm in BERT's first files


class FoundHead(NamedTuple):
    """An MLM head.

    Attributes:
        source: Where it was found, or looked for.
        weights: By :data:`NAMES`, float32; empty if there is none.
    """

    source: str
    weights: dict[str, Tensor]


def find_mlm_head(options: BackboneOptions) -> FoundHead:
    """The MLM head that was trained with the encoder that the options name.

    Weights of the hub are looked for in the cache only, where :func:`create_backbone` puts them.

    Raises:
        UserError: If there is no such encoder, or its file cannot be read.
    """
    source = encoder_place(options)
    if source is None:
        return FoundHead(f"random '{options.name}'", {})
    if Path(source).is_file():
        return FoundHead(source, head_of_checkpoint(load_checkpoint(Path(source))))
    return FoundHead(source, _of_folder(source))


def head_of_checkpoint(checkpoint: Mapping[str, Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """The MLM head in a checkpoint of `hlm fit`; empty if its stage had none."""
    state = checkpoint["state_dict"]
    for prefix in OF_MODULES:
        if all(prefix + name in state for name in NAMES):
            return {name: state[prefix + name] for name in NAMES}
    return {}


def masked_lm(encoder: PreTrainedModel, head: Mapping[str, Tensor]) -> PreTrainedModel | None:
    """Encoder and head as the library's model for masked words, which its tools load.

    Returns:
        None if the architecture has no such model or it has no place for all of the head.
    """
    try:
        model: PreTrainedModel = AutoModelForMaskedLM.from_config(  # type: ignore[no-untyped-call]
            encoder.config
        )
    except ValueError:
        return None
    inside = model.state_dict()
    names = _library_names(inside)
    if set(names) != set(NAMES) or any(
        inside[names[name]].shape != value.shape for name, value in head.items()
    ):
        return None
    getattr(model, model.base_model_prefix).load_state_dict(encoder.state_dict())
    with torch.no_grad():
        for name, value in head.items():
            inside[names[name]].copy_(value)
    return model


def save_head_beside(head: Mapping[str, Tensor], folder: Path) -> None:
    """Write the head as a file of its own."""
    save_file({name: value.contiguous() for name, value in head.items()}, folder / HEAD_FILE)


def _of_folder(source: str) -> dict[str, Tensor]:
    """The head in a Hugging Face folder or in the cached files of a hub id."""
    beside = _path(source, HEAD_FILE)
    try:
        if beside is not None:
            return _read([beside], {name: name for name in NAMES})
        files = _weight_files(source)
        head = _read(files, _library_names(key for file in files for key in _keys(file)))
    except (OSError, ValueError, KeyError, SafetensorError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise UserError(f"{source}: cannot read its MLM head ({reason}); fetch it anew") from error
    if head:
        for name in ("dense.bias", "norm.bias"):
            head.setdefault(name, torch.zeros_like(head["norm.weight"]))
    return head


def _path(source: str, name: str) -> Path | None:
    if Path(source).is_dir():
        file = Path(source) / name
        return file if file.is_file() else None
    cached = try_to_load_from_cache(source, name)
    return Path(cached) if isinstance(cached, str) else None


def _weight_files(source: str) -> list[Path]:
    index = _path(source, INDEX_FILE)
    names = NEEDED_FILES[1:]
    if index is not None:
        parts = json.loads(index.read_text(encoding="utf-8"))["weight_map"]
        names = tuple(sorted(set(parts.values())))
    return [file for name in names if (file := _path(source, name)) is not None]


def _keys(file: Path) -> list[str]:
    with safe_open(file, "pt") as weights:
        return list(weights.keys())


def _library_names(keys: Iterable[str]) -> dict[str, str]:
    """Our name of each part of a head to the library's; empty without a head."""
    present = {_modern(key): key for key in keys}
    for dense, norm, words in LAYOUTS:
        wanted = {
            "dense.weight": f"{dense}.weight",
            "dense.bias": f"{dense}.bias",
            "norm.weight": f"{norm}.weight",
            "norm.bias": f"{norm}.bias",
            "bias": f"{words}.bias",
        }
        found = {name: present[key] for name, key in wanted.items() if key in present}
        if {"dense.weight", "norm.weight", "bias"} <= found.keys():
            return found
    return {}


def _modern(key: str) -> str:
    start, _, end = key.rpartition(".")
    return f"{start}.{OLD_NAMES.get(end, end)}"


def _read(files: list[Path], names: Mapping[str, str]) -> dict[str, Tensor]:
    head: dict[str, Tensor] = {}
    for file in files:
        with safe_open(file, "pt") as weights:
            inside = set(weights.keys())
            head |= {
                name: weights.get_tensor(key).float()
                for name, key in names.items()
                if key in inside
            }
    return head
