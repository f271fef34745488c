"""Metrics of a cascade: accuracy by importance, coverage, calibration and F1 per level."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torchmetrics import Metric

from hierarchy_lm.batches import SparseTargets
from hierarchy_lm.metrics.confidence import (
    CURVE_BINS,
    RELIABILITY_BINS,
    CoverageCurve,
    coverage_at,
    coverage_curve,
    curve_bins,
    expected_calibration_error,
    reliability_bins,
)
from hierarchy_lm.metrics.f1 import hierarchical_f1, level_f1
from hierarchy_lm.metrics.outcomes import CascadeOutcome, Judgement, judge


class DepartmentScores(NamedTuple):
    """How the cascade does on the items of each gold department.

    An item with gold paths in several departments counts in each of them.

    Shape:
        - weight: ``(departments,)`` summed importance
        - items: ``(departments,)`` int64
        - department_accuracy, leaf_accuracy: ``(departments,)`` weighted; NaN without weight
        - error_weight: ``(departments,)`` importance x error: the weight of the items whose leaf
          is wrong. Repairing the department with the largest one gains most.
    """

    weight: Tensor
    items: Tensor
    department_accuracy: Tensor
    leaf_accuracy: Tensor
    error_weight: Tensor


class CascadeMetrics(Metric):
    """Every score of a cascade, in memory that does not grow with the items.

    Correctness is that of :func:`~hierarchy_lm.metrics.outcomes.judge`; a leaf of -1 is wrong.
    Items without any gold node are left out. All states are sums (float64 weights, integer
    counts), so that ranks add up to what one process would count. Memory is O(nodes + bins).

    Scores of :meth:`compute`, all 0 before the first item:

    - ``department_accuracy``, ``leaf_accuracy``: correct share of the importance;
      ``department_accuracy_items``, ``leaf_accuracy_items``: of the items.
    - ``accuracy_L<l>``: share of the importance, among the items with gold on level l, whose
      predicted path has a gold node there.
    - ``coverage_at_<a>``: the largest weighted share of items with confidence >= tau whose weighted
      leaf accuracy is at least ``target_accuracy``; 0 if no tau reaches it. Taken over the 10,001
      thresholds of :meth:`curve`.
    - ``ece``, ``ece_department``: expected calibration error of ``confidence`` for the leaf and of
      ``p_department`` for the department, weighted, in 15 bins of equal width.
    - ``hierarchical_precision``, ``_recall``, ``_f1``: over all pairs of item and node of the
      predicted against the gold paths (Kiritchenko et al. 2006), unweighted.
    - ``weighted_f1_L<l>``, ``macro_f1_L<l>``, ``mean_weighted_f1``: see
      :func:`~hierarchy_lm.metrics.f1.level_f1`; unweighted by importance.

    Args:
        parents: ``(C,)`` parent of each node, -1 at a root.
        level_offsets: ``L + 1`` numbers; level l holds the ids from ``level_offsets[l - 1]`` up
            to ``level_offsets[l]``, exclusive.
        target_accuracy: a of ``coverage_at_<a>``.

    Raises:
        ValueError: If ``target_accuracy`` is no share, or the offsets do not cover the nodes.
    """

    full_state_update = False
    higher_is_better = True
    is_differentiable = False
    counts: Tensor
    totals: Tensor
    levels: Tensor
    departments: Tensor
    confidence_bins: Tensor
    reliability_leaf: Tensor
    reliability_department: Tensor
    parents: Tensor
    level_of: Tensor

    def __init__(
        self, parents: Tensor, level_offsets: Sequence[int], target_accuracy: float = 0.9
    ) -> None:
        super().__init__()
        if not 0 < target_accuracy <= 1:
            raise ValueError(f"target_accuracy is a share in (0, 1], got {target_accuracy}")
        self.offsets = [int(offset) for offset in level_offsets]
        if self.offsets[-1] != len(parents):
            raise ValueError(f"level_offsets end at {self.offsets[-1]} of {len(parents)} nodes")
        self.target_accuracy = target_accuracy
        self.register_buffer("parents", parents.long(), persistent=False)
        sizes = torch.tensor(self.offsets).diff()
        level_of = torch.repeat_interleave(torch.arange(len(sizes)), sizes)
        self.register_buffer("level_of", level_of, persistent=False)
        self.add_state("counts", torch.zeros(3, len(parents), dtype=torch.int64), "sum")
        for name, shape in {
            "totals": (6,),
            "levels": (2, len(self.offsets) - 1),
            "departments": (4, self.offsets[1]),
            "confidence_bins": (4, CURVE_BINS),
            "reliability_leaf": (3, RELIABILITY_BINS),
            "reliability_department": (3, RELIABILITY_BINS),
        }.items():
            self.add_state(name, torch.zeros(shape, dtype=torch.float64), "sum")

    def _apply(
        self, fn: Callable[[Tensor], Tensor], exclude_state: Sequence[str] = ""
    ) -> "CascadeMetrics":
        """Move the states with the module; in its bfloat16 a sum would soon stop growing."""
        super()._apply(lambda value: fn(value).to(value.dtype), exclude_state)
        return self

    def update(self, outcome: CascadeOutcome, targets: SparseTargets) -> None:
        """Add a batch; the targets are gold nodes closed under ancestors, several paths allowed."""
        judgement = judge(outcome, targets, self.parents)
        weight = outcome.weight.double()
        self._count_nodes(judgement, targets, weight)
        self._count_items(judgement, targets, weight)
        rated = judgement.labelled
        self.confidence_bins += curve_bins(
            outcome.confidence[rated], judgement.leaf_correct[rated], weight[rated]
        )
        self.reliability_leaf += reliability_bins(
            outcome.confidence[rated], judgement.leaf_correct[rated], weight[rated]
        )
        self.reliability_department += reliability_bins(
            outcome.p_department[rated], judgement.department_correct[rated], weight[rated]
        )

    def _count_nodes(self, judgement: Judgement, targets: SparseTargets, weight: Tensor) -> None:
        nodes, depth = self.offsets[-1], len(self.offsets) - 1
        predicted, hit = judgement.predicted, judgement.hit
        right = predicted.labels[hit]
        for row, labels in enumerate([right, predicted.labels, targets.labels]):
            self.counts[row] += torch.bincount(labels, minlength=nodes)
        self.levels[0].index_add_(0, self.level_of[right], weight[predicted.documents[hit]])
        gold = targets.documents * depth + self.level_of[targets.labels]
        once: Tensor = torch.unique(gold)  # several gold nodes of one level are one item
        self.levels[1].index_add_(0, once % depth, weight[once // depth])

    def _count_items(self, judgement: Judgement, targets: SparseTargets, weight: Tensor) -> None:
        items = judgement.labelled.double()
        department, leaf = judgement.department_correct.double(), judgement.leaf_correct.double()
        weight = weight * items
        self.totals += torch.stack(
            [weight, weight * department, weight * leaf, items, department, leaf]
        ).sum(dim=1)
        is_root = targets.labels < self.offsets[1]
        owners = targets.documents[is_root]
        values = torch.stack([weight, items, weight * department, weight * leaf])
        self.departments.index_add_(1, targets.labels[is_root], values[:, owners])

    def compute(self) -> dict[str, Tensor]:
        """Scores by name."""
        weight, department, leaf, items, department_items, leaf_items = self.totals
        name = f"{self.target_accuracy:.4f}".rstrip("0").ljust(4, "0")
        scores = {
            "department_accuracy": _share(department, weight),
            "leaf_accuracy": _share(leaf, weight),
            "department_accuracy_items": _share(department_items, items),
            "leaf_accuracy_items": _share(leaf_items, items),
            f"coverage_at_{name}": coverage_at(self.confidence_bins, self.target_accuracy),
            "ece": expected_calibration_error(self.reliability_leaf),
            "ece_department": expected_calibration_error(self.reliability_department),
        }
        accuracies = _share(*self.levels)
        scores |= {f"accuracy_L{level}": score for level, score in enumerate(accuracies, start=1)}
        scores |= hierarchical_f1(self.counts) | level_f1(self.counts, self.offsets)
        return {name: score.float() for name, score in scores.items()}

    def curve(self) -> CoverageCurve:
        """Accuracy against coverage of the leaf, by threshold on ``confidence``."""
        return coverage_curve(self.confidence_bins)

    def per_department(self) -> DepartmentScores:
        """Scores on the items of each gold department, by node id."""
        weight, items, department, leaf = self.departments
        return DepartmentScores(
            weight, items.long(), department / weight, leaf / weight, weight - leaf
        )


def _share(part: Tensor, whole: Tensor) -> Tensor:
    """``part / whole``, 0 where the whole is 0."""
    return torch.where(whole > 0, part / whole, torch.zeros_like(part))
