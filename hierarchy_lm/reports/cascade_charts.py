"""The charts of a cascade: accuracy against coverage, and reliability."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hierarchy_lm.reports.cascade_figures import BINS, TARGET_ACCURACY, Curve, Reliability
from hierarchy_lm.reports.charts import LEFT, RIGHT, TOP, Chart, Entry, box_entry, line_entry

HEIGHT, BOTTOM = 300, 256
COLOURS = ("c1", "c2 d1")
COUNTS_TOP, COUNTS_BOTTOM = 268, 330
NOISY_COVERAGE = 0.02
"""Accuracy of fewer items than this share does not set the scale of the curve."""


@dataclass(frozen=True)
class Scale:
    """Places of coverage (0 to 1) and accuracy (``lowest`` to 1) in the drawing's units."""

    lowest: float = 0.0

    def x(self, value: float) -> float:
        """Horizontal place."""
        return round(LEFT + (RIGHT - LEFT) * value, 1)

    def y(self, value: float) -> float:
        """Vertical place; below the scale counts as its lower end."""
        part = (max(value, self.lowest) - self.lowest) / (1 - self.lowest)
        return round(BOTTOM - (BOTTOM - TOP) * part, 1)


def curve_scale(curves: Sequence[Curve]) -> Scale:
    """Scale with room for every curve and the target accuracy, in tenths."""
    seen = [curve.accuracy[curve.coverage >= NOISY_COVERAGE] for curve in curves]
    least = min([TARGET_ACCURACY - 0.1, *np.concatenate(seen).tolist()])
    return Scale(np.floor(least * 10 + 1e-9).item() / 10)


def curve_chart(
    scale: Scale,
    curves: Sequence[tuple[str, Curve, NDArray[np.int64]]],
    marker: tuple[float, float],
    calibrated: tuple[float, float] | None,
) -> Chart:
    """Accuracy against coverage; the cascade first, then the baseline.

    Args:
        scale: From :func:`curve_scale`.
        curves: Their names, and curves with the points to draw.
        marker: Coverage and accuracy of the threshold that is shown first.
        calibrated: Those of the calibrated threshold, if there is one.
    """
    target = scale.y(TARGET_ACCURACY)
    parts = [
        _axes(scale, "coverage (share of importance)", BOTTOM),
        f'<line class="target" x1="{LEFT}" x2="{RIGHT}" y1="{target}" y2="{target}"/>',
        *(
            f'<path class="series {colour}" d="{_path(scale, curve, points)}"/>'
            for colour, (_, curve, points) in reversed(list(zip(COLOURS, curves, strict=False)))
        ),
    ]
    if calibrated is not None:
        x, y = scale.x(calibrated[0]), scale.y(calibrated[1])
        diamond = f"M{x - 7} {y}L{x} {y - 7}L{x + 7} {y}L{x} {y + 7}Z"
        parts.append(f'<path id="calibrated" class="calibrated" d="{diamond}"/>')
    x, y = scale.x(marker[0]), scale.y(marker[1])
    marker_line = f'<line id="marker-line" x1="{x}" x2="{x}" y1="{TOP}" y2="{BOTTOM}"/>'
    return Chart(
        name="curve-chart",
        title="Accuracy of the leaf against coverage",
        height=HEIGHT,
        body="".join(parts),
        legend=_legend([name for name, _, _ in curves], calibrated is not None),
        marker=f'{marker_line}<circle id="marker" cx="{x}" cy="{y}" r="6"/>',
        heading=False,
    )


def _legend(labels: list[str], calibrated: bool) -> tuple[Entry, ...]:
    entries = [line_entry(*one) for one in zip(COLOURS, labels, strict=False)]
    target = '<line class="target" x1="0" x2="28" y1="5" y2="5"/>'
    entries.append(Entry(target, f"accuracy {TARGET_ACCURACY:.2f}"))
    if calibrated:
        diamond = '<path class="calibrated" d="M9 5L14 0L19 5L14 10Z"/>'
        entries.append(Entry(diamond, "calibrated threshold"))
    return tuple(entries)


def _path(scale: Scale, curve: Curve, points: NDArray[np.int64]) -> str:
    places = [
        f"{scale.x(coverage)} {scale.y(accuracy)}"
        for coverage, accuracy in zip(
            curve.coverage[points].tolist(), curve.accuracy[points].tolist(), strict=True
        )
    ]
    return "M" + "L".join(places) if places else ""


def reliability_chart(
    bins: Reliability, baseline: Reliability | None, labels: Sequence[str]
) -> Chart:
    """Accuracy by confidence, above the number of items in every bin; ``labels`` name both."""
    scale = Scale()
    most = max(int(bins.items.max()), 1)
    diagonal = f'x1="{LEFT}" y1="{BOTTOM}" x2="{RIGHT}" y2="{TOP}"'
    parts = [
        _axes(scale, "confidence; above it the number of items", COUNTS_BOTTOM),
        *(_bar(scale, bins, index) for index in range(BINS)),
        f'<line class="diagonal" {diagonal}/>',
        *(_counts(scale, int(items), index, most) for index, items in enumerate(bins.items)),
        *([] if baseline is None else [_dots(scale, baseline)]),
    ]
    legend = [
        box_entry("bar", f"accuracy of {labels[0]}"),
        Entry('<path class="mean" d="M6 5H22"/>', "mean confidence"),
    ]
    if baseline is not None:
        legend.append(
            Entry('<circle class="dot" cx="14" cy="5" r="4"/>', f"accuracy of {labels[1]}")
        )
    return Chart(
        name="reliability-chart",
        title="Accuracy by confidence",
        height=COUNTS_BOTTOM + 44,
        body="".join(parts),
        legend=tuple(legend),
        heading=False,
    )


def _bar(scale: Scale, bins: Reliability, index: int) -> str:
    if not bins.weight[index]:
        return ""
    left, width = scale.x(index / BINS), (RIGHT - LEFT) / BINS
    top = scale.y(float(bins.accuracy[index]))
    mean = scale.y(float(bins.confidence[index]))
    return (
        f'<rect class="bar" x="{left + 1:.1f}" y="{top}" width="{width - 2:.1f}" '
        f'height="{BOTTOM - top:.1f}"/>'
        f'<line class="mean" x1="{left + 1:.1f}" x2="{left + width - 1:.1f}" '
        f'y1="{mean}" y2="{mean}"/>'
    )


def _dots(scale: Scale, bins: Reliability) -> str:
    told = np.flatnonzero(bins.weight)
    return "".join(
        f'<circle class="dot" cx="{scale.x(float(bins.confidence[index]))}" '
        f'cy="{scale.y(float(bins.accuracy[index]))}" r="4"/>'
        for index in told.tolist()
    )


def _counts(scale: Scale, items: int, index: int, most: int) -> str:
    left, width = scale.x(index / BINS), (RIGHT - LEFT) / BINS
    height = (COUNTS_BOTTOM - COUNTS_TOP) * items / most
    x, y = left + width / 2 + 4, COUNTS_BOTTOM - 4
    return (
        f'<rect class="count" x="{left + 1:.1f}" y="{COUNTS_BOTTOM - height:.1f}" '
        f'width="{width - 2:.1f}" height="{height:.1f}"/>'
        f'<text class="count-text" transform="translate({x:.1f} {y}) rotate(-90)">{items}</text>'
    )


def _axes(scale: Scale, label: str, below: int) -> str:
    parts = [f'<path class="axis" d="M{LEFT} {TOP}V{BOTTOM}H{RIGHT}"/>']
    tenths = range(10, round(scale.lowest * 10) - 1, -1 if scale.lowest >= 0.5 else -2)
    for value in (tenth / 10 for tenth in tenths):
        y = scale.y(value)
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{RIGHT}" y1="{y}" y2="{y}"/>')
        parts.append(f'<text class="end" x="{LEFT - 6}" y="{y + 4:.1f}">{value:.1f}</text>')
    for value in (tenth / 10 for tenth in range(0, 11, 2)):
        parts.append(f'<text x="{scale.x(value)}" y="{below + 16}">{value:.1f}</text>')
    parts.append(f'<text x="{(LEFT + RIGHT) / 2}" y="{below + 36}">{label}</text>')
    middle = f"translate(10 {(TOP + BOTTOM) / 2}) rotate(-90)"
    parts.append(f'<text transform="{middle}">accuracy of the leaf</text>')
    return "".join(parts)
