"""Exact figures of a cascade from its rows, all weighted by importance."""

from dataclasses import dataclass

import numpy as np

from hierarchy_lm.hierarchy import Hierarchy
from hierarchy_lm.reports.cascade_data import Evaluation, Flags, Floats, Ints

TARGET_ACCURACY = 0.9
"""Accuracy at which coverage is read (E.1.2, "Accuracy VS. Coverage")."""
BINS = 15
ROUNDING = 1e-12  # sums of weights in another order may miss the target by an ulp


@dataclass(frozen=True)
class Judgement:
    """What is right, item by item; ``(n,)`` each.

    Attributes:
        labelled: The item has a label; the others are left out of every figure.
        answered: The cascade names a leaf.
        department_right: The predicted department is one of the label's.
        leaf_right: The predicted leaf is one of the label's most specific nodes.
        contradicted: The item has a label, and the path to the predicted leaf holds none of the
            label's most specific nodes. A leaf below a label that stops early is not right, but
            contradicts nothing.
    """

    labelled: Flags
    answered: Flags
    department_right: Flags
    leaf_right: Flags
    contradicted: Flags


@dataclass(frozen=True)
class Curve:
    """Accuracy against coverage at every threshold that makes a difference, highest first.

    Attributes:
        threshold: Least confidence accepted.
        coverage: Share of importance accepted.
        accuracy: Weighted accuracy of the accepted items.
        items: Number of accepted items.
    """

    threshold: Floats
    coverage: Floats
    accuracy: Floats
    items: Ints

    def at(self, index: int) -> tuple[float, float, float, int]:
        """Threshold, coverage, accuracy and items of one point."""
        return (
            float(self.threshold[index]),
            float(self.coverage[index]),
            float(self.accuracy[index]),
            int(self.items[index]),
        )

    def index_of_threshold(self, threshold: float) -> int | None:
        """Point whose accepted items are those of ``threshold``; ``None`` if no item is."""
        accepted = int((self.threshold >= threshold).sum())
        return accepted - 1 if accepted else None

    def index_of_accuracy(self, accuracy: float) -> int | None:
        """Point of largest coverage whose accuracy is at least the given one, if any."""
        reached = np.flatnonzero(self.accuracy >= accuracy - ROUNDING)
        return int(reached[-1]) if len(reached) else None


@dataclass(frozen=True)
class Reliability:
    """Confidence against accuracy in bins of equal width over [0, 1]; ``(bins,)`` each.

    A bin holds its lower edge, the last one its upper edge too. Confidence and accuracy are
    weighted means, NaN in a bin without weight.
    """

    items: Ints
    weight: Floats
    confidence: Floats
    accuracy: Floats

    @property
    def error(self) -> float | None:
        """Expected calibration error: mean distance of accuracy and confidence over the bins."""
        total = self.weight.sum()
        gaps = np.nan_to_num(np.abs(self.accuracy - self.confidence))
        return float((self.weight * gaps).sum() / total) if total else None


@dataclass(frozen=True)
class Departments:
    """Figures by department of the label, by falling importance; ``(departments,)`` each.

    An item with labels in several departments counts in each of them. Accuracies and shares are
    NaN where a department's items weigh nothing.

    Attributes:
        node: Root's id.
        items: Labelled items.
        importance: Share of the labelled items' weight.
        department_accuracy: Share of importance whose department is right.
        leaf_accuracy: Share of importance whose leaf is right, by the whole cascade.
        routing_error: Share of importance whose leaf is wrong, and the department too.
        leaf_error: Share of importance whose leaf is wrong in the right department.
    """

    node: Ints
    items: Ints
    importance: Floats
    department_accuracy: Floats
    leaf_accuracy: Floats
    routing_error: Floats
    leaf_error: Floats

    @property
    def loss(self) -> Floats:
        """Importance x error: overall leaf accuracy that the department costs."""
        return np.asarray(self.importance * np.nan_to_num(1 - self.leaf_accuracy))


def judge(evaluation: Evaluation) -> Judgement:
    """Compare every item with its label."""
    gold, rows, n = evaluation.gold, evaluation.gold_rows, evaluation.num_items
    root = roots(evaluation.hierarchy)
    labelled, answered = _any(n, rows), evaluation.leaf >= 0
    return Judgement(
        labelled=labelled,
        answered=answered,
        department_right=_any(n, rows[root[gold] == evaluation.department[rows]]),
        leaf_right=_any(n, rows[gold == evaluation.leaf[rows]]),
        contradicted=labelled & answered & ~_any(n, rows[_on_path(evaluation)]),
    )


def _on_path(evaluation: Evaluation) -> Flags:
    """``(g,)`` whether a label node is the item's predicted leaf or one of its ancestors."""
    parents, gold = evaluation.hierarchy.parents, evaluation.gold
    node = evaluation.leaf[evaluation.gold_rows]
    found: Flags = node == gold
    for _ in range(evaluation.hierarchy.depth - 1):
        node = np.where(node < 0, -1, parents[node])
        found |= node == gold
    return found


def roots(hierarchy: Hierarchy) -> Ints:
    """``(C,)`` root above each node."""
    root = np.arange(hierarchy.num_nodes)
    for start, end in zip(hierarchy.level_offsets[1:-1], hierarchy.level_offsets[2:], strict=True):
        root[start:end] = root[hierarchy.parents[start:end]]
    return root


def _any(n: int, rows: Ints) -> Flags:
    flags = np.zeros(n, dtype=bool)
    flags[rows] = True
    return flags


def accuracy(weight: Floats, right: Flags, among: Flags) -> float | None:
    """Weighted share of right items among some; ``None`` if those weigh nothing."""
    total = weight[among].sum()
    return float(weight[among & right].sum() / total) if total else None


def coverage_curve(evaluation: Evaluation, judgement: Judgement) -> Curve:
    """Accuracy of the leaf against coverage, over the labelled items.

    Items with equal confidence are accepted together. Those without a predicted leaf are never
    accepted, but count in what is to be covered.
    """
    rows = np.flatnonzero(judgement.labelled & judgement.answered)
    rows = rows[np.argsort(-evaluation.confidence[rows], kind="stable")]
    confidence, weight = evaluation.confidence[rows], evaluation.weight[rows]
    covered = np.cumsum(weight)
    right = np.cumsum(weight * judgement.leaf_right[rows])
    last = np.append(confidence[1:] != confidence[:-1], True)[: len(rows)]
    ends = np.flatnonzero(last & (covered > 0))
    return Curve(
        threshold=confidence[ends],
        coverage=covered[ends] / evaluation.weight[judgement.labelled].sum(),
        accuracy=right[ends] / covered[ends],
        items=ends + 1,
    )


def thin(curve: Curve, points: int, keep: list[int]) -> Ints:
    """At most ``points`` indices of a curve, even in coverage, with both ends and ``keep``."""
    if not len(curve.coverage):
        return np.empty(0, dtype=np.int64)
    room = points - len(keep) - 2
    wanted = np.linspace(curve.coverage[0], curve.coverage[-1], room)
    even = np.searchsorted(curve.coverage, wanted).clip(max=len(curve.coverage) - 1)
    return np.unique(np.concatenate([even, [0, len(curve.coverage) - 1], keep]).astype(np.int64))


def reliability(evaluation: Evaluation, judgement: Judgement) -> Reliability:
    """Confidence in the leaf against its accuracy; without a leaf both are 0."""
    rows = np.flatnonzero(judgement.labelled)
    confidence = np.where(judgement.answered, evaluation.confidence, 0.0)[rows]
    weight = evaluation.weight[rows]
    bins = (confidence * BINS).astype(np.int64).clip(max=BINS - 1)
    total = np.bincount(bins, weight, BINS).astype(np.float64)
    with np.errstate(invalid="ignore"):
        return Reliability(
            items=np.bincount(bins, minlength=BINS),
            weight=total,
            confidence=np.bincount(bins, weight * confidence, BINS) / total,
            accuracy=np.bincount(bins, weight * judgement.leaf_right[rows], BINS) / total,
        )


def by_department(evaluation: Evaluation, judgement: Judgement) -> Departments:
    """Figures of every department that has a labelled item."""
    size = evaluation.hierarchy.num_nodes
    above = roots(evaluation.hierarchy)[evaluation.gold]
    rows, root = np.divmod(np.unique(evaluation.gold_rows * size + above), size)
    weight, department_right = evaluation.weight[rows], judgement.department_right[rows]
    leaf_right = judgement.leaf_right[rows]

    def total(flags: Flags) -> Floats:
        sums: Floats = np.bincount(root, weight * flags, size)[node]
        return sums

    node = np.unique(root)
    weights = np.bincount(root, weight, size)[node]
    node = node[np.argsort(-weights, kind="stable")]
    labelled = total(np.ones_like(leaf_right))
    with np.errstate(invalid="ignore"):
        return Departments(
            node=node,
            items=np.bincount(root, minlength=size)[node],
            importance=labelled / labelled.sum(),
            department_accuracy=total(department_right) / labelled,
            leaf_accuracy=total(leaf_right) / labelled,
            routing_error=total(~leaf_right & ~department_right) / labelled,
            leaf_error=total(~leaf_right & department_right) / labelled,
        )
