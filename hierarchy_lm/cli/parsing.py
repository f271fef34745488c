"""Parser messages in one line."""

import re
from typing import NoReturn

from lightning.pytorch.cli import LightningArgumentParser

from hierarchy_lm.errors import UserError

# Lines of jsonargparse's nested messages that name no cause.
NOISE = re.compile(
    r"Does not validate against|Subtypes:|Errors:|Given value|Expected a <class 'NoneType'>|"
    r"Problem with given class_path"
)


class OneLineParser(LightningArgumentParser):
    """Raises :class:`UserError` with the cause of a parse error instead of printing pages."""

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Called by jsonargparse on any mistake in options or configuration files."""
        raise UserError(one_line(message)) from ex


def one_line(message: str) -> str:
    """Key and first cause of one of jsonargparse's nested messages."""
    lines = [line.strip().removeprefix("- ").strip() for line in message.splitlines()]
    causes = [line for line in lines if line and not NOISE.match(line)]
    key = re.match(r'Parser key "(.+)":(.*)', causes[0]) if causes else None
    if key:
        causes = [f"{key[1]}: {(key[2].strip() or ' '.join(causes[1:2]))}"]
    text = " ".join(causes[:2]) or message
    return re.sub(r"Expected a dot import path string: (\S+)", r"unknown class '\1'", text)
