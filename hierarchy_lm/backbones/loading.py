"""Hugging Face configs and encoders, loaded strictly: float32, safetensors, no remote code."""

import inspect
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from logging import ERROR, getLogger
from typing import Any

import torch
from safetensors import SafetensorError
from transformers import MODEL_MAPPING, AutoConfig, PreTrainedConfig, PreTrainedModel
from transformers.utils import logging

from hierarchy_lm.backbones.sources import locate
from hierarchy_lm.errors import UserError

LOG = getLogger(__name__)


def load_config(source: str) -> PreTrainedConfig:
    """The architecture of a folder or hub id.

    Raises:
        UserError: If it cannot be loaded.
    """
    local = locate(source, weights=False)
    with _one_line_errors(source):
        config: PreTrainedConfig = AutoConfig.from_pretrained(
            source, local_files_only=local, trust_remote_code=False
        )
    return config


def new_encoder(config: PreTrainedConfig) -> PreTrainedModel:
    """An encoder with random float32 weights.

    Raises:
        UserError: If the architecture is no encoder.
    """
    model_class = _encoder_class(config)
    encoder: PreTrainedModel = model_class(config, **_no_pooler(model_class))
    return encoder


def load_encoder(source: str) -> PreTrainedModel:
    """An encoder with the weights of a folder or hub id, in float32.

    Raises:
        UserError: If there are none, or they lack a part of the encoder or hold more of one.
    """
    local = locate(source, weights=True)
    config = load_config(source)
    model_class = _encoder_class(config)
    with _one_line_errors(source), _quiet(local):
        loaded: tuple[PreTrainedModel, dict[str, Any]] = model_class.from_pretrained(
            source,
            config=config,
            dtype=torch.float32,
            use_safetensors=True,
            local_files_only=local,
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # named below; the library's own message is a page
            **_no_pooler(model_class),
        )
    encoder, report = loaded
    _check_keys(source, encoder, report)
    return encoder


def _encoder_class(config: PreTrainedConfig) -> Any:  # noqa: ANN401  (constructors differ)
    model_class = MODEL_MAPPING.get(type(config), None)
    if not isinstance(model_class, type) or config.is_encoder_decoder:
        raise UserError(
            f"backbone of type '{config.model_type}' is not an encoder; use a BERT-like one"
        )
    return model_class


def _no_pooler(model_class: type) -> dict[str, bool]:
    # Heads read [CLS] itself; a pooler without gradient would stop DDP.
    parameters = inspect.signature(model_class).parameters
    return {"add_pooling_layer": False} if "add_pooling_layer" in parameters else {}


def _check_keys(source: str, encoder: PreTrainedModel, report: dict[str, Any]) -> None:
    """Let only poolers and heads be missing or left over, and name what is left over."""
    missing = _of_encoder(encoder, report["missing_keys"])
    unexpected = _of_encoder(encoder, report["unexpected_keys"])
    mismatched = sorted(str(key[0]) for key in report["mismatched_keys"])
    if missing:
        raise UserError(
            f"backbone '{source}': the weights lack {first_few(missing)}; fetch them anew"
        )
    if unexpected:
        raise UserError(
            f"backbone '{source}': the weights hold {first_few(unexpected)}, for which config.json "
            "has no place; fetch both anew"
        )
    if mismatched:
        raise UserError(
            f"backbone '{source}': {first_few(mismatched)} of another shape than config.json says; "
            "fetch both anew"
        )
    log_left_behind(source, report["unexpected_keys"])


def _of_encoder(encoder: PreTrainedModel, keys: Iterable[str]) -> list[str]:
    parts = {name for name, _ in encoder.named_children() if name != "pooler"}
    bare = [key.removeprefix(f"{encoder.base_model_prefix}.") for key in keys]
    # Old files carry the positions 0, 1, 2 ... as if they were weights.
    bare = [key for key in bare if not key.endswith("position_ids")]
    return sorted(key for key in bare if key.split(".")[0] in parts)


def first_few(keys: list[str]) -> str:
    """Names for a message of one line."""
    return ", ".join(keys[:3]) + (f" and {len(keys) - 3} more" if keys[3:] else "")


def log_left_behind(source: str, names: Iterable[str]) -> None:
    """Name the parts of a checkpoint that are not the encoder's, one line each."""
    weights = [name for name in names if not name.endswith("position_ids")]
    for part, count in sorted(Counter(name.split(".")[0] for name in weights).items()):
        LOG.info(f"{source}: '{part}' ({count} weights) is not of the encoder and stays behind")


@contextmanager
def _one_line_errors(source: str) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError, RuntimeError, KeyError, SafetensorError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise UserError(
            f"backbone '{source}': cannot load it ({reason}); give the folder of a Hugging Face "
            "encoder with safetensors weights"
        ) from error


@contextmanager
def _quiet(local: bool) -> Iterator[None]:
    """Without the library's table of keys, and without a bar where nothing is downloaded."""
    verbosity, bar = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity(ERROR)
    if local:
        logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bar:
            logging.enable_progress_bar()  # type: ignore[no-untyped-call]
