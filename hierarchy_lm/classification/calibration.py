"""From the answers on the validation split to a calibration."""

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from hierarchy_lm.calibration import (
    CascadeThresholds,
    ValidationItems,
    check_shares,
    choose_thresholds,
    fit_temperature,
    tuning_items,
)
from hierarchy_lm.cascade_folder import Calibration, read_cascade
from hierarchy_lm.errors import UserError
from hierarchy_lm.hierarchy import Hierarchy
from hierarchy_lm.parquet import read_table

FEW_TUNING_ITEMS = 5_000
"""Most items that temperatures are fitted on; the rest of the split is for the thresholds."""


class Report(NamedTuple):
    """A calibration, and what its thresholds mean.

    Attributes:
        calibration: What is stored.
        thresholds: Overall and by department, with coverage and accuracy.
        names: Department of each node.
        tuned_on: Items the temperatures were fitted on.
        chosen_on: Items the thresholds were chosen on.
    """

    calibration: Calibration
    thresholds: CascadeThresholds
    names: dict[int, str]
    tuned_on: int
    chosen_on: int


@dataclass(frozen=True)
class Promise:
    """What is asked of the thresholds.

    Attributes:
        target_accuracy: Share of the accepted items, by importance, that must be right.
        error_probability: Probability with which a threshold may break its promise.
        per_department: Let `hlm predict` use the departments' own thresholds.
        top_departments: The beam that the answers were given with.

    Raises:
        ValueError: If a share is not between 0 and 1.
    """

    target_accuracy: float = 0.9
    error_probability: float = 0.05
    per_department: bool = False
    top_departments: int = 1

    def __post_init__(self) -> None:
        check_shares(self.target_accuracy, self.error_probability)


class Answers(NamedTuple):
    """A cascade's answers on B labelled items, ``(B,)`` each.

    Attributes:
        department: Predicted department.
        leaf: Predicted leaf, -1 for none.
        department_right: Whether the department is one of the item's.
        leaf_right: Whether the leaf is one of the item's most specific nodes.
        p_department: Probability of the department.
        p_leaf: Probability of the leaf.
        weight: Importance.
        classified: Whether a leaf classifier answered; the shares that answer in place of one have
            no temperature.
    """

    department: NDArray[np.int64]
    leaf: NDArray[np.int64]
    department_right: NDArray[np.bool_]
    leaf_right: NDArray[np.bool_]
    p_department: NDArray[np.float64]
    p_leaf: NDArray[np.float64]
    weight: NDArray[np.float64]
    classified: NDArray[np.bool_]

    @property
    def tuning(self) -> NDArray[np.bool_]:
        """The items that temperatures are fitted on, a fifth; the promise is kept on the others."""
        size = len(self.leaf)
        return tuning_items(size, min(0.2, FEW_TUNING_ITEMS / size))


def read_answers(cascade: Path, evaluation: Path) -> Answers:
    """The answers that `hlm validate` kept of a cascade.

    Raises:
        UserError: If there are none, or a probability is no number.
    """
    hierarchy = Hierarchy.from_parquet(cascade / "hierarchy.parquet")
    table = pa.concat_tables(map(read_table, sorted(evaluation.glob("part-*.parquet"))))
    if len(table) == 0:
        raise UserError(f"{evaluation}: no labelled item; a calibration needs some")
    models = [entry.node for entry in read_cascade(cascade).departments if entry.status == "model"]
    department, leaf = (table[name].to_numpy().astype(np.int64) for name in ("department", "leaf"))
    p_department, p_leaf, weight = (
        table[name].to_numpy().astype(np.float64) for name in ("p_department", "p_leaf", "weight")
    )
    unknown = np.flatnonzero(~np.isfinite(p_department + p_leaf))
    if len(unknown):
        first = hierarchy.paths[department[unknown[0]]]
        which = "department" if not np.isfinite(p_department[unknown[0]]) else f"'{first}'"
        raise UserError(
            f"{cascade}: the {which} classifier answers {len(unknown)} items with no number (NaN); "
            "train it again with `hlm fit-cascade`"
        )
    classified = (leaf >= 0) & np.isin(department, models)
    right = _correct(table, hierarchy)
    return Answers(department, leaf, *right, p_department, p_leaf, weight, classified)


def fit_temperatures(answers: Answers) -> tuple[float, float]:
    """Temperatures of the two stages, from answers that were given without any.

    Each is that of the probability a stage gives its own answer: the department on all items, the
    leaf on those whose department is right and has a classifier.
    """
    tuning = answers.tuning
    routed = tuning & answers.classified & answers.department_right
    return (
        fit_temperature(
            _logit(answers.p_department[tuning]),
            answers.department_right[tuning],
            answers.weight[tuning],
        ),
        fit_temperature(
            _logit(answers.p_leaf[routed]), answers.leaf_right[routed], answers.weight[routed]
        ),
    )


def scale(answers: Answers, temperatures: tuple[float, float]) -> Answers:
    """The answers of a single department per item as they are with temperatures."""
    leaf = _sigmoid(_logit(answers.p_leaf) / temperatures[1])
    return answers._replace(
        p_department=_sigmoid(_logit(answers.p_department) / temperatures[0]),
        p_leaf=np.where(answers.classified, leaf, answers.p_leaf),
    )


def choose(
    cascade: Path, answers: Answers, temperatures: tuple[float, float], promise: Promise
) -> Report:
    """Choose the thresholds, on the items that no temperature was fitted to.

    Args:
        cascade: The cascade folder.
        answers: Its answers with the temperatures.
        temperatures: Of departments and leaves.
        promise: What the thresholds have to keep.
    """
    hierarchy = Hierarchy.from_parquet(cascade / "hierarchy.parquet")
    kept = ~answers.tuning
    items = _items(answers, kept)
    departments = range(hierarchy.level_sizes[0])
    thresholds = choose_thresholds(
        items, departments, promise.target_accuracy, promise.error_probability
    )
    calibration = Calibration(
        department_temperature=temperatures[0],
        leaf_temperature=temperatures[1],
        target_accuracy=promise.target_accuracy,
        error_probability=promise.error_probability,
        top_departments=promise.top_departments,
        leaf_threshold=thresholds.overall.leaf.threshold,
        department_threshold=thresholds.overall.department.threshold,
        per_department=promise.per_department,
        departments={
            str(node): {"leaf": pair.leaf.threshold, "department": pair.department.threshold}
            for node, pair in thresholds.by_department.items()
        },
    )
    names = dict(enumerate(hierarchy.paths[: hierarchy.level_sizes[0]]))
    return Report(calibration, thresholds, names, int((~kept).sum()), int(kept.sum()))


def _items(answers: Answers, kept: NDArray[np.bool_]) -> ValidationItems:
    confidence = np.where(answers.leaf >= 0, answers.p_department * answers.p_leaf, 0.0)
    return ValidationItems(
        answers.department[kept],
        answers.leaf[kept],
        answers.department_right[kept],
        answers.leaf_right[kept],
        answers.p_department[kept],
        confidence[kept],
        answers.weight[kept],
    )


def _correct(
    answers: pa.Table, hierarchy: Hierarchy
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Whether each item's department and leaf are right."""
    gold = answers["gold"].combine_chunks()
    counts = gold.value_lengths().to_numpy(zero_copy_only=False)
    rows = np.repeat(np.arange(len(counts)), counts)
    nodes = gold.flatten().to_numpy().astype(np.int64)
    roots = hierarchy.roots[nodes]
    found = []
    for predicted, truth in (("department", roots), ("leaf", nodes)):
        right = np.zeros(len(counts), dtype=bool)
        right[rows[answers[predicted].to_numpy()[rows] == truth]] = True
        found.append(right)
    return found[0], found[1]


def _logit(probabilities: NDArray[np.float64]) -> NDArray[np.float64]:
    """Float32 probabilities round to 0 and 1; their logits end at about -103 and 17."""
    p = np.clip(probabilities, 1e-45, 1 - 2.0**-25)
    return np.log(p) - np.log1p(-p)


def _sigmoid(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    return 0.5 * (1 + np.tanh(0.5 * logits))
