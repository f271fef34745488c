"""The report's tables as text, written alike into HTML and Markdown."""

import numpy as np

from hierarchy_lm.hierarchy import Hierarchy
from hierarchy_lm.reports.cascade_figures import BINS, TARGET_ACCURACY, accuracy
from hierarchy_lm.reports.cascade_mistakes import Confusion, Contradiction
from hierarchy_lm.reports.cascade_scores import Scores
from hierarchy_lm.reports.page import Table
from hierarchy_lm.reports.texts import MISSING, clip, count, gain, share, threshold_text

TARGETS = (0.80, 0.85, 0.90, 0.95, 0.99)


def headline_table(scores: Scores, baseline: Scores | None) -> Table:
    """Both cascades side by side."""
    both = [scores] if baseline is None else [scores, baseline]
    columns = [f"#{one.label}" for one in both]
    names = [
        "department accuracy",
        "leaf accuracy",
        f"coverage at accuracy {TARGET_ACCURACY:.2f}",
        "expected calibration error",
    ]
    values = [_headline(one) for one in both]
    rows = [[name, *map(share, cells)] for name, *cells in zip(names, *values, strict=True)]
    if baseline is not None:
        columns.append("#difference")
        for row, own, other in zip(rows, *values, strict=True):
            row.append(gain(own, other))
    return Table("Weighted by importance", ["figure", *columns], rows)


def _headline(scores: Scores) -> list[float | None]:
    index = scores.curve.index_of_accuracy(TARGET_ACCURACY)
    coverage = 0.0 if index is None else scores.curve.at(index)[1]
    return [
        scores.department_accuracy,
        scores.leaf_accuracy,
        coverage,
        scores.reliability.error,
    ]


def target_table(scores: Scores, baseline: Scores | None) -> Table:
    """Threshold, coverage and items left for some accuracies."""
    columns = ["#accuracy", "#threshold", "#coverage", "#items left to people"]
    rows = [[f"{target:.2f}", *_at_target(scores, target)] for target in TARGETS]
    if baseline is not None:
        columns.append(f"#coverage, {baseline.label}")
        for row, target in zip(rows, TARGETS, strict=True):
            row.append(_at_target(baseline, target)[1])
    return Table("Largest coverage on this split with at least the accuracy", columns, rows)


def _at_target(scores: Scores, target: float) -> list[str]:
    index = scores.curve.index_of_accuracy(target)
    labelled = int(scores.judgement.labelled.sum())
    if index is None:
        return ["not reached", share(0.0), count(labelled)]
    threshold, coverage, _, items = scores.curve.at(index)
    return [threshold_text(threshold), share(coverage), count(labelled - items)]


def decision_table(scores: Scores) -> Table:
    """What the stored thresholds decide, over the labelled items."""
    evaluation, judgement = scores.evaluation, scores.judgement
    decision = np.asarray(evaluation.decision.to_numpy(zero_copy_only=False))
    everything = evaluation.weight[judgement.labelled].sum()
    rows = []
    for name, right, text in (
        ("leaf", judgement.leaf_right, "accept the leaf"),
        ("department", judgement.department_right, "back off to the department"),
        ("abstain", None, "abstain"),
    ):
        among = judgement.labelled & (decision == name)
        told = None if right is None else accuracy(evaluation.weight, right, among)
        weight = evaluation.weight[among].sum() / everything
        rows.append([text, count(int(among.sum())), share(weight), share(told)])
    columns = ["decision", "#items", "#share of importance", "#accuracy"]
    return Table("Accuracy is that of what is decided", columns, rows)


def improvement_table(scores: Scores, baseline: Scores | None, most: int) -> Table:
    """Tables 9 and 10 of the paper: every department's gain over the baseline."""
    own = scores.departments
    columns = ["department", "#importance", "#items", "#department accuracy", "#leaf accuracy"]
    if baseline is not None:
        columns[4:4] = ["#department acc. improvement"]
        columns.append("#leaf acc. improvement")
        # Both judge the same items by the same labels.
        place = {node: row for row, node in enumerate(baseline.departments.node.tolist())}
    rows = []
    for index, node in enumerate(own.node[:most].tolist()):
        department, leaf = float(own.department_accuracy[index]), float(own.leaf_accuracy[index])
        cells = [share(department), share(leaf)]
        if baseline is not None:
            other, at = baseline.departments, place[node]
            cells.insert(1, gain(department, float(other.department_accuracy[at])))
            cells.append(gain(leaf, float(other.leaf_accuracy[at])))
        start = [scores.evaluation.hierarchy.paths[node], share(float(own.importance[index]))]
        rows.append([*start, count(int(own.items[index])), *cells])
    return Table("Departments by importance", columns, rows)


def repair_table(scores: Scores, most: int) -> Table:
    """Departments by what their errors cost: importance x error."""
    own, evaluation = scores.departments, scores.evaluation
    thresholds = evaluation.calibration.departments if evaluation.calibration else {}
    columns = ["department", "#importance x error", "#error", "#wrong department", "#wrong leaf"]
    columns += ["model", *(["#own threshold", "#to back off"] if thresholds else [])]
    rows = []
    for index in np.argsort(-own.loss, kind="stable")[:most].tolist():
        node = int(own.node[index])
        error = 1 - float(own.leaf_accuracy[index])
        parts = [error, float(own.routing_error[index]), float(own.leaf_error[index])]
        row = [evaluation.hierarchy.paths[node], share(float(own.loss[index]))]
        row += [*map(share, parts), evaluation.statuses.get(node, MISSING)]
        if thresholds:
            pair = thresholds.get(str(node), {})
            for own_threshold in (pair.get("leaf"), pair.get("department")):
                row.append(MISSING if own_threshold is None else threshold_text(own_threshold))
        rows.append(row)
    return Table("The first lines are the first to repair", columns, rows)


def reliability_table(scores: Scores, baseline: Scores | None) -> Table:
    """Figures behind the reliability diagram."""
    columns = ["confidence"]
    for one in (scores, baseline):
        if one is not None:
            columns += [f"#items, {one.label}", "#mean confidence", "#accuracy"]
    rows = []
    for index in range(BINS):
        row = [f"{index / BINS:.3f} to {(index + 1) / BINS:.3f}"]
        for one in (scores, baseline):
            if one is not None:
                bins = one.reliability
                row.append(count(int(bins.items[index])))
                row += [share(float(bins.confidence[index])), share(float(bins.accuracy[index]))]
        rows.append(row)
    return Table(f"{BINS} bins of equal width", columns, rows)


def confusion_table(confusions: list[Confusion], tree: Hierarchy, total: float) -> Table:
    """Leaves mistaken for their sibling; ``total`` is the weight of all labelled items."""
    columns = ["below", "label", "predicted", "#items", "#of the label's", "#importance"]
    rows = [
        [
            clip(tree.paths[int(tree.parents[one.gold])]),
            tree.names[one.gold],
            tree.names[one.predicted],
            count(one.items),
            count(one.labelled),
            share(one.importance / total),
            "\n".join(map(clip, one.examples)),
        ]
        for one in confusions
    ]
    return Table("By importance", [*columns, "most confident items"], rows)


def contradiction_table(
    found: list[Contradiction], tree: Hierarchy, titles: dict[str, str] | None
) -> Table:
    """Items whose label the cascade contradicts."""
    columns = ["item", *(["title"] if titles is not None else []), "label", "predicted"]
    rows = []
    for one in found:
        title = [] if titles is None else [clip(titles.get(one.item_id, MISSING))]
        label = "\n".join(clip(tree.paths[node]) for node in one.gold)
        predicted = clip(tree.paths[one.predicted])
        rows.append([clip(one.item_id), *title, label, predicted, threshold_text(one.confidence)])
    return Table("By confidence", [*columns, "#confidence"], rows)
