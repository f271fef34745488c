"""Dataset folders that are whole or absent."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hierarchy_lm.errors import UserError


@contextmanager
def new_folder(output: Path) -> Iterator[Path]:
    """A folder beside ``output`` that takes its place when the block ends well.

    Raises:
        UserError: If ``output`` is a file or holds something, or cannot be written.
    """
    try:
        if output.is_symlink() or output.is_file() or (output.is_dir() and any(output.iterdir())):
            raise UserError(f"{output}: is there already; name another folder or remove it")
        output.parent.mkdir(parents=True, exist_ok=True)
        work = Path(tempfile.mkdtemp(prefix=f".{output.name}.", dir=output.parent))
    except OSError as error:
        raise UserError(f"{output}: cannot be written ({error.strerror})") from error
    try:
        made = work / "made"
        made.mkdir()
        yield made
        made.replace(output)
    except OSError as error:
        raise UserError(f"{output}: cannot be written ({error})") from error
    finally:
        shutil.rmtree(work, ignore_errors=True)
