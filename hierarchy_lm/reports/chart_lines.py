"""Curves over the steps of a training, several runs in one chart."""

from collections.abc import Sequence
from html import escape

import numpy as np
from numpy.typing import NDArray

from hierarchy_lm.reports.charts import (
    LEFT,
    LETTER,
    RIGHT,
    TOP,
    Axis,
    Chart,
    Entry,
    axis,
    look,
    text_at,
)
from hierarchy_lm.reports.runs_data import Curve

HEIGHT, BOTTOM = 250, 206
POINTS_OF_CHART, MOST_POINTS, LEAST_POINTS = 8000, 400, 40
DOTTED = 40
"""A curve of at most so many points shows each of them."""


def thin(values: NDArray[np.float64], points: int) -> NDArray[np.int64]:
    """At most ``points`` indices of a curve that keep its ends and its extremes.

    The curve is cut into pieces of equal length; of each, the smallest and the largest value stay.
    """
    if len(values) <= points:
        return np.arange(len(values))
    pieces = np.array_split(np.arange(len(values)), (points - 2) // 2)
    kept = [piece[extreme(values[piece])] for piece in pieces for extreme in (np.argmin, np.argmax)]
    return np.unique(np.array([0, *kept, len(values) - 1], dtype=np.int64))


def points_per_curve(curves: int) -> int:
    """Most points of each of so many curves in a chart, so that pages of many runs stay small."""
    return min(MOST_POINTS, max(LEAST_POINTS, POINTS_OF_CHART // max(curves, 1)))


def line_chart(
    name: str, title: str, curves: Sequence[tuple[str, int, Curve]], legend: tuple[Entry, ...]
) -> Chart:
    """Raw values by step on linear axes; that of the steps begins at 0.

    Args:
        name: Its id.
        title: The metric.
        curves: Label, number of the look, and values of each.
        legend: Of the looks.
    """
    shown = [(label, number, curve) for label, number, curve in curves if len(curve.values)]
    steps = [int(step) for _, _, c in shown for step in (c.steps[0], c.steps[-1])]
    values = [float(extreme) for _, _, c in shown for extreme in (c.values.min(), c.values.max())]
    y = axis(values, BOTTOM, TOP)
    left = max(LEFT, 10 + LETTER * max(len(y.label(tick)) for tick in y.ticks))
    x = axis([0, *steps], left, RIGHT - 12, 5)
    most = points_per_curve(len(shown))
    # What has no look of its own lies below the others.
    drawn = [_curve(x, y, curve, number, label, most) for label, number, curve in reversed(shown)]
    return Chart(name, title, HEIGHT, _frame(x, y) + "".join(drawn), legend)


def _curve(x: Axis, y: Axis, curve: Curve, number: int, label: str, most: int) -> str:
    kept = thin(curve.values, most)
    places = [
        (x.at(step), y.at(value))
        for step, value in zip(curve.steps[kept].tolist(), curve.values[kept].tolist(), strict=True)
    ]
    path = "M" + "L".join(f"{a:g} {b:g}" for a, b in places)
    dots = "".join(
        f'<circle class="area {look(number)}" cx="{a:g}" cy="{b:g}" r="2.2"/>'
        for a, b in (places if len(curve.values) <= DOTTED else [])
    )
    told = f"<title>{escape(label)}</title>"
    return f'<g>{told}<path class="series {look(number)}" d="{path}"/>{dots}</g>'


def _frame(x: Axis, y: Axis) -> str:
    left = x.start
    parts = [f'<path class="axis" d="M{left:g} {TOP}V{BOTTOM}H{RIGHT}"/>']
    for tick in y.ticks:
        at = y.at(tick)
        parts.append(f'<line class="grid" x1="{left:g}" x2="{RIGHT}" y1="{at}" y2="{at}"/>')
        parts.append(text_at(left - 5, at + 4, y.label(tick), "end"))
    parts += [text_at(x.at(tick), BOTTOM + 16, x.label(tick)) for tick in x.ticks]
    parts.append(text_at((left + RIGHT) / 2, BOTTOM + 36, "optimizer step"))
    return "".join(parts)
