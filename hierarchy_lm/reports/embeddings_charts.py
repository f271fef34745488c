"""Pictures of embedding spaces, each an SVG file that needs no style sheet."""

from collections.abc import Sequence
from html import escape

import numpy as np
from numpy.typing import NDArray

from hierarchy_lm.embeddings.distances import DistanceProfile

COLOURS = [
    *("#1f6fb4", "#e07b00", "#2a9134", "#c8283b", "#7d4fb3"),
    *("#86523b", "#d65aa8", "#12a3b4", "#a39a00", "#3d3d8f", "#5fc27e", "#f2a7a0"),
]
OTHER = "#9aa3ab"
STYLE = (
    "<style>svg{background:#fff}text{font:13px system-ui,sans-serif;fill:#333}"
    ".number{font-weight:700;text-anchor:middle;paint-order:stroke;stroke:#fff;stroke-width:4px}"
    ".end{text-anchor:end}.middle{text-anchor:middle}.grid{stroke:#ddd}"
    ".points{stroke-width:4.5;stroke-linecap:round;stroke-opacity:.65}"
    ".line{fill:none;stroke-width:2.5}</style>"
)
SIDE, LEGEND, MARGIN = 480, 250, 30
MOST_LETTERS = 30


def space_chart(
    places: NDArray[np.float64],
    departments: NDArray[np.int64],
    names: Sequence[str],
    shares: tuple[float, float],
) -> str:
    """Documents on a plane, coloured by department; the largest departments have a colour.

    Args:
        places: ``(n, 2)``.
        departments: ``(n,)`` index into ``names``; -1 for none or several.
        names: Names of the departments.
        shares: Share of the variance on each axis.
    """
    low = places.min(axis=0)
    extent = max(float((places.max(axis=0) - low).max()), 1e-12)
    points = MARGIN + (places - low) / extent * (SIDE - MARGIN)
    points[:, 1] = SIDE + MARGIN - points[:, 1]
    counts = np.bincount(departments[departments >= 0], minlength=len(names))
    largest = np.argsort(-counts, kind="stable")[: len(COLOURS)]
    largest = largest[counts[largest] > 0]
    rest = ~np.isin(departments, largest)
    parts, legend = [_points(points[rest], OTHER)], []
    for number, department in enumerate(largest.tolist(), start=1):
        own = points[departments == department]
        parts.append(_points(own, COLOURS[number - 1]))
        text = f"{number}  {names[department]} ({counts[department]:,})"
        legend.append((COLOURS[number - 1], text))
    for number, department in enumerate(largest.tolist(), start=1):
        x, y = np.median(points[departments == department], axis=0)
        parts.append(f'<text class="number" x="{x:.0f}" y="{y + 5:.0f}">{number}</text>')
    if rest.any():
        legend.append((OTHER, f"others, none or several ({int(rest.sum()):,})"))
    axes = [f"component {n}: {share:.1%} of the variance" for n, share in enumerate(shares, 1)]
    middle = (SIDE + MARGIN) / 2
    parts += [
        f'<text class="middle" x="{middle}" y="{SIDE + MARGIN + 14}">{axes[0]}</text>',
        f'<text class="middle" transform="translate(16 {middle}) rotate(-90)">{axes[1]}</text>',
        _legend(legend, SIDE + MARGIN + 14),
    ]
    return _svg(SIDE + LEGEND + 2 * MARGIN, SIDE + 2 * MARGIN, parts)


def _points(points: NDArray[np.float64], colour: str) -> str:
    # A line of no length with round ends is a dot, in a tenth of a circle's letters.
    path = "".join(f"M{x:.1f} {y:.1f}h0" for x, y in points.tolist())
    return f'<path class="points" stroke="{colour}" d="{path}"/>' if path else ""


def _legend(entries: Sequence[tuple[str, str]], left: int) -> str:
    return "".join(
        f'<circle cx="{left + 6}" cy="{40 + 24 * row}" r="6" fill="{colour}"/>'
        f'<text x="{left + 18}" y="{45 + 24 * row}">{escape(_short(text))}</text>'
        for row, (colour, text) in enumerate(entries)
    )


def _short(text: str) -> str:
    return text if len(text) <= MOST_LETTERS + 4 else text[: MOST_LETTERS + 3] + "…"


def distance_chart(profiles: Sequence[tuple[str, DistanceProfile]]) -> str:
    """Mean cosine distance for each tree distance, over the mean of all pairs.

    Encoders use different parts of the space: only the relation to their own mean can be compared.
    """
    lines = [(name, one.tree, relative_distances(one)) for name, one in profiles]
    most = max(max(tree) for _, tree, _ in lines)
    top = max(1.05, *(max(values) for _, _, values in lines)) * 1.05

    def x(distance: float) -> float:
        return 60 + (SIDE - 60) * distance / max(most, 1)

    def y(value: float) -> float:
        return 320 - 300 * value / top

    parts = []
    for tick in np.arange(0, top, 0.25).tolist():
        parts.append(f'<path class="grid" d="M60 {y(tick):.1f}H{SIDE}"/>')
        parts.append(f'<text class="end" x="52" y="{y(tick) + 4:.1f}">{tick:.2f}</text>')
    for tick in range(most + 1):
        parts.append(f'<text class="middle" x="{x(tick):.1f}" y="340">{tick}</text>')
    for (_, tree, values), colour in zip(lines, _colours(len(lines)), strict=True):
        places = list(zip(map(x, tree), map(y, values), strict=True))
        path = "M" + "L".join(f"{a:.1f} {b:.1f}" for a, b in places)
        parts.append(f'<path class="line" stroke="{colour}" d="{path}"/>')
        parts += [f'<circle cx="{a:.1f}" cy="{b:.1f}" r="4" fill="{colour}"/>' for a, b in places]
    parts += [
        f'<text class="middle" x="{(SIDE + 60) / 2}" y="364">distance in the tree (edges)</text>',
        '<text class="middle" transform="translate(16 170) rotate(-90)">'
        "cosine distance / mean of all pairs</text>",
        _legend(list(zip(_colours(len(lines)), [n for n, _, _ in lines], strict=True)), SIDE + 20),
    ]
    return _svg(SIDE + LEGEND, 376, parts)


def relative_distances(profile: DistanceProfile) -> list[float]:
    """Mean cosine distances over that of all pairs."""
    mean = float(np.average(profile.cosine, weights=profile.pairs))
    return [value / mean if mean > 0 else 0.0 for value in profile.cosine]


def _colours(count: int) -> list[str]:
    return [COLOURS[number % len(COLOURS)] for number in range(count)]


def _svg(width: int, height: int, parts: Sequence[str]) -> str:
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}">'
    return f'{head}{STYLE}<rect width="100%" height="100%" fill="#fff"/>{"".join(parts)}</svg>\n'
