"""The command line of `hlm transfer`: which stages there are, and what `hlm fit` gets for each."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

from hierarchy_lm.errors import UserError

STAGES = ("mlm", "pretrain", "finetune")
NONE = "none"
OWN = {
    "mlm": "YAML of the MLM stage, or none (default)",
    "pretrain": "YAML of the pre-training on the tree, or none (default)",
    "finetune": "YAML of the last stage, which is tested; required",
    "encoders": "folder of finished encoders, shared by all commands (runs/encoders)",
    "pretrain_seed": "seed of the stages before the last (by default that of the last)",
}
# Where and how the last stage is recorded; encoders that several commands share have no such place.
LAST_ONLY = ("trainer.default_root_dir", "trainer.logger", "ckpt_path", "test_after_fit")
# No part of what an encoder is: folders, what is shown, and what the dataset's fingerprint covers.
PLACES: Mapping[str, Sequence[str]] = {
    "": ("ckpt_path", "config", "last_checkpoint", "test_after_fit", "weights_only"),
    "trainer": (
        *("accelerator", "default_root_dir", "logger", "log_every_n_steps"),
        *("enable_progress_bar", "enable_model_summary", "profiler"),
    ),
    "data.init_args": ("dataset", "tokenizer", "cache_dir", "num_workers", "predict_split"),
    "model.init_args": ("hierarchy", "tokenizer"),
    "best_checkpoint": ("dirpath",),
}


@dataclass(frozen=True)
class TransferStage:
    """One `hlm fit` of a transfer.

    Attributes:
        name: ``mlm``, ``pretrain`` or ``finetune``.
        config: Its YAML file.
        arguments: What stands behind ``--config`` and that file.
        resolved: The configuration, without the earlier stage's encoder.
    """

    name: str
    config: Path
    arguments: list[str]
    resolved: Any

    @property
    def dataset(self) -> str:
        """Its dataset, as `hlm fit` names it."""
        return str(self.resolved.data.init_args.dataset)

    def identity(self, fingerprint: str, earlier: str | None) -> dict[str, Any]:
        """What makes its encoder another one.

        Args:
            fingerprint: That of the dataset.
            earlier: Key of the encoder that it starts from.
        """
        config = json.loads(json.dumps(_plain(self.resolved), default=str, sort_keys=True))
        for group, names in PLACES.items():
            options = config
            for part in filter(None, group.split(".")):
                options = options.get(part) or {}
            for name in names:
                options.pop(name, None)
        return {"config": config, "dataset": fingerprint, "from": earlier}


@dataclass(frozen=True)
class Transfer:
    """A checked command line.

    Attributes:
        stages: In their order; the last one is tested.
        encoders: Where the encoders of the others are kept.
    """

    stages: list[TransferStage]
    encoders: Path


def parse_transfer(argv: Sequence[str]) -> Transfer:
    """Check an `hlm transfer` command line; nothing is made or run.

    Args:
        argv: Begins with ``transfer``.

    Raises:
        UserError: If it, or what `hlm fit` gets for one of the stages, is wrong.
    """
    own: dict[str, str] = {}
    common: list[tuple[str, str]] = []
    single: dict[str, list[str]] = {stage: [] for stage in STAGES}
    for name, value in _options(argv[1:]):
        stage, _, option = name.partition(".")
        if name in OWN:
            own[name] = value
        elif stage in STAGES:
            single[stage].append(f"--{option}={value}")
        else:
            common.append((name, value))
    _check_own(own, single)
    seed = [f"--seed_everything={own['pretrain_seed']}"] if "pretrain_seed" in own else []
    shared = [f"--{name}={value}" for name, value in common]
    early = [f"--{name}={value}" for name, value in common if not _is_last_only(name)]
    stages: list[TransferStage] = []
    for name in STAGES:
        if own.get(name, NONE) == NONE:
            continue
        arguments = ["--test_after_fit=true", *shared] if name == "finetune" else [*early, *seed]
        stages.append(_stage(name, own[name], [*arguments, *single[name]], first=not stages))
    return Transfer(stages, Path(own.get("encoders", "runs/encoders")))


def _options(arguments: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Names and values; both may be one argument or two."""
    waiting = iter(arguments)
    for argument in waiting:
        if not argument.startswith("--") or argument == "--":
            raise UserError(f"hlm transfer: '{argument}' belongs to no option; see --help")
        name, equals, value = argument[2:].partition("=")
        if not equals:
            following = next(waiting, None)
            if following is None:
                raise UserError(f"hlm transfer: --{name} needs a value")
            value = following
        yield name, value


def _check_own(own: Mapping[str, str], single: Mapping[str, list[str]]) -> None:
    if own.get("finetune", NONE) == NONE:
        raise UserError("hlm transfer: no --finetune; give the YAML of the stage that is tested")
    for stage, options in single.items():
        if options and stage not in own:
            name = options[0].partition("=")[0].removeprefix("--")
            raise UserError(f"hlm transfer: --{stage}.{name}, but no --{stage} YAML; give it")


def _is_last_only(name: str) -> bool:
    return any(name == option or name.startswith(f"{option}.") for option in LAST_ONLY)


def _stage(name: str, config: str, arguments: list[str], *, first: bool) -> TransferStage:
    from hierarchy_lm.cli.training import parse_fit

    if not Path(config).is_file():
        raise UserError(f"hlm transfer: --{name} {config}: no such file; give a YAML of `hlm fit`")
    # Weights of its own would be those of the first stage only.
    start = [] if first else ["--config", json.dumps(starting_from(None))]
    try:
        resolved = parse_fit(["fit", "--config", config, *arguments, *start])
    except UserError as error:
        raise UserError(f"hlm transfer: --{name} {config}: {error}") from error
    _check_model(name, config, resolve_name(resolved.model.class_path))
    return TransferStage(name, Path(config), arguments, resolved)


def _check_model(name: str, config: str, model: type) -> None:
    """Refuse the YAML of another stage."""
    from hierarchy_lm.finetuning import DownstreamFinetuner
    from hierarchy_lm.pretraining import MLMPretrainer
    from hierarchy_lm.training import EncoderTraining

    right = {
        "mlm": issubclass(model, MLMPretrainer),
        "pretrain": issubclass(model, EncoderTraining)
        and not issubclass(model, DownstreamFinetuner),
        "finetune": issubclass(model, EncoderTraining) and not issubclass(model, MLMPretrainer),
    }
    if not right[name]:
        raise UserError(
            f"hlm transfer: --{name} {config}: {model.__name__} is no model for this stage; "
            f"--{name} takes the {OWN[name]}"
        )


def starting_from(encoder: Path | None) -> dict[str, Any]:
    """The part of a configuration that names the encoder to start from."""
    backbone = {"init_from": encoder and str(encoder), "pretrained": NONE}
    return {"model": {"init_args": {"backbone": backbone}}}


def _plain(options: Any) -> Any:  # noqa: ANN401  (any nesting of namespaces)
    if hasattr(options, "as_dict"):
        options = options.as_dict()
    if isinstance(options, dict):
        return {key: _plain(value) for key, value in options.items()}
    if isinstance(options, list | tuple):
        return [_plain(value) for value in options]
    return options
