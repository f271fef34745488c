"""From the answers on the validation split to a calibration."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from hierarchy_lm.calibration import (
    CascadeThresholds,
    ValidationItems,
    choose_thresholds,
    fit_temperature,
    tuning_items,
)
from hierarchy_lm.cascade_folder import Calibration, read_cascade
from hierarchy_lm.errors import UserError
from hierarchy_lm.hierarchy import Hierarchy

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


def calibrate_answers(
    cascade: Path,
    evaluation: Path,
    target_accuracy: float,
    error_probability: float,
    per_department: bool,
) -> Report:
    """Calibrate on answers that were given without any calibration.

    The temperature of a stage is that of the probability it gives its own answer: the department
    on all items, the leaf on those whose department is right and has a classifier. A fifth of the
    items serves the temperatures, the others the thresholds, whose promise needs items that nothing
    was fitted to.

    Args:
        cascade: The cascade folder.
        evaluation: Folder of the answers.
        target_accuracy: Share of the accepted items that must be right.
        error_probability: Probability with which a threshold may break its promise.
        per_department: Let `hlm predict` use the departments' own thresholds.

    Raises:
        UserError: If there are no answers, or the numbers are no probabilities.
    """
    hierarchy = Hierarchy.from_parquet(cascade / "hierarchy.parquet")
    answers = pa.concat_tables(map(pq.read_table, sorted(evaluation.glob("part-*.parquet"))))
    if len(answers) == 0:
        raise UserError(f"{evaluation}: no labelled item; a calibration needs some")
    department_right, leaf_right = _correct(answers, hierarchy)
    weight = answers["weight"].to_numpy().astype(np.float64)
    logits = [_logit(answers[name].to_numpy()) for name in ("p_department", "p_leaf")]
    answered = answers["leaf"].to_numpy() >= 0
    # The shares that answer in place of a classifier have no temperature.
    models = [entry.node for entry in read_cascade(cascade).departments if entry.status == "model"]
    classified = answered & np.isin(answers["department"].to_numpy(), models)
    tuning = tuning_items(len(answers), min(0.2, FEW_TUNING_ITEMS / len(answers)))
    routed = tuning & classified & department_right
    temperatures = (
        fit_temperature(logits[0][tuning], department_right[tuning], weight[tuning]),
        fit_temperature(logits[1][routed], leaf_right[routed], weight[routed]),
    )
    p_department = _sigmoid(logits[0] / temperatures[0])
    p_leaf = np.where(
        classified, _sigmoid(logits[1] / temperatures[1]), answers["p_leaf"].to_numpy()
    )
    kept = ~tuning
    items = ValidationItems(
        answers["department"].to_numpy().astype(np.int64)[kept],
        answers["leaf"].to_numpy().astype(np.int64)[kept],
        department_right[kept],
        leaf_right[kept],
        p_department[kept],
        np.where(answered, p_department * p_leaf, 0.0)[kept],
        weight[kept],
    )
    departments = range(hierarchy.level_sizes[0])
    try:
        thresholds = choose_thresholds(
            items,
            departments,
            target_accuracy,
            error_probability,
        )
    except ValueError as error:
        raise UserError(str(error)) from error
    calibration = Calibration(
        temperatures[0],
        temperatures[1],
        target_accuracy,
        error_probability,
        thresholds.overall.leaf.threshold,
        thresholds.overall.department.threshold,
        per_department,
        {str(node): pair.leaf.threshold for node, pair in thresholds.by_department.items()},
    )
    names = dict(enumerate(hierarchy.paths[: hierarchy.level_sizes[0]]))
    return Report(calibration, thresholds, names, int(tuning.sum()), int(kept.sum()))


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


def _logit(probabilities: NDArray[np.float32]) -> NDArray[np.float64]:
    """Float32 probabilities round to 0 and 1; their logits end at about -103 and 17."""
    p = np.clip(probabilities.astype(np.float64), 1e-45, 1 - 2.0**-25)
    return np.log(p) - np.log1p(-p)


def _sigmoid(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    return 0.5 * (1 + np.tanh(0.5 * logits))
