"""The options of a cascade's classifiers: what each has of its own, what all have in common."""

import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from hierarchy_lm.cascade_folder import DepartmentEntry
from hierarchy_lm.cli.stages import Stage
from hierarchy_lm.errors import UserError


@dataclass(frozen=True)
class CascadeOptions:
    """What all steps of `hlm fit-cascade` need to know; ``fingerprint`` is the dataset's."""

    dataset: str
    fingerprint: str
    department: Path
    leaf: Path
    output: Path
    leaf_from_department: bool
    extra: list[str]


def department_stage(options: CascadeOptions) -> Stage:
    """The department classifier."""
    return _stage(options, "department", options.department, {}, {}, {})


def leaf_stages(options: CascadeOptions, entries: Iterable[DepartmentEntry]) -> dict[int, Stage]:
    """The leaf classifier of every department that gets one, by its node."""
    model: dict[str, Any] = {}
    if options.leaf_from_department:
        encoder = department_stage(options).encoder
        model = {"model": {"init_args": {"backbone": {"pretrained": str(encoder)}}}}
    return {
        entry.node: _stage(
            options,
            f"leaves/{_slug(entry)}",
            options.leaf,
            {"department": entry.path},
            {"devices": 1},
            model,
        )
        for entry in entries
        if entry.status == "pending"
    }


def _stage(
    options: CascadeOptions,
    name: str,
    config: Path,
    data: dict[str, Any],
    trainer: dict[str, Any],
    model: dict[str, Any],
) -> Stage:
    root = options.output / name
    own = {
        "data": {"init_args": {"dataset": options.dataset, **data}},
        "trainer": {"default_root_dir": str(root), **trainer},
        **model,
    }
    identity = {
        "config": config.read_text(encoding="utf-8"),
        "extra": options.extra,
        "dataset": options.fingerprint,
        "from_department": bool(model),
        **data,
    }
    return Stage(root, config, options.extra, own, identity)


def _slug(entry: DepartmentEntry) -> str:
    """Folder name of a department: readable, and distinct by its node."""
    readable = re.sub(r"[^\w]+", "_", entry.path).strip("_")[:60]
    return f"{entry.node:03d}_{readable}"


def check_stages(
    department: Path, leaf: Path, dataset: str, leaf_from_department: bool, extra: list[str]
) -> dict[str, Any]:
    """Parse both configurations before anything is trained.

    Returns:
        The text options, which are the same for all classifiers.

    Raises:
        UserError: If one is wrong, or the text options or tokenizers differ.
    """
    own = [f"--data.dataset={dataset}", *extra]
    first = _parse(department, own)
    second = _parse(leaf, [*own, "--data.department=any"])
    texts = [_as_dict(parsed.data.init_args.text) for parsed in (first, second)]
    if texts[0] != texts[1]:
        raise UserError(
            f"{department} and {leaf}: data.text differs; a cascade tokenises an item once"
        )
    tokenizers = [parsed.data.init_args.tokenizer for parsed in (first, second)]
    if not leaf_from_department and tokenizers[0] != tokenizers[1]:
        raise UserError(
            f"{department} and {leaf}: the backbones have different tokenizers; "
            "a cascade tokenises an item once"
        )
    return texts[0]


def _parse(config: Path, arguments: list[str]) -> Any:  # noqa: ANN401  (a namespace of options)
    from hierarchy_lm.cli.training import parse_fit

    try:
        return parse_fit(["fit", "--config", str(config), *arguments])
    except UserError as error:
        raise UserError(f"{config}: {error}") from error


def _as_dict(text: Any) -> dict[str, Any]:  # noqa: ANN401  (options or their namespace)
    if isinstance(text, dict):
        return text
    found = text.as_dict() if hasattr(text, "as_dict") else asdict(text)
    return {key: list(value) if isinstance(value, tuple) else value for key, value in found.items()}
