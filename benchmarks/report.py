"""Results as Markdown, with what is needed to read them."""

import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from importlib.metadata import version
from pathlib import Path


@dataclass(frozen=True)
class Table:
    """A titled table of formatted figures."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]

    def markdown(self) -> str:
        """The table under its title."""
        head = [_line(self.columns), _line(["---"] * len(self.columns))]
        return "\n".join([f"## {self.title}", "", *head, *map(_line, self.rows)])


@dataclass(frozen=True)
class Report:
    """What one benchmark found.

    Attributes:
        title: What was measured.
        notes: How it was measured, one sentence or two each.
        tables: The figures.
    """

    title: str
    notes: Sequence[str]
    tables: Sequence[Table]


def write_report(report: Report, path: Path, command: str) -> str:
    """Write the report as Markdown.

    Returns:
        What was written.
    """
    notes = [f"`{command}` on {date.today()}, {machine()}.", *report.notes]
    parts = [
        f"# {report.title}",
        "\n".join(f"- {note}" for note in notes),
        *(table.markdown() for table in report.tables),
    ]
    text = "\n\n".join(parts) + "\n"
    path.write_text(text, encoding="utf-8")
    return text


def machine() -> str:
    """The machine and the libraries, in general words."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    libraries = ", ".join(f"{name} {version(name)}" for name in ("torch", "transformers"))
    return (
        f"{platform.machine()} with {os.cpu_count()} cores and {memory:.0f} GB, shared with other "
        f"work, no GPU; Python {platform.python_version()}, {libraries}"
    )


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
