"""A chart as an SVG of classes, coloured by ``charts.css``: in the page, or a file of its own."""

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from html import escape
from importlib.resources import files
from itertools import product

from hierarchy_lm.reports.texts import clip

# Small enough that letters stay readable at the width of a phone.
WIDTH = 420
LEFT, RIGHT, TOP = 46, 410, 12
LETTER = 6.6
"""Mean width of a letter of 12 units."""
MOST_DIGITS = 6
COLOURS, DASHES = 8, 3
LOOKS = [f"c{colour} d{dash}" for dash, colour in product(range(DASHES), range(1, COLOURS + 1))]
"""Classes by which curves are told apart; what comes after has ``REST``."""
REST = "rest"


@dataclass(frozen=True)
class Entry:
    """One line of a legend.

    Attributes:
        symbol: SVG of 28 by 10 units.
        text: What it means.
    """

    symbol: str
    text: str


@dataclass(frozen=True)
class Chart:
    """A drawing and its legend.

    Attributes:
        name: Its id in the page, and its file's stem; letters, digits and hyphens.
        title: What it shows, in one line.
        height: Units; it is ``width`` wide.
        body: SVG elements, styled by classes.
        legend: Below it.
        marker: Elements that only the page shows, since its script moves them.
        width: Units; the page scrolls to what is wider than ``WIDTH``.
        heading: Whether the title stands above it; otherwise only screen readers tell it.
    """

    name: str
    title: str
    height: float
    body: str
    legend: tuple[Entry, ...] = ()
    marker: str = ""
    width: float = WIDTH
    heading: bool = True


def look(number: int) -> str:
    """Classes of the curve with this number, from 0."""
    return LOOKS[number] if number < len(LOOKS) else REST


def legend_of(looks: Mapping[str, int], entry: Callable[[str, str], Entry]) -> tuple[Entry, ...]:
    """Legend of groups by the numbers of their looks; those beyond the looks share a line."""
    own = {name: number for name, number in looks.items() if look(number) != REST}
    entries = [entry(look(number), name) for name, number in own.items()]
    if len(looks) > len(own):
        entries.append(entry(REST, f"{len(looks) - len(own)} others"))
    return tuple(entries)


def line_entry(classes: str, text: str) -> Entry:
    """Legend of a line."""
    return Entry(f'<path class="series {classes}" d="M0 5H28"/>', text)


def box_entry(classes: str, text: str) -> Entry:
    """Legend of an area."""
    return Entry(f'<rect class="{classes}" x="8" y="-1" width="12" height="12"/>', text)


def area_entry(classes: str, text: str) -> Entry:
    """Legend of bars or dots that have a look."""
    return box_entry(f"area {classes}", text)


def ids(names: Iterable[str]) -> list[str]:
    """Distinct names fit for ids and files, from any texts."""
    found: list[str] = []
    for name in names:
        plain = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:60] or "chart"
        same = (f"{plain}-{number}" for number in range(2, len(found) + 3))
        found.append(plain if plain not in found else next(n for n in same if n not in found))
    return found


@dataclass(frozen=True)
class Axis:
    """A linear scale from ``low`` to ``high`` over the places ``start`` to ``end``, with ticks."""

    low: float
    high: float
    start: float
    end: float
    ticks: list[float] = field(default_factory=list)

    def at(self, value: float) -> float:
        """Place of a value."""
        part = (value - self.low) / (self.high - self.low)
        return round(self.start + (self.end - self.start) * part, 1)

    def label(self, value: float) -> str:
        """A tick's text, with the digits that the distance of ticks needs."""
        digits = -math.floor(math.log10(self.ticks[1] - self.ticks[0]) + 1e-9)
        if digits > MOST_DIGITS or max(map(abs, self.ticks)) >= 1e7:
            return f"{value:.3g}"
        return f"{value:,.{max(0, digits)}f}"

    def grid(self, bottom: float) -> list[str]:
        """A line from the top to ``bottom`` for each tick, and its text below."""
        lines = []
        for tick in self.ticks:
            x = self.at(tick)
            lines.append(f'<line class="grid" x1="{x}" x2="{x}" y1="4" y2="{bottom}"/>')
            lines.append(text_at(x, bottom + 15, self.label(tick)))
        return lines


def axis(values: Sequence[float], start: float, end: float, most: int = 6) -> Axis:
    """Scale of some finite values that begins and ends at a round number."""
    low, high = (min(values), max(values)) if values else (0.0, 1.0)
    if high - low <= 1e-12 * max(abs(low), abs(high)):
        margin = 0.1 * abs(low) or 1.0
        low, high = low - margin, high + margin
    rough = (high - low) / most
    unit = 10.0 ** math.floor(math.log10(rough))
    step = next(unit * factor for factor in (1, 2, 5, 10) if unit * factor >= rough * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    ticks = [number * step for number in range(first, last + 1)]
    return Axis(ticks[0], ticks[-1], start, end, ticks)


def text_at(x: float, y: float, text: str, classes: str = "") -> str:
    """A text element; ``classes`` may be ``end``, ``start``, ``strong``, ``small``."""
    kind = f' class="{classes}"' if classes else ""
    return f'<text{kind} x="{x:g}" y="{y:g}">{escape(text)}</text>'


def fitting(text: str, width: float) -> str:
    """As much of a text as fits into a width."""
    return clip(text, max(2, int(width / LETTER)))


def inline(chart: Chart) -> str:
    """The chart for a page that has the style sheet."""
    wide = f' style="min-width:{chart.width:g}px"' if chart.width > WIDTH else ""
    label = f'<title id="{chart.name}-t">{escape(chart.title)}</title>'
    return (
        f'<svg id="{chart.name}" viewBox="0 0 {chart.width:g} {chart.height:g}"{wide} role="img" '
        f'aria-labelledby="{chart.name}-t">{label}{chart.body}{chart.marker}</svg>'
    )


def standalone(chart: Chart) -> str:
    """The chart as a file: title above, legend below, light colours, no outside resource."""
    top = 26
    rows = "".join(
        f'<g transform="translate({LEFT} {chart.height + top + 18 * row + 4:g})">{one.symbol}'
        f"{text_at(36, 9, fitting(one.text, chart.width - LEFT - 36), 'start')}</g>"
        for row, one in enumerate(chart.legend)
    )
    width, height = chart.width, chart.height + top + 18 * len(chart.legend) + 8
    title = text_at(8, 17, fitting(chart.title, width - 16), "start strong")
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" '
        f'width="{width:g}" height="{height:g}"><title>{escape(chart.title)}</title>'
        f'<style>{light_style()}</style><rect width="100%" height="100%" fill="#fff"/>{title}'
        f'<g transform="translate(0 {top})">{chart.body}</g>{rows}</svg>\n'
    )


@cache
def light_style() -> str:
    """``charts.css`` with the page's light colours in the place of its variables."""
    templates = files("hierarchy_lm.reports") / "templates"
    page = (templates / "page.css").read_text(encoding="utf-8")
    colours = dict(re.findall(r"--([\w-]+): ([^;]+);", page[: page.index("@media")]))
    style = (templates / "charts.css").read_text(encoding="utf-8")
    return re.sub(r"var\(--([\w-]+)\)", lambda found: colours[found[1]], style)
