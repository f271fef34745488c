"""`hlm fit-cascade`: the department classifier and all leaf classifiers of a dataset."""

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from jsonargparse.typing import Path_fr
from rich.console import Console

from data_modules.datasets import find_dataset
from data_modules.departments import count_items
from hierarchy_lm.cascade_folder import (
    CALIBRATION,
    CascadeInfo,
    DepartmentEntry,
    read_cascade,
)
from hierarchy_lm.cli.departments import plan_departments, print_ranking
from hierarchy_lm.cli.folder_lock import alone
from hierarchy_lm.cli.leaf_training import train_leaves
from hierarchy_lm.cli.stage_options import (
    CascadeOptions,
    check_fits,
    check_stages,
    check_tokenizer,
    department_stage,
    leaf_stages,
)
from hierarchy_lm.cli.stages import Stage, train_department_stage
from hierarchy_lm.cli.workers import sigterm_raises
from hierarchy_lm.dataset import HIERARCHY
from hierarchy_lm.errors import UserError
from hierarchy_lm.hierarchy import Hierarchy


def fit_cascade(
    dataset: str,
    department: Path_fr,
    leaf: Path_fr,
    output: str,
    departments: Sequence[str] = (),
    min_items: int = 20,
    leaf_from_department: bool = True,
    jobs: int | None = None,
    evaluate: bool = True,
    extra: Sequence[str] = (),
) -> None:
    """Train a department classifier and one leaf classifier per department.

    What is finished is skipped, what was interrupted goes on from its last checkpoint, and a
    department that fails is reported while the others go on.

    Args:
        dataset: Dataset folder, or ``sample``.
        department: The `hlm fit` configuration of the department classifier.
        leaf: That of the leaf classifiers; dataset and department are filled in.
        output: The cascade folder.
        departments: Train just these again, by name; the others are left as they are, whatever the
            options and labels that they were trained with.
        min_items: A department with fewer training items gets no model: the shares of its leaves
            among them answer.
        leaf_from_department: Start the leaf classifiers from the encoder of the department
            classifier instead of from the configured weights.
        jobs: Leaf classifiers that train side by side; by default one per GPU, or one.
        evaluate: At the end, run the cascade on the validation split and rank the departments by
            importance x error.
        extra: What stands behind ``--``: arguments for every `hlm fit`.

    Raises:
        UserError: If an input is wrong, or a classifier could not be trained.
    """
    console = Console(stderr=True)
    if jobs is not None and jobs < 1:
        raise UserError(f"--jobs {jobs}: at least one classifier has to train at a time")
    found = find_dataset(dataset)
    options = CascadeOptions(
        dataset,
        found.info.fingerprint,
        Path(department.absolute),
        Path(leaf.absolute),
        Path(output),
        leaf_from_department,
        list(extra),
    )
    hierarchy = found.hierarchy
    texts = check_stages(
        options.department, options.leaf, dataset, leaf_from_department, options.extra
    )
    items = count_items(found.folder, hierarchy)
    validation_items = count_items(found.folder, hierarchy, "validation")
    plan = plan_departments(hierarchy, items, validation_items, min_items)
    entries = {entry.node: entry for entry in plan}
    chosen = _chosen(hierarchy, entries, departments)
    with alone(options.output, "hlm fit-cascade"), sigterm_raises():
        before = _read_before(options.output)
        first = department_stage(options)
        stages = leaf_stages(options, plan)
        joined = before if chosen else None
        if joined is not None:
            check_fits(options.output, joined, hierarchy.fingerprint, texts)
        _check_stages_there(first, stages, chosen, strictly=joined is None)
        shutil.copy(found.tree_file, options.output / HIERARCHY)
        if not first.is_done():
            (options.output / CALIBRATION).unlink(missing_ok=True)
        train_department_stage(first, console)
        info = CascadeInfo(
            tree=hierarchy.fingerprint,
            tokenizer=first.tokenizer_fingerprint(),
            text=texts.options,
            checkpoint=first.checkpoint.relative_to(options.output).as_posix(),
            departments=_planned(options.output, plan, joined, chosen),
        )
        if joined is not None:
            check_tokenizer(info.tokenizer, joined.tokenizer)
        first.copy_tokenizer(options.output / "tokenizer")
        if leaf_from_department:
            first.export_encoder()
        failures = train_leaves(options, info, before, stages, chosen, jobs, console)
        failed = _failure_line(options.output, failures, len(plan))
        if evaluate:
            _evaluate(options.output, dataset, failed, console)
    if failed:
        raise UserError(failed)


def _evaluate(output: Path, dataset: str, failed: str, console: Console) -> None:
    """Run the cascade; its own failure must not hide that departments failed."""
    try:
        print_ranking(output, dataset, console)
    except Exception:
        if failed:
            console.print(failed, markup=False, highlight=False)
        raise


def _failure_line(output: Path, failures: Mapping[int, str], total: int) -> str:
    """One line about the departments that failed; empty if there is none."""
    if not failures:
        return ""
    entries = {entry.node: entry for entry in read_cascade(output).departments}
    node, reason = next(iter(failures.items()))
    answer = (
        "the classifier from before answers there"
        if entries[node].status == "model"
        else "the cascade backs off to the department there"
    )
    return (
        f"{len(failures)} of {total} departments failed, the first is '{entries[node].path}': "
        f"{reason}; {answer}, run the command again to train them"
    )


def _check_stages_there(
    first: Stage, stages: Mapping[int, Stage], chosen: set[int], *, strictly: bool
) -> None:
    """Refuse classifiers of other options, before anything is written."""
    if strictly or not first.is_done():
        first.check()
    if strictly:
        for node, stage in stages.items():
            if node not in chosen:
                stage.check()


def _read_before(output: Path) -> CascadeInfo | None:
    """What the folder holds; a damaged ``cascade.json`` is written anew."""
    try:
        return read_cascade(output)
    except UserError:
        return None


def _planned(
    output: Path, plan: Sequence[DepartmentEntry], joined: CascadeInfo | None, chosen: set[int]
) -> list[DepartmentEntry]:
    """The plan; in a cascade that is joined, the others that answer stay as they are."""
    kept = {
        entry.node: entry
        for entry in (joined.departments if joined else [])
        if entry.node not in chosen
        and entry.status not in ("failed", "pending")
        and (entry.checkpoint is None or (output / entry.checkpoint).is_file())
    }
    return [kept.get(entry.node, entry) for entry in plan]


def _chosen(
    hierarchy: Hierarchy, entries: Mapping[int, DepartmentEntry], departments: Sequence[str]
) -> set[int]:
    chosen = {hierarchy.department(name) for name in departments}
    for entry in (entries[node] for node in chosen):
        if entry.status != "pending":
            raise UserError(
                f"--departments: '{entry.path}' gets no classifier ({entry.reason}); leave it out"
            )
    return chosen
