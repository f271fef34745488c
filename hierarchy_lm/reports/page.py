"""A report's sections written as one HTML page without any outside resource, and as Markdown."""

import base64
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape
from importlib.resources import files
from pathlib import Path
from string import Template

from hierarchy_lm.reports.charts import WIDTH, Chart, Entry, inline


@dataclass(frozen=True)
class Table:
    """Columns and rows of text.

    Attributes:
        caption: What the rows are.
        columns: Headings; one that begins with ``#`` holds numbers.
        rows: Cells; a line feed stands between the values of a list.
    """

    caption: str
    columns: list[str]
    rows: list[list[str]]


@dataclass(frozen=True)
class Picture:
    """An SVG of its own, which both kinds of page show.

    Attributes:
        file: Its name beside the Markdown.
        caption: What it shows.
        svg: The file.
    """

    file: str
    caption: str
    svg: str


@dataclass(frozen=True)
class Section:
    """One heading of the report.

    Attributes:
        title: The heading.
        text: Paragraphs.
        notes: List entries below them.
        table: The figures.
        charts: Before the table, in the page and as files of their own.
        controls: HTML beside the charts, in the page only.
        folded: Whether the page shows the table on demand.
        pictures: Shown after the table.
    """

    title: str
    text: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    table: Table | None = None
    charts: list[Chart] = field(default_factory=list)
    controls: str = ""
    folded: bool = False
    pictures: list[Picture] = field(default_factory=list)


@dataclass(frozen=True)
class Page:
    """A whole report.

    Attributes:
        title: The first heading.
        sections: In their order.
        folder: Where its files go unless the user says otherwise.
        data: JSON for the page's script.
    """

    title: str
    sections: list[Section]
    folder: Path
    data: str = "null"

    @property
    def charts(self) -> list[Chart]:
        """All charts in their order."""
        return [chart for section in self.sections for chart in section.charts]


def html_page(title: str, sections: Sequence[Section], data: str) -> str:
    """The page; ``data`` is the JSON that its script reads."""
    templates = files("hierarchy_lm.reports") / "templates"
    parts = {
        name: (templates / name).read_text(encoding="utf-8")
        for name in ("page.html", "page.css", "charts.css", "page.js")
    }
    return Template(parts["page.html"]).substitute(
        title=escape(title),
        style=parts["page.css"] + parts["charts.css"],
        sections="\n".join(map(_html_section, sections)),
        data=data,
        script=parts["page.js"],
    )


def _html_section(section: Section) -> str:
    name = re.sub(r"[^a-z0-9]+", "-", section.title.lower()).strip("-")
    text = "".join(f"<p>{escape(paragraph)}</p>" for paragraph in section.text)
    notes = "".join(f"<li>{escape(note)}</li>" for note in section.notes)
    notes = f"<ul>{notes}</ul>" if notes else ""
    table = _html_table(section.table) if section.table and section.table.rows else ""
    if table and section.folded:
        table = f"<details><summary>Figures as a table</summary>{table}</details>"
    return (
        f'<section aria-labelledby="{name}"><h2 id="{name}">{escape(section.title)}</h2>'
        f"{text}{notes}{_html_charts(section)}{table}{_html_pictures(section.pictures)}</section>"
    )


def _html_charts(section: Section) -> str:
    legends = {chart.legend for chart in section.charts}
    shared = len(section.charts) > 1 and len(legends) == 1
    shown = "".join(_html_chart(chart, not shared) for chart in section.charts)
    above = _html_legend(section.charts[0].legend) if shared else ""
    grid = "charts" if len(section.charts) > 1 else "pair"
    return f'{above}<div class="{grid}">{shown}{section.controls}</div>' if shown else ""


def _html_chart(chart: Chart, legend: bool) -> str:
    heading = f"<figcaption>{escape(chart.title)}</figcaption>" if chart.heading else ""
    scroll = ' tabindex="0"' if chart.width > WIDTH else ""
    below = _html_legend(chart.legend) if legend else ""
    return f'<figure>{heading}<div class="drawing"{scroll}>{inline(chart)}</div>{below}</figure>'


def _html_legend(legend: Sequence[Entry]) -> str:
    entries = "".join(
        f'<li><svg class="swatch" viewBox="0 0 28 10" aria-hidden="true">{entry.symbol}</svg>'
        f"<span>{escape(entry.text)}</span></li>"
        for entry in legend
    )
    return f'<ul class="legend">{entries}</ul>' if entries else ""


def _html_pictures(pictures: Sequence[Picture]) -> str:
    shown = "".join(
        '<figure style="margin:0"><img style="width:100%" alt="" src="data:image/svg+xml;base64,'
        f'{base64.b64encode(picture.svg.encode()).decode()}">'
        f"<figcaption>{escape(picture.caption)}</figcaption></figure>"
        for picture in pictures
    )
    return f'<div class="pair">{shown}</div>' if shown else ""


def _html_table(table: Table) -> str:
    numeric = [column.startswith("#") for column in table.columns]
    head = "".join(
        f'<th scope="col"{_numeric(right)}>{escape(column.removeprefix("#"))}</th>'
        for column, right in zip(table.columns, numeric, strict=True)
    )
    body = "\n".join(f"<tr>{_html_row(row, numeric)}</tr>" for row in table.rows)
    caption = escape(table.caption)
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{caption}"><table>'
        f"<caption>{caption}</caption><thead><tr>{head}</tr></thead><tbody>{body}</tbody>"
        "</table></div>"
    )


def _html_row(row: Sequence[str], numeric: Sequence[bool]) -> str:
    cells = [escape(cell).replace("\n", "<br>") for cell in row]
    first = f'<th scope="row"{_numeric(numeric[0])}>{cells[0]}</th>'
    return first + "".join(
        f"<td{_numeric(right)}>{cell}</td>"
        for cell, right in zip(cells[1:], numeric[1:], strict=True)
    )


def _numeric(right: bool) -> str:
    return ' class="number"' if right else ""


def markdown(title: str, sections: Sequence[Section]) -> str:
    """The same sections without figures; pictures are files beside it."""
    blocks = [f"# {_plain(title)}"]
    for section in sections:
        blocks += [f"## {_plain(section.title)}", *map(_plain, section.text)]
        if section.notes:
            blocks.append("\n".join(f"- {_plain(note)}" for note in section.notes))
        if section.table and section.table.rows:
            blocks.append(_markdown_table(section.table))
        blocks += [f"![{_plain(one.caption)}]({one.file})" for one in section.pictures]
    return "\n\n".join(blocks) + "\n"


def _markdown_table(table: Table) -> str:
    rule = ["---:" if column.startswith("#") else "---" for column in table.columns]
    head = [_plain(column.removeprefix("#")) for column in table.columns]
    rows = [[_plain(cell).replace("\n", "<br>") for cell in row] for row in table.rows]
    lines = "\n".join(f"| {' | '.join(row)} |" for row in [head, rule, *rows])
    return f"{_plain(table.caption)}:\n\n{lines}"


def _plain(text: str) -> str:
    """Text whose signs Markdown does not interpret."""
    return re.sub(r"([\\`*_\[\]<|])", r"\\\1", text)
