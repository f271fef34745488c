"""The options of a cascade's classifiers: what each has of its own, what all have in common."""

import json
import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from hierarchy_lm.cascade_folder import CascadeInfo, DepartmentEntry
from hierarchy_lm.cli.stages import Stage
from hierarchy_lm.errors import UserError
from hierarchy_lm.vocabulary import load_vocabulary

# Where a classifier is trained, not what it is; the stage's own options replace the folder.
PLACES = ("accelerator", "devices", "default_root_dir")


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
        "config": deciding_options(config),
        "extra": _deciding_arguments(options.extra),
        "dataset": options.fingerprint,
        "from_department": bool(model),
        **data,
    }
    return Stage(root, config, options.extra, own, identity)


def deciding_options(config: Path) -> Any:  # noqa: ANN401  (the content of a YAML file)
    """What the configuration says, whatever its comments, without the places."""
    content = yaml.safe_load(config.read_text(encoding="utf-8")) or {}
    for place in PLACES:
        (content.get("trainer") or {}).pop(place, None)
    return json.loads(json.dumps(content, default=str))  # as it will be read back


def _deciding_arguments(extra: list[str]) -> list[Any]:
    """The arguments without the places, and what the configurations among them say.

    An option and its value may be one argument or two.
    """
    kept: list[Any] = []
    places = [f"--trainer.{place}" for place in PLACES]
    arguments = iter(extra)
    for argument in arguments:
        name, equals, value = argument.partition("=")
        if name not in (*places, "--config"):
            kept.append(argument)
            continue
        value = value if equals else next(arguments, "")
        if name == "--config":
            file = Path(value)  # else the content itself
            kept.append(deciding_options(file) if file.is_file() else value)
    return kept


def _slug(entry: DepartmentEntry) -> str:
    """Folder name of a department: readable, and distinct by its node."""
    readable = re.sub(r"[^\w]+", "_", entry.path).strip("_")[:60]
    return f"{entry.node:03d}_{readable}"


class Texts(NamedTuple):
    """How the classifiers read an item.

    Attributes:
        options: The text options, which are the same for all.
        tokenizer: Folder or hub id of the leaf classifiers' own; None if they take the department
            classifier's.
    """

    options: dict[str, Any]
    tokenizer: str | None


def check_stages(
    department: Path, leaf: Path, dataset: str, leaf_from_department: bool, extra: list[str]
) -> Texts:
    """Parse both configurations before anything is trained.

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
    tokenizers = [str(parsed.data.init_args.tokenizer) for parsed in (first, second)]
    if not leaf_from_department and tokenizers[0] != tokenizers[1]:
        raise UserError(
            f"{department} and {leaf}: the backbones have different tokenizers; "
            "a cascade tokenises an item once"
        )
    return Texts(texts[0], None if leaf_from_department else tokenizers[1])


def check_fits(output: Path, info: CascadeInfo, tree: str, texts: Texts) -> None:
    """Refuse classifiers that could not work together with those of a cascade.

    Args:
        output: The cascade folder.
        info: Its ``cascade.json``.
        tree: Fingerprint of the dataset's tree.
        texts: How the new classifiers would read an item.

    Raises:
        UserError: If the tree, the text options or the tokenizer are not the cascade's. A tokenizer
            that is still to be trained is looked at after the training.
    """
    other = f"is not that of {output}; name another --output to train a whole cascade"
    if tree != info.tree:
        raise UserError(f"--departments: the dataset's tree {other}")
    if json.loads(json.dumps(texts.options)) != info.text:
        raise UserError(f"--departments: data.text {other}")
    if texts.tokenizer and Path(texts.tokenizer).is_dir():
        check_tokenizer(load_vocabulary(texts.tokenizer).fingerprint, info.tokenizer)


def check_tokenizer(found: str, expected: str) -> None:
    """Refuse a classifier with another tokenizer.

    Raises:
        UserError: If it is another.
    """
    if found != expected:
        raise UserError(
            "its tokenizer is not the cascade's, which tokenises an item once; use the backbone "
            "and vocab_size that the cascade was trained with"
        )


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
