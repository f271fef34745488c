"""`hlm report`: what a cascade does well, what it does not, and where to set its threshold."""

from pathlib import Path

from hierarchy_lm.errors import UserError
from hierarchy_lm.reports.cascade_data import check_comparable, check_current, read_evaluation
from hierarchy_lm.reports.cascade_page import html_page, markdown
from hierarchy_lm.reports.cascade_scores import Scores, score
from hierarchy_lm.reports.cascade_sections import sections


def report(
    cascade: str, baseline: str | None = None, split: str = "test", output: str | None = None
) -> None:
    """Write report.html and report.md about a tested cascade.

    Args:
        cascade: Cascade folder that `hlm test` has evaluated.
        baseline: Another cascade folder, tested on the same items, to compare with.
        split: Split whose evaluation is reported.
        output: Folder for the two files; by default that of the evaluation.

    Raises:
        UserError: If a folder holds no evaluation of the split, or one from before it was
            calibrated; if the two cannot be compared, or the files cannot be written.
    """
    own, other = _read(Path(cascade), Path(baseline) if baseline else None, split)
    title = f"{own.label} on the split '{split}'"
    parts, data = sections(own, other)
    folder = Path(output) if output else Path(cascade) / "evaluation" / split
    for name, text in (
        ("report.md", markdown(title, parts)),
        ("report.html", html_page(title, parts, data)),
    ):
        _write(folder / name, text)
        print(folder / name)


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


def _write(file: Path, text: str) -> None:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UserError(f"{file}: cannot write there ({error.strerror})") from error
