"""`hlm sweep`: the runs of a W&B sweep file on this machine, without W&B."""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from jsonargparse.typing import Path_fr
from rich.console import Console

from hierarchy_lm.cli.folder_lock import alone
from hierarchy_lm.cli.quiet import quieten
from hierarchy_lm.cli.stages import worker_devices
from hierarchy_lm.cli.sweep_cells import CellRun, wandb_environment
from hierarchy_lm.cli.sweep_plan import Checker, check_none_lost, expand
from hierarchy_lm.cli.sweep_progress import SweepProgress
from hierarchy_lm.cli.sweep_summary import summary_table
from hierarchy_lm.cli.workers import Job, Outcome, run_jobs, sigterm_raises
from hierarchy_lm.errors import UserError
from hierarchy_lm.sweeps import (
    Cell,
    plan_cells,
    read_cells,
    read_sweep,
    write_results,
    write_sweep,
)
from hierarchy_lm.sweeps.folder import result

METRIC = "test/micro_f1"


def sweep(
    file: Path_fr,
    output: str | None = None,
    jobs: int | None = None,
    seeds: Sequence[str] = (),
    runs: int | None = None,
    random_seed: int = 0,
    baseline: bool = True,
    wandb: bool = False,
    extra: Sequence[str] = (),
) -> int:
    """Run every setting of a W&B sweep file on this machine; behind --: arguments of every run.

    All command lines are checked before the first run starts. Finished runs are skipped, an
    interrupted one goes on from its last checkpoint, and one that fails is recorded while the
    others go on.

    Args:
        file: The sweep file: a grid, or a random search.
        output: Folder of the sweep; by default runs/sweeps/ and the name of the file.
        jobs: Runs side by side; by default one per GPU, or one.
        seeds: Run all settings with each of these, instead of the file's seed_everything.
        runs: Largest number of runs, baselines not counted, instead of the file's run_cap.
        random_seed: What the draws of a random search follow from.
        baseline: Run the command without the swept values too, once per seed.
        wandb: Log each run to W&B, in the group of the sweep.
        extra: What stands behind ``--``: arguments of every run, which the swept values override.

    Returns:
        1 if a run failed, else 0.

    Raises:
        UserError: If an input is wrong.
    """
    quieten()
    if jobs is not None and jobs < 1:
        raise UserError(f"--jobs {jobs}: at least one run has to go on at a time")
    if runs is not None and runs < 1:
        raise UserError(f"--runs {runs}: a sweep has at least one run")
    path = Path(file.relative)
    loaded = read_sweep(path)
    folder = Path(output or f"runs/sweeps/{path.stem}")
    console = Console(stderr=True)
    plan = Checker(loaded, path, list(extra))
    choices, numbers = expand(plan, seeds, runs, random_seed)
    plan.check(choices, baseline, console)
    with alone(folder, "hlm sweep"), sigterm_raises():
        before = read_cells(folder)
        cells = plan_cells(choices, numbers, plan.baseline, before)
        check_none_lost(folder, before, cells)
        todo = [plan.run(cell, folder) for cell in cells]
        for run in todo:
            run.check()
        write_sweep(folder, loaded, path.read_text(encoding="utf-8"), extra, cells)
        environments = [wandb_environment(loaded, cell) if wandb else {} for cell in cells]
        _run(folder, cells, todo, environments, jobs, loaded.metric or METRIC, console)
        return _conclude(folder, cells, loaded.metric or METRIC, console)


def _run(
    folder: Path,
    cells: Sequence[Cell],
    todo: Sequence[CellRun],
    environments: Sequence[Mapping[str, str]],
    jobs: int | None,
    metric: str,
    console: Console,
) -> None:
    """Run what is not finished; the results on disk are true after each run."""
    by_name = {run.cell.folder: run for run in todo}
    waiting = [pair for pair in zip(todo, environments, strict=True) if not pair[0].is_finished()]
    finished = [run for run in todo if run.is_finished()]
    if finished:
        console.print(f"{len(finished)} of {len(todo)} runs were finished before")
    devices = worker_devices(jobs)
    took = [result(folder, run.cell)["seconds"] for run in finished]
    progress = SweepProgress(console, len(todo), len(devices), metric, took)
    under_way: set[str] = set()

    def begin(job: Job) -> None:
        by_name[job.name].record("running")
        under_way.add(job.name)
        progress.begin(by_name[job.name].cell.name)

    def report(job: Job, outcome: Outcome) -> None:
        run = by_name[job.name]
        reason = run.conclude(outcome)
        under_way.discard(job.name)
        write_results(folder, cells)
        progress.end(run.cell.name, reason, result(folder, run.cell)["metrics"])

    try:
        with progress.live():
            run_jobs([run.job(variables) for run, variables in waiting], devices, report, begin)
    finally:
        for name in under_way:
            by_name[name].record("interrupted")
        write_results(folder, cells)


def _conclude(folder: Path, cells: Sequence[Cell], metric: str, console: Console) -> int:
    """Show the results. Returns the exit status."""
    rows = [result(folder, cell) for cell in cells]
    Console().print(summary_table(rows, metric))
    console.print(
        f"results: {folder / 'results.parquet'}, {folder / 'results.csv'}", soft_wrap=True
    )
    failed = [row for row in rows if row["state"] != "finished"]
    if failed:
        first = failed[0]
        print(
            f"hlm: {len(failed)} of {len(rows)} runs failed, the first is '{first['folder']}': "
            f"{first['error']}; run the command again to run them",
            file=sys.stderr,
        )
    return int(bool(failed))
