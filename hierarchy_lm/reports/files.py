"""Writing a report's files."""

from collections.abc import Sequence
from pathlib import Path

from hierarchy_lm.errors import UserError
from hierarchy_lm.reports.page import Section, html_page, markdown


def write_file(file: Path, content: str | bytes) -> None:
    """Write a file, and the folders above it.

    Raises:
        UserError: If that cannot be done.
    """
    data = content.encode() if isinstance(content, str) else content
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)
    except OSError as error:
        raise UserError(f"{file}: cannot write there ({error.strerror})") from error


def write_page(folder: Path, title: str, sections: Sequence[Section], data: str) -> None:
    """Write ``report.md`` and ``report.html`` and print where they are.

    Args:
        folder: Where to.
        title: Of the page.
        sections: Its content.
        data: JSON for the page's script.

    Raises:
        UserError: If they cannot be written.
    """
    write_file(folder / "report.md", markdown(title, sections))
    write_file(folder / "report.html", html_page(title, sections, data))
    print(folder / "report.md")
    print(folder / "report.html")
