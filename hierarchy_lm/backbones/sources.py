"""Where a backbone's weights and tokenizer come from, and whether they can be had."""

from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from huggingface_hub import HfApi, try_to_load_from_cache
from huggingface_hub.errors import HFValidationError, RepositoryNotFoundError

from hierarchy_lm.backbones.options import BackboneOptions
from hierarchy_lm.backbones.registry import find_entry
from hierarchy_lm.errors import UserError
from hierarchy_lm.run_files import checkpoint_of_run, tokenizer_of_checkpoint

HUB_TIMEOUT_SECONDS = 5.0
NEEDED_FILES = ("config.json", "model.safetensors")
INDEX_FILE = "model.safetensors.index.json"  # of weights in several files


class Stage(NamedTuple):
    """Where an earlier stage's encoder lies.

    Attributes:
        weights: A checkpoint file, or a Hugging Face folder.
        tokenizer: A tokenizer folder.
    """

    weights: Path
    tokenizer: Path


def find_stage(source: str) -> Stage:
    """Find the encoder of a run folder (its best, else its last checkpoint), checkpoint or export.

    Raises:
        UserError: If there is none, or no tokenizer beside it.
    """
    path = Path(source)
    if (path / "config.json").is_file():
        locate(source, weights=True)
        return Stage(path, path)
    if not path.exists():
        raise UserError(
            f"backbone.init_from: no '{source}'; give a run folder, a checkpoint or a folder that "
            "`hlm export` wrote"
        )
    checkpoint = checkpoint_of_run(path) if path.is_dir() else path
    return Stage(checkpoint, tokenizer_of_checkpoint(checkpoint))


def weights_source(options: BackboneOptions) -> str | None:
    """Folder or hub id of the weights; None for random ones.

    Raises:
        UserError: If the name is unknown or no such weights can exist.
    """
    entry = find_entry(options.name)
    published = options.name if entry is None else entry.hub_id
    match options.pretrained:
        case "none":
            return None
        case "auto":
            return published
        case "hub" if published is None:
            raise UserError(
                f"backbone '{options.name}' has no published weights; set backbone.pretrained to "
                "none or to a folder"
            )
        case "hub":
            return published
    if not Path(options.pretrained).is_dir():
        raise UserError(
            f"backbone.pretrained: no folder '{options.pretrained}'; give hub, none or a Hugging "
            "Face folder"
        )
    return options.pretrained


def encoder_place(options: BackboneOptions) -> str | None:
    """Checkpoint, folder or hub id that the encoder's weights lie in; None for random ones.

    Raises:
        UserError: As :func:`find_stage` and :func:`weights_source`.
    """
    if options.init_from is not None:
        return str(find_stage(options.init_from).weights)
    return weights_source(options)


def tokenizer_source(options: BackboneOptions) -> str | None:
    """Folder or hub id of the backbone's tokenizer; None if one must be trained on the dataset.

    A registered backbone with random weights takes a new vocabulary, which needs no network.

    Raises:
        UserError: As :func:`weights_source`.
    """
    if options.init_from is not None:
        return str(find_stage(options.init_from).tokenizer)
    source = weights_source(options)
    if source is None and find_entry(options.name) is None:
        return options.name
    return source


def check_backbone(options: BackboneOptions) -> None:
    """Find out within seconds whether the backbone can be had; libraries try for much longer.

    Raises:
        UserError: If the name is unknown, a folder lacks what is needed, or weights are neither in
            the cache nor on a hub within reach.
    """
    source = tokenizer_source(options)
    if source is not None and options.init_from is None:  # else it was found
        locate(source, weights=weights_source(options) is not None)


def locate(source: str, weights: bool) -> bool:
    """Check that a folder or hub id can be loaded.

    Returns:
        True if all of it is on this machine, so that the hub need not be asked.

    Raises:
        UserError: If it cannot.
    """
    folder = Path(source)
    if not folder.is_dir():
        return _locate_on_hub(source, weights)
    needed = NEEDED_FILES[:1] if (folder / INDEX_FILE).is_file() else NEEDED_FILES[: 1 + weights]
    missing = [name for name in needed if not (folder / name).is_file()]
    if missing:
        raise UserError(
            f"{folder}: no {' and no '.join(missing)} there; give a folder that save_pretrained or "
            "`hlm export` wrote"
        )
    return True


@lru_cache
def _locate_on_hub(repo_id: str, weights: bool) -> bool:
    advice = "give a folder as backbone.pretrained, or set it to none for random weights"
    try:
        if all(_cached(repo_id, name) for name in NEEDED_FILES[: 1 + weights]):
            return True
        HfApi().model_info(repo_id, timeout=HUB_TIMEOUT_SECONDS)
    except (HFValidationError, RepositoryNotFoundError) as error:
        raise UserError(
            f"backbone '{repo_id}': neither a folder nor a model on the Hugging Face hub; {advice}"
        ) from error
    except Exception as error:  # whatever the network and its libraries raise
        raise UserError(
            f"backbone '{repo_id}': not in the cache, and the Hugging Face hub is not within reach "
            f"({type(error).__name__}); {advice}"
        ) from error
    return False


def _cached(repo_id: str, filename: str) -> bool:
    return isinstance(try_to_load_from_cache(repo_id, filename), str)
