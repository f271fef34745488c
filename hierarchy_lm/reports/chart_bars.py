"""Rows of bars, or of dots where there are too many bars to a row."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from math import isfinite

from hierarchy_lm.reports.charts import (
    RIGHT,
    WIDTH,
    Axis,
    Chart,
    area_entry,
    axis,
    fitting,
    legend_of,
    look,
    text_at,
)
from hierarchy_lm.reports.texts import MISSING, figure

MOST_BARS = 6
START, END = 12, RIGHT - 48
ROW, BAR = 19, 10


@dataclass(frozen=True)
class Bars:
    """One value for each row.

    Attributes:
        label: Whose values they are.
        values: One a row; ``None`` or NaN where there is none.
        group: What the legend calls them, and others of the same look.
        look: Number of the look.
    """

    label: str
    values: Sequence[float | None]
    group: str
    look: int


def bar_chart(name: str, title: str, rows: Sequence[str], series: Sequence[Bars]) -> Chart:
    """Horizontal bars from 0, each row's name above them.

    Up to ``MOST_BARS`` series are bars with their values, more are dots on one line a row.
    """
    values = [value for one in series for value in one.values if value is not None]
    scale = axis([0.0, 1.0, *filter(isfinite, values)], START, END)
    bars = len(series) <= MOST_BARS
    thick = BAR + 2
    height = ROW + (thick * len(series) if bars else 16) + 4
    bottom = 4 + height * len(rows)
    parts = scale.grid(bottom)
    for number, row in enumerate(rows):
        top = 4 + height * number
        parts.append(_name(row, top + 13))
        for place, one in enumerate(series):
            value, told = one.values[number], f"{row}, {one.label}"
            if bars:
                parts.append(_bar(scale, value, look(one.look), top + ROW + thick * place, told))
            elif value is not None and isfinite(value):
                parts.append(dot(scale.at(value), top + ROW + 6, look(one.look), told, value))
    legend = legend_of({one.group: one.look for one in series}, area_entry)
    return Chart(name, title, bottom + 24, "".join(parts), legend)


def _name(text: str, y: float) -> str:
    return text_at(START, y, fitting(text, WIDTH - 2 * START), "start ink halo")


def _bar(scale: Axis, value: float | None, classes: str, y: float, told: str) -> str:
    if value is None or not isfinite(value):
        return text_at(START, y + BAR - 1, MISSING, "start small")
    end = scale.at(value)
    return (
        f'<rect class="area {classes}" x="{START}" y="{y}" width="{end - START:.1f}" '
        f'height="{BAR}"><title>{escape(told)}: {figure(value)}</title></rect>'
        f"{text_at(max(end, START) + 4, y + BAR - 1, figure(value), 'start small ink halo')}"
    )


def dot(x: float, y: float, classes: str, told: str, value: float) -> str:
    """A point whose meaning shows under the pointer."""
    return (
        f'<circle class="area {classes}" cx="{x}" cy="{y}" r="4">'
        f"<title>{escape(told)}: {figure(value)}</title></circle>"
    )
