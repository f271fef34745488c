"""The commands that need no trainer; each is a typed function whose docstring is its help."""

from collections.abc import Callable
from pkgutil import resolve_name

from jsonargparse import ActionYesNo, ArgumentParser

from hierarchy_lm.cli.messages import one_line
from hierarchy_lm.cli.strict_yaml import use_strict_yaml
from hierarchy_lm.errors import UserError


class CommandParser(ArgumentParser):
    """Raises :class:`UserError` in one line instead of printing the usage."""

    def error(self, message: str, ex: Exception | None = None) -> None:  # type: ignore[override]
        """Called by jsonargparse on any mistake in the options."""
        raise UserError(one_line(message)) from ex


TRAINS = "fit-cascade"
# Imported on use: `hlm sample` has no need to wait for torch.
FUNCTIONS = {
    "sample": "data_modules.sample:sample",
    "prepare": "data_modules.prepare.run:prepare",
    "check": "data_modules.check:check",
    "export": "hierarchy_lm.export:export",
    "compare": "hierarchy_lm.reports.compare:compare",
    TRAINS: "hierarchy_lm.cli.fit_cascade:fit_cascade",
    "sweep": "hierarchy_lm.cli.sweep:sweep",
    "table": "hierarchy_lm.reports.table:table",
    "calibrate": "hierarchy_lm.cli.calibrate:calibrate",
    "report": "hierarchy_lm.reports.report:report",
    "embedding-report": "hierarchy_lm.reports.embeddings:embedding_report",
}
PASS_ON = (TRAINS, "sweep")  # what stands behind -- goes to every run
# Lists from a signature would have to be typed as JSON.
LISTS: dict[str, dict[str, tuple[str, str | None, str]]] = {
    "report": {"runs": ("runs", "+", "A tested cascade, one or several runs, or a sweep.")},
    "compare": {"runs": ("runs", "+", "Run folders, or folders with runs below them.")},
    "table": {
        "name": ("name", None, "Name of the sweep."),  # before the runs, which take all the rest
        "runs": ("runs", "+", "Its folder, or folders with sweeps or runs below them."),
    },
    "embedding-report": {
        "embeddings": ("embeddings", "+", "Folders of `hlm embed`, to stand side by side."),
        "names": ("--names", "+", "Their names in the report; by default those of the folders."),
    },
    TRAINS: {"departments": ("--departments", "+", "Train just these again, by name.")},
    "sweep": {"seeds": ("--seeds", "+", "Seeds of all settings, instead of the file's.")},
}
# A bool from a signature would need a value behind it.
FLAGS = {
    "report": {"png": "With --plots, write PNG files beside the SVG files."},
    "sweep": {"wandb": "Log each run to W&B, in the group of the sweep."},
}


def run_command(name: str, argv: list[str]) -> int:
    """Parse a command's options from its function's signature, and call it.

    Returns:
        Exit status.
    """
    use_strict_yaml(empty_values=name != "prepare")
    function: Callable[..., int | None] = resolve_name(FUNCTIONS[name])
    summary = (function.__doc__ or "").split("\n")[0]
    parser = CommandParser(prog=f"hlm {name}", description=summary, allow_abbrev=False)
    parser.add_argument("--config", action="config", help="YAML file of options.")
    lists: set[str | int] = set()
    for key, (option, count, text) in LISTS.get(name, {}).items():
        if option.startswith("--"):
            parser.add_argument(option, nargs=count, default=[], help=text)
        else:
            parser.add_argument(option, nargs=count, help=text)
        lists.add(key)
    for key, text in FLAGS.get(name, {}).items():
        parser.add_argument(f"--{key}", action=ActionYesNo, nargs="?", default=False, help=text)
        lists.add(key)
    argv, extra = split_at_dashes(argv)
    if name in PASS_ON:
        lists.add("extra")
    elif extra:
        raise UserError(f"hlm {name}: nothing is passed on behind --")
    positional = name != TRAINS  # whose required arguments stand in the configuration file
    parser.add_function_arguments(function, as_positional=positional, fail_untyped=True, skip=lists)
    try:
        options = parser.instantiate_classes(parser.parse_args(argv)).as_dict()
    except UnicodeDecodeError as error:
        raise UserError("the configuration file is not UTF-8; save it as UTF-8") from error
    except RecursionError as error:
        raise UserError("the configuration file is nested too deeply") from error
    options.pop("config", None)
    if name in PASS_ON:
        options["extra"] = extra
    return function(**options) or 0


def split_at_dashes(argv: list[str]) -> tuple[list[str], list[str]]:
    """What stands before ``--``, and what behind it."""
    if "--" not in argv:
        return argv, []
    at = argv.index("--")
    return argv[:at], argv[at + 1 :]
