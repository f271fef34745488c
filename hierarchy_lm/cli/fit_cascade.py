"""`hlm fit-cascade`: the department classifier and all leaf classifiers of a dataset."""

import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from filelock import FileLock, Timeout
from jsonargparse.typing import Path_fr
from rich.console import Console

from data_modules.datasets import find_dataset
from data_modules.departments import count_items
from hierarchy_lm.cascade_folder import CALIBRATION, CascadeInfo, DepartmentEntry, write_cascade
from hierarchy_lm.cli.departments import plan_departments, print_ranking
from hierarchy_lm.cli.stage_options import (
    CascadeOptions,
    check_stages,
    department_stage,
    leaf_stages,
)
from hierarchy_lm.cli.stages import Stage, train_department_stage, train_leaf_stages
from hierarchy_lm.cli.workers import sigterm_raises
from hierarchy_lm.dataset import read_dataset
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
        departments: Train just these again, by name; the others are left alone.
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
    folder = find_dataset(dataset)
    options = CascadeOptions(
        dataset,
        read_dataset(folder).fingerprint,
        Path(department.absolute),
        Path(leaf.absolute),
        Path(output),
        leaf_from_department,
        list(extra),
    )
    hierarchy = Hierarchy.from_parquet(folder / "hierarchy.parquet")
    text = check_stages(
        options.department, options.leaf, dataset, leaf_from_department, options.extra
    )
    items = count_items(folder, hierarchy)
    validation_items = count_items(folder, hierarchy, "validation")
    plan = plan_departments(hierarchy, items, validation_items, min_items)
    entries = {entry.node: entry for entry in plan}
    chosen = _chosen(hierarchy, entries, departments)
    with _alone(options.output), sigterm_raises():
        first = department_stage(options)
        stages = leaf_stages(options, entries.values())
        for stage in [first, *(stage for node, stage in stages.items() if node not in chosen)]:
            stage.is_done()  # trained with other options: said before anything is written
        shutil.copy(folder / "hierarchy.parquet", options.output / "hierarchy.parquet")
        if not first.is_done():
            (options.output / CALIBRATION).unlink(missing_ok=True)
        train_department_stage(first, console)
        info = CascadeInfo(
            tree=hierarchy.fingerprint,
            tokenizer=first.tokenizer_fingerprint(),
            text=text,
            checkpoint=first.checkpoint.relative_to(options.output).as_posix(),
            departments=list(entries.values()),
        )
        first.copy_tokenizer(options.output / "tokenizer")
        if leaf_from_department:
            first.export_encoder()
        info = _train_leaves(options, info, stages, chosen, jobs, console)
        if evaluate:
            print_ranking(options.output, dataset, console)
    failed = [entry for entry in info.departments if entry.status == "failed"]
    if failed:
        raise UserError(
            f"{len(failed)} of {len(entries)} departments failed, the first is '{failed[0].path}': "
            f"{failed[0].reason}; the cascade backs off to the department there, run the command "
            "again to train them"
        )


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


@contextmanager
def _alone(output: Path) -> Iterator[None]:
    """Two commands would train the same classifiers into the same folders."""
    try:
        output.mkdir(parents=True, exist_ok=True)
        with FileLock(output / ".lock", timeout=0):
            yield
    except Timeout as error:
        raise UserError(f"{output}: another `hlm fit-cascade` is at work there") from error
    except (FileExistsError, NotADirectoryError, PermissionError) as error:
        raise UserError(f"{output}: cannot write there ({error.strerror})") from error


def _train_leaves(
    options: CascadeOptions,
    info: CascadeInfo,
    stages: Mapping[int, Stage],
    chosen: set[int],
    jobs: int | None,
    console: Console,
) -> CascadeInfo:
    """Train what the plan calls models; ``cascade.json`` is true after each of them."""
    entries = {entry.node: entry for entry in info.departments}
    for node in chosen:
        stages[node].forget()

    def write() -> CascadeInfo:
        found = replace(info, departments=list(entries.values()))
        write_cascade(options.output, found)
        return found

    def finished(node: int, reason: str) -> None:
        entries[node] = _trained(entries[node], stages[node], options.output, reason)
        write()

    to_train = {}
    for node, stage in stages.items():
        if stage.is_done():
            entries[node] = _trained(entries[node], stage, options.output, "")
        elif chosen and node not in chosen:
            entries[node] = replace(entries[node], reason="not trained yet")
        else:
            to_train[node] = stage
    write()
    if to_train:
        # A threshold promises nothing about other models than those it was chosen on.
        (options.output / CALIBRATION).unlink(missing_ok=True)
    sizes = {node: entries[node].items for node in to_train}
    train_leaf_stages(to_train, sizes, jobs, finished, console)
    return write()


def _trained(entry: DepartmentEntry, stage: Stage, output: Path, reason: str) -> DepartmentEntry:
    if reason:
        return replace(entry, status="failed", reason=reason)
    checkpoint = stage.checkpoint.relative_to(output).as_posix()
    return replace(entry, status="model", checkpoint=checkpoint, metrics=stage.metrics())
