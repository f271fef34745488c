"""Parser messages in one line."""

import re
from typing import NoReturn

from lightning.pytorch.cli import LightningArgumentParser

from hierarchy_lm.errors import UserError


class OneLineParser(LightningArgumentParser):
    """Raises :class:`UserError` with the cause of a parse error instead of printing pages."""

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Called by jsonargparse on any mistake in options or configuration files."""
        raise UserError(one_line(message)) from ex


def one_line(message: str) -> str:
    """The innermost cause of jsonargparse's nested messages."""
    causes = re.findall(r"^\s*(?:- |• )?(.*\S)\s*$", message, flags=re.MULTILINE)
    return causes[0] if causes else message
