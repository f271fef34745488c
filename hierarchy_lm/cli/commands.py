"""The commands that need no trainer; each is a typed function whose docstring is its help."""

from collections.abc import Callable

from jsonargparse import ArgumentParser

from hierarchy_lm.cli.parsing import one_line
from hierarchy_lm.errors import UserError


class CommandParser(ArgumentParser):
    """Raises :class:`UserError` in one line instead of printing the usage."""

    def error(self, message: str, ex: Exception | None = None) -> None:  # type: ignore[override]
        """Called by jsonargparse on any mistake in the options."""
        raise UserError(one_line(message)) from ex


def run_command(name: str, argv: list[str]) -> None:
    """Parse a command's options from its function's signature, and call it."""
    function = _function(name)
    parser = CommandParser(prog=f"hlm {name}", description=(function.__doc__ or "").split("\n")[0])
    parser.add_argument("--config", action="config", help="YAML file of options.")
    lists: set[str | int] = set()
    if name == "compare":  # a list from the signature would have to be typed as JSON
        parser.add_argument("runs", nargs="+", help="Run folders, or folders with runs below them.")
        lists.add("runs")
    parser.add_function_arguments(function, as_positional=True, fail_untyped=True, skip=lists)
    options = parser.instantiate_classes(parser.parse_args(argv)).as_dict()
    options.pop("config", None)
    function(**options)


def _function(name: str) -> Callable[..., None]:
    # Imported on use: `hlm sample` has no need to wait for torch.
    match name:
        case "sample":
            from data_modules.sample import sample

            return sample
        case "prepare":
            from data_modules.prepare import prepare

            return prepare
        case "export":
            from hierarchy_lm.export import export

            return export
        case _:
            from hierarchy_lm.reports.compare import compare

            return compare
