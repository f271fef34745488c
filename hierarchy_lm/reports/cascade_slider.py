"""The threshold slider: what it shows at every step, computed here and only displayed there."""

import json
import math
from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np

from hierarchy_lm.reports.cascade_charts import BOTTOM, Scale, curve_chart, curve_scale
from hierarchy_lm.reports.cascade_figures import TARGET_ACCURACY, Curve, thin
from hierarchy_lm.reports.cascade_scores import Scores
from hierarchy_lm.reports.charts import LEFT, RIGHT, TOP, Chart
from hierarchy_lm.reports.texts import count, share, threshold_text

POINTS = 500


@dataclass(frozen=True)
class Step:
    """One position of the slider.

    Attributes:
        threshold: Leaves of at least this confidence are accepted.
        coverage: Share of importance accepted.
        accuracy: Weighted accuracy of the accepted leaves.
        left: Items left to people.
        baseline: The baseline's accuracy at the same coverage; ``None`` without one, or where it
            does not reach that coverage.
    """

    threshold: float
    coverage: float
    accuracy: float
    left: int
    baseline: float | None


@dataclass(frozen=True)
class Slider:
    """Steps by rising threshold, and those of them that have a name.

    Attributes:
        steps: At most ``POINTS``.
        start: Position shown first.
        marks: Positions by name.
        calibrated: Position of the calibrated threshold, if it accepts any item.
    """

    steps: list[Step]
    start: int
    marks: dict[str, int]
    calibrated: int | None


def slider(scores: Scores, baseline: Scores | None) -> Slider | None:
    """Steps of the slider; ``None`` if the cascade names no leaf for any labelled item."""
    curve = scores.curve
    named = {f"accuracy {TARGET_ACCURACY:.2f}": curve.index_of_accuracy(TARGET_ACCURACY)}
    threshold = leaf_threshold(scores)
    calibrated = None if threshold is None else curve.index_of_threshold(threshold)
    named = {"calibrated threshold": calibrated, **named}
    keep = [index for index in named.values() if index is not None]
    points = thin(curve, POINTS, keep)[::-1]
    if not len(points):
        return None
    place = {int(index): position for position, index in enumerate(points)}
    steps = [_step(scores, baseline, index) for index in place]
    if calibrated is not None and threshold is not None:
        at = place[calibrated]  # the same items are accepted down to the threshold itself
        steps[at] = Step(**{**vars(steps[at]), "threshold": threshold})
    marks = {name: place[index] for name, index in named.items() if index is not None}
    start = next(iter(marks.values()), 0)
    return Slider(steps, start, marks, marks.get("calibrated threshold"))


def leaf_threshold(scores: Scores) -> float | None:
    """The calibrated threshold, if there is one."""
    calibration = scores.evaluation.calibration
    return None if calibration is None else calibration.leaf_threshold


def _step(scores: Scores, baseline: Scores | None, index: int) -> Step:
    threshold, coverage, accuracy, items = scores.curve.at(index)
    return Step(
        threshold=math.floor(threshold * 1e6) / 1e6,  # rounded up it would accept fewer
        coverage=coverage,
        accuracy=accuracy,
        left=int(scores.judgement.labelled.sum()) - items,
        baseline=None if baseline is None else _accuracy_at(baseline.curve, coverage),
    )


def _accuracy_at(curve: Curve, coverage: float) -> float | None:
    """Accuracy at the first point that covers as much."""
    index = int(np.searchsorted(curve.coverage, coverage - 1e-9))
    return float(curve.accuracy[index]) if index < len(curve.accuracy) else None


def slider_data(steps: Slider, scale: Scale) -> str:
    """JSON for the page's script, safe inside a script element."""
    data: dict[str, Any] = {
        "steps": [
            [
                step.threshold,
                round(step.coverage, 5),
                round(step.accuracy, 5),
                step.left,
                None if step.baseline is None else round(step.baseline, 5),
            ]
            for step in steps.steps
        ],
        "plot": {
            "left": LEFT,
            "width": RIGHT - LEFT,
            "bottom": BOTTOM,
            "height": BOTTOM - TOP,
            "lowest": scale.lowest,
        },
    }
    return json.dumps(data, allow_nan=False).replace("<", "\\u003c")


def slider_figure(steps: Slider, scores: Scores, baseline: Scores | None) -> tuple[Chart, str, str]:
    """The chart, the HTML of the slider beside it, and the data for the script."""
    both = [scores] if baseline is None else [scores, baseline]
    scale = curve_scale([one.curve for one in both])
    first = steps.steps[steps.start]
    calibrated = None if steps.calibrated is None else steps.steps[steps.calibrated]
    chart = curve_chart(
        scale,
        [(one.label, one.curve, thin(one.curve, POINTS, [])) for one in both],
        (first.coverage, first.accuracy),
        None if calibrated is None else (calibrated.coverage, calibrated.accuracy),
    )
    return chart, _controls(steps, first, baseline), slider_data(steps, scale)


def _controls(steps: Slider, first: Step, baseline: Scores | None) -> str:
    outputs = [
        ("threshold", "confidence at least", threshold_text(first.threshold)),
        ("accuracy", "accuracy", share(first.accuracy)),
        ("coverage", "coverage", share(first.coverage)),
        ("left", "items left to people", count(first.left)),
    ]
    if baseline is not None:
        text = f"accuracy of {baseline.label} at this coverage"
        outputs.append(("baseline", text, share(first.baseline)))
    rows = "".join(
        f'<div><dt>{escape(text)}</dt><dd id="out-{name}">{value}</dd></div>'
        for name, text, value in outputs
    )
    buttons = "".join(
        f'<button type="button" data-step="{step}">{escape(name)}</button>'
        for name, step in steps.marks.items()
    )
    return (
        '<div class="controls"><label for="threshold">Confidence threshold</label>'
        f'<input type="range" id="threshold" min="0" max="{len(steps.steps) - 1}" '
        f'value="{steps.start}"><div class="buttons">{buttons}</div><dl>{rows}</dl></div>'
    )
