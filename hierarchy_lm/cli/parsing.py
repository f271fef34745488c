"""The parser of the commands that train."""

from typing import NoReturn

from lightning.pytorch.cli import LightningArgumentParser

from hierarchy_lm.cli.messages import one_line
from hierarchy_lm.errors import UserError


class OneLineParser(LightningArgumentParser):
    """Raises :class:`UserError` with the cause of a parse error instead of printing pages."""

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Called by jsonargparse on any mistake in options or configuration files."""
        raise UserError(one_line(message)) from ex
