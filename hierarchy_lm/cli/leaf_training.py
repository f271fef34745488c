"""The second stage of `hlm fit-cascade`: the leaf classifiers, and what of them answers."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from hierarchy_lm.cascade_folder import CALIBRATION, CascadeInfo, DepartmentEntry, write_cascade
from hierarchy_lm.cli.stage_options import CascadeOptions, check_tokenizer
from hierarchy_lm.cli.stages import Stage, train_leaf_stages
from hierarchy_lm.cli.workers import Outcome
from hierarchy_lm.errors import UserError


def train_leaves(
    options: CascadeOptions,
    info: CascadeInfo,
    before: CascadeInfo | None,
    stages: Mapping[int, Stage],
    chosen: set[int],
    jobs: int | None,
    console: Console,
) -> dict[int, str]:
    """Train what the plan calls models; ``cascade.json`` is true after each of them.

    Returns:
        Why departments failed, by node.
    """
    entries = {entry.node: entry for entry in info.departments}
    failures: dict[int, str] = {}
    to_train = _begin(options.output, entries, stages, chosen)

    def write() -> None:
        write_cascade(options.output, replace(info, departments=list(entries.values())))

    def conclude(node: int, outcome: Outcome) -> str:
        reason = _keep(options.output, stages[node], outcome, info.tokenizer)
        if reason:
            failures[node] = reason
        if stages[node].is_done():
            entries[node] = _trained(entries[node], stages[node], options.output)
        else:
            entries[node] = replace(entries[node], status="failed", reason=reason)
        write()
        return reason

    if before is None or _answers(before.departments) != _answers(entries.values()):
        (options.output / CALIBRATION).unlink(missing_ok=True)
    write()
    for stage in to_train.values():
        if stage.is_interrupted() and not stage.can_resume():
            console.print(f"{stage.root.name}: from the start, the run there had other options")
    sizes = {node: entries[node].items for node in to_train}
    train_leaf_stages(to_train, sizes, jobs, conclude, console)
    return failures


def _begin(
    output: Path,
    entries: dict[int, DepartmentEntry],
    stages: Mapping[int, Stage],
    chosen: set[int],
) -> dict[int, Stage]:
    """Enter the classifiers that are there. Returns those to train."""
    to_train = {}
    for node, stage in stages.items():
        mine = node in chosen or not chosen
        if not mine and entries[node].status not in ("model", "pending"):
            continue  # left as it is, though it has items enough by now
        if stage.is_done():
            entries[node] = _trained(entries[node], stage, output)
        elif not mine and entries[node].status == "pending":
            entries[node] = replace(entries[node], reason="not trained yet")
        if node in chosen or (mine and not stage.is_done()):
            to_train[node] = stage
    return to_train


def _answers(entries: Iterable[DepartmentEntry]) -> list[tuple[str | None, Mapping[str, float]]]:
    """What answers in each department; thresholds promise nothing about anything else."""
    return [(entry.checkpoint, entry.prior) for entry in entries]


def _keep(output: Path, stage: Stage, outcome: Outcome, tokenizer: str) -> str:
    """Let what was trained answer. Returns why it does not, else an empty string."""
    if outcome.status:
        return outcome.reason or f"status {outcome.status}"
    try:
        check_tokenizer(stage.trained_tokenizer(), tokenizer)
        (output / CALIBRATION).unlink(missing_ok=True)  # was of the classifier before
        stage.finish(outcome.seconds)
    except (UserError, OSError) as error:
        return " ".join(str(error).split())
    return ""


def _trained(entry: DepartmentEntry, stage: Stage, output: Path) -> DepartmentEntry:
    return replace(
        entry,
        status="model",
        checkpoint=stage.checkpoint.relative_to(output).as_posix(),
        prior={},
        reason="",
        metrics=stage.metrics(),
    )
