"""`hlm fit-cascade`: the department classifier and all leaf classifiers of a dataset."""

import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from jsonargparse.typing import Path_fr
from rich.console import Console

from data_modules.datasets import find_dataset
from data_modules.departments import count_items
from hierarchy_lm.cascade_folder import CascadeInfo, DepartmentEntry, write_cascade
from hierarchy_lm.cli.departments import plan_departments, print_ranking
from hierarchy_lm.cli.stages import Stage, check_stages, train_department_stage, train_leaf_stages
from hierarchy_lm.errors import UserError
from hierarchy_lm.hierarchy import Hierarchy


@dataclass(frozen=True)
class CascadeOptions:
    """What all steps of one command need to know."""

    dataset: str
    department: Path
    leaf: Path
    output: Path
    extra: list[str]


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
    folder = find_dataset(dataset)
    options = CascadeOptions(
        dataset, Path(department.absolute), Path(leaf.absolute), Path(output), list(extra)
    )
    hierarchy = Hierarchy.from_parquet(folder / "hierarchy.parquet")
    chosen = {hierarchy.department(name) for name in departments}
    text = check_stages(
        options.department, options.leaf, dataset, hierarchy.paths[0], options.extra
    )
    options.output.mkdir(parents=True, exist_ok=True)
    shutil.copy(folder / "hierarchy.parquet", options.output / "hierarchy.parquet")
    entries = plan_departments(hierarchy, count_items(folder, hierarchy), min_items)

    first = _stage(options, "department", options.department, [])
    train_department_stage(first, console)
    info = CascadeInfo(
        tree=hierarchy.fingerprint,
        tokenizer=first.tokenizer_fingerprint(),
        text=text,
        checkpoint=first.checkpoint.relative_to(options.output).as_posix(),
        departments=entries,
    )
    first.copy_tokenizer(options.output / "tokenizer")
    info = _train_leaves(options, info, chosen, leaf_from_department, first, jobs, console)
    failed = [entry for entry in info.departments if entry.status == "failed"]
    if evaluate:
        print_ranking(options.output, dataset, console)
    if failed:
        raise UserError(
            f"{len(failed)} of {len(entries)} departments failed, the first is '{failed[0].path}': "
            f"{failed[0].reason}; the cascade backs off to the department there, run the command "
            "again to train them"
        )


def _train_leaves(
    options: CascadeOptions,
    info: CascadeInfo,
    chosen: set[int],
    leaf_from_department: bool,
    first: Stage,
    jobs: int | None,
    console: Console,
) -> CascadeInfo:
    """Train what the plan calls models; ``cascade.json`` is true after each of them."""
    arguments = []
    if leaf_from_department:
        arguments.append(f"--model.backbone.pretrained={first.export_encoder()}")
    stages = {
        entry.node: _stage(
            options,
            f"leaves/{_slug(entry)}",
            options.leaf,
            [f"--data.department={entry.path}", "--trainer.devices=1", *arguments],
        )
        for entry in info.departments
        if entry.status == "pending"
    }
    entries = {entry.node: entry for entry in info.departments}
    for node in chosen & stages.keys():
        stages[node].forget()

    def finished(node: int, reason: str) -> None:
        stage = stages[node]
        if reason:
            entries[node] = replace(entries[node], status="failed", reason=reason)
        else:
            checkpoint = stage.checkpoint.relative_to(options.output).as_posix()
            entries[node] = replace(
                entries[node], status="model", checkpoint=checkpoint, metrics=stage.metrics()
            )
        write_cascade(options.output, replace(info, departments=list(entries.values())))

    for node, stage in stages.items():
        if stage.is_done() or (chosen and node not in chosen):
            finished(node, "" if stage.is_done() else "not trained yet")
    write_cascade(options.output, replace(info, departments=list(entries.values())))
    to_train = {
        node: stage
        for node, stage in stages.items()
        if not stage.is_done() and (not chosen or node in chosen)
    }
    train_leaf_stages(
        to_train, {node: entries[node].items for node in to_train}, jobs, finished, console
    )
    return replace(info, departments=list(entries.values()))


def _stage(options: CascadeOptions, name: str, config: Path, arguments: list[str]) -> Stage:
    own = [f"--data.dataset={options.dataset}", *arguments, *options.extra]
    return Stage(options.output / name, config, own)


def _slug(entry: DepartmentEntry) -> str:
    """Folder name of a department: readable, and distinct by its node."""
    readable = re.sub(r"[^\w]+", "_", entry.path).strip("_")[:60]
    return f"{entry.node:03d}_{readable}"
