"""The report of a cascade: what it does well, what it does not, and where to set its threshold."""

from pathlib import Path

from hierarchy_lm.reports.cascade_data import check_comparable, check_current, read_evaluation
from hierarchy_lm.reports.cascade_scores import Scores, score
from hierarchy_lm.reports.cascade_sections import sections
from hierarchy_lm.reports.page import Page


def cascade_page(cascade: Path, baseline: Path | None, split: str) -> Page:
    """The page about a tested cascade, perhaps beside another one tested on the same items.

    Raises:
        UserError: If a folder holds no evaluation of the split, or one from before it was
            calibrated, or if the two cannot be compared.
    """
    own, other = _read(cascade, baseline, split)
    parts, data = sections(own, other)
    folder = cascade / "evaluation" / split
    return Page(f"{own.label} on the split '{split}'", parts, folder, data)


def _read(cascade: Path, baseline: Path | None, split: str) -> tuple[Scores, Scores | None]:
    evaluation = read_evaluation(cascade, split)
    check_current(evaluation)
    if baseline is None:
        return score(evaluation, cascade.resolve().name), None
    other = read_evaluation(baseline, split)
    check_current(other)
    check_comparable(evaluation, other)
    own_label, label = _labels(cascade.resolve(), baseline.resolve())
    return score(evaluation, own_label), score(other, label)


def _labels(cascade: Path, baseline: Path) -> tuple[str, str]:
    """The folders' names, with as many of their parents as tell them apart."""
    own, other = cascade.parts, baseline.parts
    for size in range(1, min(len(own), len(other))):
        if own[-size:] != other[-size:]:
            return "/".join(own[-size:]), "/".join(other[-size:])
    return str(cascade), str(baseline)
