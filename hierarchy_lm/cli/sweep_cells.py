"""The cells of a sweep as command lines: checked before any runs, skipped, resumed or run anew."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hierarchy_lm.cli.stage_options import PLACES, deciding_options
from hierarchy_lm.cli.workers import Job, Outcome
from hierarchy_lm.dataset import write_json
from hierarchy_lm.errors import UserError
from hierarchy_lm.run_record import PROJECT
from hierarchy_lm.sweeps import SEED, Cell, Sweep, newest_finished, render
from hierarchy_lm.sweeps.folder import (
    CELL,
    checkpoint_to_resume,
    drop_resume_files,
    read_record,
)

QUIET = ("enable_progress_bar", "enable_model_summary")
# Where a run is trained and what it shows; the dataset stands in the identity by its fingerprint.
UNDECIDING = ("data.dataset", "encoders", *(f"trainer.{name}" for name in (*PLACES, *QUIET)))


@dataclass(frozen=True)
class CellRun:
    """A cell with all that its run needs.

    Attributes:
        cell: The cell.
        root: Its folder.
        argv: Its command line, without what the folder and the terminal ask for.
        fingerprint: That of its dataset.
    """

    cell: Cell
    root: Path
    argv: list[str]
    fingerprint: str

    @property
    def identity(self) -> dict[str, Any]:
        """What makes its result another one."""
        return {"arguments": deciding_arguments(self.argv), "dataset": self.fingerprint}

    def is_finished(self) -> bool:
        """Whether it has a finished run."""
        return newest_finished(self.root) is not None

    def check(self) -> None:
        """Refuse a folder with runs of something else.

        Raises:
            UserError: If there are some.
        """
        before = read_record(self.root / CELL).get("identity", self.identity)
        if before != self.identity:
            same_data = before["dataset"] == self.fingerprint
            what = "with other options" if same_data else "on another dataset"
            raise UserError(
                f"{self.root}: was run {what}; name another --output, or remove the "
                "folder to run it again"
            )

    def job(self, environment: Mapping[str, str]) -> Job:
        """The job that runs it, from its last checkpoint if an unfinished run left one."""
        argv = [*self.argv, f"--trainer.default_root_dir={self.root}"]
        quiet = QUIET[:1] if self.argv[0] == "tfidf" else QUIET  # it has no model to sum up
        argv += [f"--trainer.{name}=false" for name in quiet]
        last = checkpoint_to_resume(self.root) if self.argv[0] == "fit" else None
        argv += [f"--ckpt_path={last}"] if last else []
        return Job(self.cell.folder, argv, self.root / "log.txt", environment)

    def record(self, state: str, error: str | None = None) -> None:
        """Write ``cell.json``."""
        self.root.mkdir(parents=True, exist_ok=True)
        content = {"identity": self.identity, "state": state, "error": error}
        write_json(self.root / CELL, content)

    def conclude(self, outcome: Outcome) -> str:
        """Record how it ended. Returns why it failed, else an empty string."""
        reason = ""
        if outcome.status:
            reason = outcome.reason or f"status {outcome.status}"
        elif not self.is_finished():
            reason = f"it left no finished run; see {self.root / 'log.txt'}"
        self.record("failed" if reason else "finished", reason or None)
        if not reason:
            drop_resume_files(self.root)
        return reason


def deciding_arguments(argv: Sequence[str]) -> list[Any]:
    """A command line without the places; a YAML file stands for what it says.

    An option and its value may be one argument or two.
    """
    kept: list[Any] = []
    arguments = iter(argv)
    for argument in arguments:
        name, equals, value = argument.partition("=")
        if argument.startswith("--") and not equals:
            value = next(arguments, "")
        if name.removeprefix("--") in UNDECIDING:
            continue
        file = Path(value)
        is_yaml = file.suffix in (".yaml", ".yml") and file.is_file()
        kept.append([name, deciding_options(file) if is_yaml else value])
    return kept


def cell_argv(
    sweep: Sweep, values: Mapping[str, Any], seed: int, extra: Sequence[str]
) -> list[str]:
    """Command line of one cell: command, swept config, extra arguments, other values, seed."""
    return [*sweep.argv(values, extra), *render({SEED: seed})]


def parse_cell(argv: list[str]) -> Any:  # noqa: ANN401  (a namespace of options)
    """The resolved configuration of a cell; that of the last stage for `hlm transfer`.

    Raises:
        UserError: If it is wrong, or asks for several processes: a worker is one.
    """
    parsed = _parser(argv[0])(argv)
    devices = parsed.trainer.get("devices", 1)
    named = str(devices).strip("[]").split(",")  # a number, or the names of some
    count = int(named[0]) if named[0].isdigit() and isinstance(devices, str | int) else 1
    if parsed.trainer.get("num_nodes", 1) > 1 or len(named) > 1 or count > 1:
        raise UserError(
            f"trainer.devices {devices}: a run of a sweep is one process; use --jobs for several "
            "GPUs"
        )
    return parsed


def _parser(command: str) -> Callable[[list[str]], Any]:
    if command == "transfer":
        from hierarchy_lm.cli.transfer import parse_transfer

        return lambda argv: parse_transfer(argv).stages[-1].resolved
    if command == "tfidf":
        from hierarchy_lm.cli.tfidf import parse_tfidf

        return parse_tfidf
    from hierarchy_lm.cli.training import parse_fit

    return parse_fit


def wandb_environment(sweep: Sweep, cell: Cell) -> dict[str, str]:
    """What makes `hlm fit` log to W&B, under a name of this cell in the group of its sweep."""
    values = [f"{name.rpartition('.')[2]}={value}" for name, value in cell.values.items()]
    tags = [sweep.name, *(values or ["baseline"]), f"seed={cell.seed}"]
    return {
        "HLM_WANDB": "true",
        "WANDB_RUN_GROUP": sweep.name,
        "WANDB_NAME": cell.name,
        "WANDB_TAGS": ",".join(tag.replace(",", ";")[:64] for tag in tags),  # 64: their limit
        "WANDB_PROJECT": sweep.project or os.environ.get("WANDB_PROJECT") or PROJECT,
    }
