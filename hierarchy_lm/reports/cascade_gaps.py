"""What an evaluation lacks, said in the report instead of left out in silence."""

import numpy as np

from hierarchy_lm.reports.cascade_figures import TARGET_ACCURACY
from hierarchy_lm.reports.cascade_scores import Scores
from hierarchy_lm.reports.texts import count, listed

NAMED = 5
TRAINED = ("model", "single_leaf")


def gaps(scores: Scores, baseline: Scores | None) -> list[str]:
    """One sentence for each gap."""
    return [*_calibration(scores), *_items(scores), *_departments(scores), *_baseline(baseline)]


def _baseline(baseline: Scores | None) -> list[str]:
    return ["Compared with nothing: --baseline takes another cascade."] if baseline is None else []


def _calibration(scores: Scores) -> list[str]:
    calibration = scores.evaluation.calibration
    if not scores.evaluation.calibrated:
        return ["Answered without temperatures and thresholds: model.calibrated was false."]
    if calibration is None:
        return ["Not calibrated: no threshold is stored; hlm calibrate chooses one."]
    if calibration.leaf_threshold is None:
        target = calibration.target_accuracy
        which = "the target accuracy" if target is None else f"accuracy {target:.2f}"
        return [f"Calibration found no threshold that can promise {which}."]
    return []


def _items(scores: Scores) -> list[str]:
    judgement, evaluation = scores.judgement, scores.evaluation
    with_leaf = evaluation.gold_rows[evaluation.hierarchy.is_leaf[evaluation.gold]]
    labelled, judged = int(judgement.labelled.sum()), len(np.unique(with_leaf))
    silent = int((judgement.labelled & ~judgement.answered).sum())
    found = [
        (evaluation.num_items - labelled, "Items without a label, left out"),
        (labelled - judged, "Items whose label ends above the leaves, so that no leaf is right"),
        (silent, "Items that got no leaf, wrong and left to people at every threshold"),
    ]
    notes = [f"{what}: {count(number)}." for number, what in found if number]
    if scores.curve.index_of_accuracy(TARGET_ACCURACY) is None:
        notes.append(f"No threshold reaches accuracy {TARGET_ACCURACY:.2f} on this split.")
    return notes


def _departments(scores: Scores) -> list[str]:
    tree, statuses = scores.evaluation.hierarchy, scores.evaluation.statuses
    told = set(scores.departments.node.tolist())
    unseen = [tree.paths[node] for node in range(tree.level_sizes[0]) if node not in told]
    untrained = [
        f"{tree.paths[node]} ({status})"
        for node, status in statuses.items()
        if status not in TRAINED and 0 <= node < tree.num_nodes
    ]
    return [
        *_listed("Departments without a labelled item in this split", unseen),
        *_listed("Departments without a leaf classifier of their own", untrained),
    ]


def _listed(what: str, names: list[str]) -> list[str]:
    return [f"{what}: {listed(names, NAMED)}."] if names else []
