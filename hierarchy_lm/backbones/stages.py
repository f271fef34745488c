"""The encoder of an earlier stage: out of a run, one of its checkpoints, or an exported folder."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor
from transformers import AutoConfig, PreTrainedModel

from hierarchy_lm.backbones.loading import (
    first_few,
    load_encoder,
    log_left_behind,
    new_encoder,
)
from hierarchy_lm.backbones.sources import find_stage
from hierarchy_lm.errors import UserError
from hierarchy_lm.run_files import load_checkpoint

PREFIX = "backbone.encoder."


def load_stage(source: str) -> PreTrainedModel:
    """The encoder of an earlier stage; what else the stage trained is named in the log.

    Raises:
        UserError: If it cannot be read, or its weights are not exactly those of its architecture.
    """
    weights = find_stage(source).weights
    if weights.is_dir():
        return load_encoder(str(weights))
    checkpoint = load_checkpoint(weights)
    encoder = encoder_from_checkpoint(checkpoint, weights)
    names = [name for name in checkpoint["state_dict"] if not name.startswith(PREFIX)]
    log_left_behind(str(weights), names)
    return encoder


def encoder_from_checkpoint(checkpoint: Mapping[str, Any], path: Path) -> PreTrainedModel:
    """The encoder inside a checkpoint of any stage, bit for bit.

    Args:
        checkpoint: Its content.
        path: Where it lies, for messages.

    Raises:
        UserError: If it holds no encoder, or weights are missing, left over or of another shape.
    """
    if "encoder_config" not in checkpoint:
        raise UserError(f"{path}: no encoder in it; give a checkpoint of `hlm fit`")
    encoder = new_encoder(AutoConfig.for_model(**checkpoint["encoder_config"]))
    state = {
        name.removeprefix(PREFIX): value
        for name, value in checkpoint["state_dict"].items()
        if name.startswith(PREFIX)
    }
    _check_weights(encoder.state_dict(), state, path)
    encoder.load_state_dict(state)
    return encoder


def _check_weights(wanted: Mapping[str, Tensor], found: Mapping[str, Tensor], path: Path) -> None:
    faults = {
        "missing": wanted.keys() - found.keys(),
        "left over": found.keys() - wanted.keys(),
        "of another shape": {
            name for name in wanted.keys() & found.keys() if wanted[name].shape != found[name].shape
        },
    }
    named = [f"{first_few(sorted(names))} {fault}" for fault, names in faults.items() if names]
    if named:
        raise UserError(f"{path}: the encoder's weights do not fit: {'; '.join(named)}")
