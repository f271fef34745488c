"""A heat map of two swept parameters, and rows of dots for one."""

from collections import Counter
from collections.abc import Mapping, Sequence
from html import escape

from hierarchy_lm.reports.chart_bars import dot
from hierarchy_lm.reports.charts import (
    LETTER,
    RIGHT,
    WIDTH,
    Axis,
    Chart,
    Entry,
    axis,
    box_entry,
    fitting,
    text_at,
)
from hierarchy_lm.reports.sweeps_data import Summary
from hierarchy_lm.reports.texts import deviation, figure

CELL_WIDTH, CELL_HEIGHT, HEAD = 58, 56, 42
BAND = 9
"""Height of the hatching of a cell of which some runs count."""
PALEST, STRONGEST = 0.06, 0.5
"""Opacity of the lowest and the highest mean: text stays readable on both."""
START, END, ROW = 18, RIGHT - 12, 40
HATCH_LINES = '<path class="hatch" d="M8 11L20 -1M8 5L14 -1M14 11L20 5"/>'


def heat_map(
    name: str,
    title: str,
    axes: tuple[str, str],
    values: tuple[Sequence[str], Sequence[str]],
    cells: Mapping[tuple[str, str], Summary],
    less_is_better: bool,
    baseline: Summary | None,
) -> Chart:
    """Means over the seeds, coloured from the lowest to the highest.

    Args:
        name: Its id.
        title: What it shows.
        axes: Parameters of the rows and the columns.
        values: Their values.
        cells: By row and column; what is not among them was not planned.
        less_is_better: Whether the lowest mean is the best.
        baseline: Below the grid, if there is one.
    """
    rows, columns = values
    left = min(150.0, 16 + LETTER * max(map(len, [*rows, axes[0], "baseline"])))
    wide = max(CELL_WIDTH, (RIGHT - left) / len(columns))
    means = [one.mean for one in cells.values() if one.mean is not None]
    best = (min if less_is_better else max)(means, default=None)
    parts = [
        _hatch(name),
        text_at(left + wide * len(columns) / 2, 14, axes[1], "strong"),
        text_at(left - 8, HEAD - 8, fitting(axes[0], left - 8), "end strong"),
        *(
            text_at(left + wide * (place + 0.5), HEAD - 8, fitting(column, wide), "ink")
            for place, column in enumerate(columns)
        ),
    ]
    for line, row in enumerate(rows):
        y = HEAD + CELL_HEIGHT * line
        parts.append(_row_name(row, left, y))
        for place, column in enumerate(columns):
            told = f"{axes[0]} {row}, {axes[1]} {column}"
            corner = (left + wide * place, y, wide)
            parts.append(_cell(name, corner, cells.get((row, column)), means, best, told))
    bottom = HEAD + CELL_HEIGHT * len(rows)
    if baseline is not None:
        parts.append(_row_name("baseline", left, bottom + 10))
        parts.append(_cell(name, (left, bottom + 10, wide), baseline, means, None, "baseline"))
        bottom += CELL_HEIGHT + 10
    width = max(WIDTH, left + wide * len(columns) + 10)
    return Chart(name, title, bottom + 6, "".join(parts), _legend(means, cells), width=width)


def _row_name(text: str, left: float, y: float) -> str:
    return (
        f"<g><title>{escape(text)}</title>"
        f"{text_at(left - 8, y + CELL_HEIGHT / 2 + 4, fitting(text, left - 8), 'end ink')}</g>"
    )


def _hatch(name: str) -> str:
    return (
        f'<defs><pattern id="{name}-hatch" width="6" height="6" patternUnits="userSpaceOnUse" '
        'patternTransform="rotate(45)"><path class="hatch" d="M0 0V6"/></pattern></defs>'
    )


def _cell(
    name: str,
    corner: tuple[float, float, float],
    summary: Summary | None,
    means: Sequence[float],
    best: float | None,
    told: str,
) -> str:
    x, y, wide = corner
    box = f'x="{x + 1:.1f}" y="{y + 1:.1f}" width="{wide - 2:.1f}" height="{CELL_HEIGHT - 2}"'
    if summary is None:  # not planned
        return f'<rect class="frame" {box}/>'
    parts = [f"<title>{escape(f'{told}: {words(summary)}')}</title>"]
    middle = round(x + wide / 2, 1)
    if summary.mean is not None:
        parts.append(f'<rect class="heat" fill-opacity="{_opacity(summary.mean, means)}" {box}/>')
    if summary.states:
        height = CELL_HEIGHT - 2 if summary.mean is None else BAND
        bottom = y + CELL_HEIGHT - 1 - height
        band = f'x="{x + 1:.1f}" y="{bottom:.1f}" width="{wide - 2:.1f}" height="{height}"'
        parts.append(f'<rect fill="url(#{name}-hatch)" {band}/>')
    parts.append(f'<rect class="{"best" if summary.mean == best is not None else "frame"}" {box}/>')
    parts += [text_at(middle, y + place, text, kind) for place, text, kind in _lines(summary)]
    return f"<g>{''.join(parts)}</g>"


def _lines(summary: Summary) -> list[tuple[int, str, str]]:
    if summary.mean is None:
        return [(CELL_HEIGHT // 2 + 4, _short_states(summary.states), "small ink halo")]
    dev = summary.deviation
    spread = [] if dev is None else [f"±{deviation(dev, summary.mean)}"]
    done = len(summary.scores)
    seeds = f"{done} of {summary.planned}" if summary.states else f"n = {done}"
    below = [(30 + 12 * line, text, "small ink") for line, text in enumerate([*spread, seeds])]
    return [(17, figure(summary.mean), "ink"), *below]


def _short_states(states: Sequence[str]) -> str:
    return max(Counter(states).items(), key=lambda pair: pair[1])[0].split()[0]


def words(summary: Summary) -> str:
    """Mean, deviation, and number of seeds with what became of the others."""
    mean, dev, done = summary.mean, summary.deviation, len(summary.scores)
    told = [f"{done} {'seed' if done == 1 else 'seeds'}"] if done else []
    told += [f"{number} {state}" for state, number in Counter(summary.states).items()]
    score = "no score" if mean is None else figure(mean)
    spread = "" if dev is None else f" ± {deviation(dev, mean)}"
    return f"{score}{spread} ({', '.join(told)})"


def _opacity(value: float, means: Sequence[float]) -> float:
    if not means or max(means) == min(means):
        return (PALEST + STRONGEST) / 2
    part = (value - min(means)) / (max(means) - min(means))
    return round(PALEST + (STRONGEST - PALEST) * min(max(part, 0.0), 1.0), 3)


def _legend(means: Sequence[float], cells: Mapping[tuple[str, str], Summary]) -> tuple[Entry, ...]:
    entries, box = [], 'x="8" y="-1" width="12" height="12"'
    for opacity, choose, text in ((PALEST, min, "lowest"), (STRONGEST, max, "highest")):
        if means:
            symbol = f'<rect class="heat" fill-opacity="{opacity}" {box}/>'
            frame = f'<rect class="frame" {box}/>'
            entries.append(Entry(symbol + frame, f"{text} mean, {figure(choose(means))}"))
    entries.append(box_entry("best", "best mean"))
    if any(one.states for one in cells.values()):
        entries.append(Entry(HATCH_LINES, "failed, missing or unfinished runs"))
    return tuple(entries)


def dot_rows(name: str, title: str, rows: Mapping[str, Summary], baseline: Summary | None) -> Chart:
    """Each run's score as a dot, with mean and standard deviation, a row for each value."""
    told = {**({"baseline": baseline} if baseline is not None else {}), **rows}
    scores = [score for one in told.values() for score in one.scores]
    scale = axis(scores, START, END)
    bottom = 6 + ROW * len(told)
    parts = scale.grid(bottom)
    if baseline is not None and baseline.mean is not None:
        x = scale.at(baseline.mean)
        parts.append(f'<line class="baseline" x1="{x}" x2="{x}" y1="4" y2="{bottom}"/>')
    for place, (row, summary) in enumerate(told.items()):
        parts.append(_dots(scale, row, summary, 6 + ROW * place))
    legend = [
        Entry('<circle class="area c1" cx="14" cy="5" r="4"/>', "one run"),
        Entry('<path class="mean" d="M14 -1V11"/>', "mean"),
        Entry('<path class="spread" d="M2 5H26M2 2V8M26 2V8"/>', "standard deviation"),
    ]
    if baseline is not None:
        legend.append(Entry('<path class="baseline" d="M0 5H28"/>', "mean of the baseline"))
    return Chart(name, title, bottom + 24, "".join(parts), tuple(legend))


def _dots(scale: Axis, row: str, summary: Summary, top: float) -> str:
    result = words(summary)
    room = WIDTH - 16 - LETTER * len(result)
    y = top + 26
    parts = [
        text_at(4, top + 12, fitting(row, room), "start ink halo"),
        text_at(WIDTH - 4, top + 12, result, "end small halo"),
    ]
    if summary.mean is not None and summary.deviation is not None:
        low, high = (scale.at(min(max(v, scale.low), scale.high)) for v in (
            summary.mean - summary.deviation, summary.mean + summary.deviation
        ))  # fmt: skip
        ends = f"M{low} {y - 4}V{y + 4}M{high} {y - 4}V{y + 4}"
        parts.append(f'<path class="spread" d="M{low} {y}H{high}{ends}"/>')
    parts += [dot(scale.at(score), y, "c1", row, score) for score in summary.scores]
    if summary.mean is not None:
        at = scale.at(summary.mean)
        parts.append(f'<path class="mean" d="M{at} {y - 8}V{y + 8}"/>')
    return f"<g><title>{escape(row)}</title>{''.join(parts)}</g>"
