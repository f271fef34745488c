"""`hlm calibrate`: temperatures and thresholds of a cascade, from the validation split."""

from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory

from hierarchy_lm.cascade_folder import CALIBRATION
from hierarchy_lm.classification.calibration import (
    Answers,
    Promise,
    choose,
    fit_temperatures,
    read_answers,
    scale,
)
from hierarchy_lm.cli.evaluate import evaluate_cascade
from hierarchy_lm.dataset import write_json
from hierarchy_lm.errors import UserError
from hierarchy_lm.reports.calibration import print_calibration


def calibrate(
    cascade: str,
    dataset: str,
    target_accuracy: float = 0.9,
    error_probability: float = 0.05,
    per_department: bool = False,
    top_departments: int = 1,
    label_column: str = "node_ids",
) -> None:
    """Fit a cascade's temperatures and choose its thresholds for a target accuracy.

    The thresholds hold on new items, not only on those they were read from: with probability
    1 - error_probability at least the target accuracy. If no threshold reaches it, it says so and
    nothing is accepted. The result is stored in the cascade folder and used by `hlm predict`.

    Args:
        cascade: Folder that `hlm fit-cascade` wrote.
        dataset: Dataset folder whose validation split is used, or ``sample``.
        target_accuracy: Share of the accepted items, by importance, that must be right.
        error_probability: Probability with which a threshold may break its promise.
        per_department: Use a threshold per predicted department, each with a promise of its own,
            instead of one for all items.
        top_departments: How many departments `hlm predict` will ask for leaves.
        label_column: ``true_node_ids`` calibrates a generated catalogue against the truth.

    Raises:
        UserError: If a share is not between 0 and 1, the cascade or the dataset is missing or the
            split is empty.
    """
    try:
        promise = Promise(target_accuracy, error_probability, per_department, top_departments)
    except ValueError as error:
        raise UserError(str(error)) from error
    folder = Path(cascade)
    arguments = [
        f"--model.top_departments={top_departments}",
        f"--data.label_column={label_column}",
    ]
    answers = _answers(folder, dataset, ["--model.calibrated=false", *arguments])
    temperatures = fit_temperatures(answers)
    if top_departments == 1:
        answers = scale(answers, temperatures)
    else:  # temperatures may make another department's leaf the best
        trial = f"--model.temperatures={list(temperatures)}"
        answers = _answers(folder, dataset, [trial, *arguments])
    report = choose(folder, answers, temperatures, promise)
    write_json(folder / CALIBRATION, asdict(report.calibration))
    print_calibration(report)


def _answers(cascade: Path, dataset: str, arguments: list[str]) -> Answers:
    """Answers on the validation split; those of the last `hlm validate` are left alone."""
    with TemporaryDirectory() as place:
        evaluate_cascade(cascade, dataset, [f"--model.answers={place}", *arguments])
        return read_answers(cascade, Path(place) / "validation")
