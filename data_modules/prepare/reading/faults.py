"""What is wrong with a file or a row, in one line."""

import errno
import gzip
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager

from hierarchy_lm.errors import UserError


@contextmanager
def reading(label: str) -> Iterator[None]:
    """Turn what a broken file raises into one line that names it."""
    try:
        yield
    except RecursionError as error:
        raise UserError(f"{label}: it is nested too deeply") from error
    except (EOFError, zlib.error, zipfile.BadZipFile, gzip.BadGzipFile, RuntimeError) as error:
        raise UserError(f"{label}: broken archive ({error}); fetch it again") from error
    except ImportError as error:
        raise UserError(f"{label}: needs a package that is not installed ({error})") from error
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise UserError(f"{label}: no room on the disk for intermediate files") from error
        raise UserError(f"{label}: cannot be read ({error.strerror or error})") from error


class RowError(ValueError):
    """A value that cannot be read.

    Args:
        index: Position of the row in its batch.
        what: What is wrong and what to do, as the rest of a sentence.
    """

    def __init__(self, index: int, what: str) -> None:
        super().__init__(what)
        self.index = index
        self.what = what
