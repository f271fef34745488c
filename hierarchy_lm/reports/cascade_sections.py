"""The report's sections in their order."""

from pathlib import Path

from hierarchy_lm.reports.cascade_charts import reliability_chart
from hierarchy_lm.reports.cascade_gaps import gaps
from hierarchy_lm.reports.cascade_mistakes import (
    confused_siblings,
    contradicted_labels,
    read_titles,
)
from hierarchy_lm.reports.cascade_scores import Scores
from hierarchy_lm.reports.cascade_slider import leaf_threshold, slider, slider_figure
from hierarchy_lm.reports.cascade_tables import (
    confusion_table,
    contradiction_table,
    decision_table,
    headline_table,
    improvement_table,
    reliability_table,
    repair_table,
    target_table,
)
from hierarchy_lm.reports.chart_bars import Bars, bar_chart
from hierarchy_lm.reports.charts import Chart
from hierarchy_lm.reports.page import Section
from hierarchy_lm.reports.texts import count, share, shortened, threshold_text

MOST_DEPARTMENTS = 200
MOST_BARS = 30
MOST_CONFUSIONS = 30
MOST_CONTRADICTIONS = 50


def sections(scores: Scores, baseline: Scores | None) -> tuple[list[Section], str]:
    """All sections, and the data of the page's script."""
    curve, data = _curve(scores, baseline)
    parts = [
        _headline(scores, baseline),
        curve,
        _decisions(scores),
        _improvement(scores, baseline),
        _repair(scores),
        _reliability(scores, baseline),
        _confusions(scores),
        _contradictions(scores),
    ]
    missing = gaps(scores, baseline)
    if missing:
        parts.insert(1, Section("What this report cannot say", notes=missing))
    return parts, data


def _headline(scores: Scores, baseline: Scores | None) -> Section:
    evaluation, judgement = scores.evaluation, scores.judgement
    items, labelled = evaluation.num_items, int(judgement.labelled.sum())
    name = Path(evaluation.dataset).name
    text = (
        f"{count(items)} items of the split '{evaluation.split}' of {name}, "
        f"{count(labelled)} of them with a label in the column '{evaluation.label_column}'. "
        "Every accuracy, share and coverage is weighted by the items' importance; numbers of "
        "items are not."
    )
    return Section("Headline figures", [text], table=headline_table(scores, baseline))


def _curve(scores: Scores, baseline: Scores | None) -> tuple[Section, str]:
    text = [
        "A leaf is accepted if its confidence, the product of the department's and the leaf's "
        "probability, reaches the threshold; all other items are left to people. Accuracies are "
        "those of these items: a threshold whose accuracy must hold on new ones comes from "
        "calibration.",
        *_calibrated(scores),
    ]
    steps = slider(scores, baseline)
    table, title = target_table(scores, baseline), "Accuracy against coverage"
    if steps is None:
        return Section(title, text, table=table), "null"
    chart, controls, data = slider_figure(steps, scores, baseline)
    return Section(title, text, table=table, charts=[chart], controls=controls), data


def _calibrated(scores: Scores) -> list[str]:
    calibration, threshold = scores.evaluation.calibration, leaf_threshold(scores)
    if calibration is None or threshold is None:
        return []
    target = calibration.target_accuracy
    promise = "" if target is None else f" for accuracy {target:.2f}"
    index = scores.curve.index_of_threshold(threshold)
    if index is None:
        return [f"The calibrated threshold{promise}, {threshold_text(threshold)}, accepts no item."]
    _, coverage, accuracy, _ = scores.curve.at(index)
    return [
        f"The calibrated threshold{promise} is {threshold_text(threshold)}: accuracy "
        f"{share(accuracy)} at coverage {share(coverage)} on this split.",
        *(
            ["Decisions follow each department's own thresholds."]
            if calibration.per_department
            else []
        ),
    ]


def _decisions(scores: Scores) -> Section:
    text = "What the cascade decided about the labelled items when it was tested."
    return Section("Decisions", [text], table=decision_table(scores))


def _improvement(scores: Scores, baseline: Scores | None) -> Section:
    text = [
        "Accuracy by department of the label. The leaf is that of the whole cascade, so that a "
        "wrong department makes a wrong leaf.",
        *shortened(len(scores.departments.node), MOST_DEPARTMENTS, "departments"),
    ]
    if baseline is not None:
        text.insert(1, f"Improvement (+) or downgrade (-) is over {baseline.label}.")
    return Section(
        "Departments",
        text,
        table=improvement_table(scores, baseline, MOST_DEPARTMENTS),
        charts=[_department_bars(scores, baseline)],
    )


def _department_bars(scores: Scores, baseline: Scores | None) -> Chart:
    own = scores.departments
    nodes = own.node[:MOST_BARS].tolist()
    series = []
    for place, one in enumerate((scores, baseline)):
        if one is not None:
            found = zip(one.departments.node.tolist(), one.departments.leaf_accuracy, strict=True)
            accuracy = {node: float(value) for node, value in found}
            values = [accuracy[node] for node in nodes]
            series.append(Bars(one.label, values, one.label, place))
    shown = f", the first {MOST_BARS} by importance" if len(own.node) > MOST_BARS else ""
    names = [scores.evaluation.hierarchy.paths[node] for node in nodes]
    return bar_chart("departments-chart", f"Leaf accuracy by department{shown}", names, series)


def _repair(scores: Scores) -> Section:
    text = [
        "Departments by importance x error: what each of them takes from the overall leaf "
        "accuracy. The error is split into items whose department was wrong already, for which "
        "the department classifier has to be repaired, and wrong leaves in the right department, "
        "for which its leaf classifier has.",
        *shortened(len(scores.departments.node), MOST_DEPARTMENTS, "departments"),
    ]
    return Section(
        "Which department to repair first", text, table=repair_table(scores, MOST_DEPARTMENTS)
    )


def _reliability(scores: Scores, baseline: Scores | None) -> Section:
    text = "Bars are the accuracy of the leaf, lines across them the mean confidence"
    dots = "" if baseline is None else f"; dots are the accuracy of {baseline.label}"
    bins = None if baseline is None else baseline.reliability
    labels = [scores.label, *([] if baseline is None else [baseline.label])]
    return Section(
        "Reliability of the confidence",
        [f"{text}{dots}. A bar below its line is overconfident."],
        table=reliability_table(scores, baseline),
        charts=[reliability_chart(scores.reliability, bins, labels)],
        folded=True,
    )


def _confusions(scores: Scores) -> Section:
    evaluation = scores.evaluation
    found, total = confused_siblings(evaluation, scores.judgement, MOST_CONFUSIONS)
    weight = float(evaluation.weight[scores.judgement.labelled].sum())
    text = "Leaves mistaken for another leaf of the same parent."
    if not found:
        text = "No leaf was mistaken for another leaf of the same parent."
    return Section(
        "Confused siblings",
        [text, *shortened(total, MOST_CONFUSIONS, "pairs")],
        table=confusion_table(found, evaluation.hierarchy, weight),
    )


def _contradictions(scores: Scores) -> Section:
    evaluation = scores.evaluation
    found, total = contradicted_labels(evaluation, scores.judgement, MOST_CONTRADICTIONS)
    ids = [one.item_id for one in found]
    titles = read_titles(evaluation.dataset, evaluation.split, ids)
    text = [
        "Items whose label the cascade contradicts with the highest confidence: candidates for "
        "wrong labels.",
        *shortened(total, MOST_CONTRADICTIONS, "contradicted items"),
    ]
    if titles is None:
        text.append(f"Without titles: {evaluation.dataset} has no readable products.")
    table = contradiction_table(found, evaluation.hierarchy, titles)
    return Section(
        "Labels to look at", text if found else ["No label is contradicted."], table=table
    )
