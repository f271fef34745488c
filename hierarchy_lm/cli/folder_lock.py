"""One command at a time in an output folder."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from hierarchy_lm.errors import UserError


@contextmanager
def alone(output: Path, command: str) -> Iterator[None]:
    """Two commands would train the same models into the same folders.

    Args:
        output: The folder; made if missing.
        command: The name of the command, for the message.

    Raises:
        UserError: If another one is at work there, or nobody can write there.
    """
    lock = FileLock(output / ".lock", timeout=0)
    try:
        output.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except Timeout as error:
        raise UserError(f"{output}: another `{command}` is at work there") from error
    except OSError as error:
        raise UserError(f"{output}: cannot write there ({error.strerror})") from error
    try:
        yield
    finally:
        lock.release()
