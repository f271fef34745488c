"""Where a backbone's weights and tokenizer come from, and whether they can be had."""

from functools import lru_cache
from pathlib import Path

from huggingface_hub import HfApi, try_to_load_from_cache
from huggingface_hub.errors import HFValidationError, RepositoryNotFoundError

from hierarchy_lm.backbones.options import BackboneOptions
from hierarchy_lm.backbones.registry import find_entry
from hierarchy_lm.errors import UserError

HUB_TIMEOUT_SECONDS = 5.0
NEEDED_FILES = ("config.json", "model.safetensors")
INDEX_FILE = "model.safetensors.index.json"  # of weights in several files


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


def tokenizer_source(options: BackboneOptions) -> str | None:
    """Folder or hub id of the backbone's tokenizer; None if one must be trained on the dataset.

    A registered backbone with random weights takes a new vocabulary, which needs no network.

    Raises:
        UserError: As :func:`weights_source`.
    """
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
    if source is not None:
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
