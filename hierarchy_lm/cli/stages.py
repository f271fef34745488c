"""One classifier of a cascade: where it is trained, whether it is done, what is left of it."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from hierarchy_lm.checkpoints import AtomicCheckpointIO, load_checkpoint
from hierarchy_lm.cli.workers import Job, Outcome, run_jobs
from hierarchy_lm.dataset import write_json
from hierarchy_lm.errors import UserError
from hierarchy_lm.export import export
from hierarchy_lm.runs import TOKENIZER, find_checkpoint
from hierarchy_lm.vocabulary import load_vocabulary

TRAINING_STATE = ("optimizer_states", "lr_schedulers", "loops", "callbacks")


@dataclass(frozen=True)
class Stage:
    """A classifier of a cascade.

    Attributes:
        root: Its folder: the runs of `hlm fit`, and ``classifier.ckpt`` once it is done.
        config: Its `hlm fit` configuration.
        arguments: What goes on top.
    """

    root: Path
    config: Path
    arguments: list[str]

    @property
    def checkpoint(self) -> Path:
        """The finished classifier, without the optimiser's state."""
        return self.root / "classifier.ckpt"

    def _identity(self) -> dict[str, Any]:
        return {"config": self.config.read_text(encoding="utf-8"), "arguments": self.arguments}

    def is_done(self) -> bool:
        """Whether the classifier is there.

        Raises:
            UserError: If it was trained with other options.
        """
        record = self.root / "done.json"
        if not record.is_file() or not self.checkpoint.is_file():
            return False
        found = json.loads(record.read_text(encoding="utf-8"))
        if found["identity"] != self._identity():
            raise UserError(
                f"{self.root}: trained with other options; name another --output, or remove the "
                "folder to train again"
            )
        return True

    def forget(self) -> None:
        """Remove all runs, to train from the start."""
        shutil.rmtree(self.root, ignore_errors=True)

    def argv(self) -> list[str]:
        """Command line of `hlm`; it resumes where there is a checkpoint."""
        argv = ["fit", "--config", str(self.config), f"--trainer.default_root_dir={self.root}"]
        argv += [*self.arguments]
        return [*argv, "--ckpt_path=last"] if self._interrupted() else argv

    def _interrupted(self) -> bool:
        return any(self.root.glob("**/checkpoints/last.ckpt"))

    def finish(self, seconds: float) -> None:
        """Keep the best weights and the records; drop what only a resume would need."""
        best = find_checkpoint("best", self.root)
        content = load_checkpoint(best)
        slim = {key: value for key, value in content.items() if key not in TRAINING_STATE}
        run = best.parent.parent
        AtomicCheckpointIO().save_checkpoint(slim, self.checkpoint)
        shutil.copytree(run / TOKENIZER, self.root / TOKENIZER, dirs_exist_ok=True)
        record = {
            "identity": self._identity(),
            "run": run.relative_to(self.root).as_posix(),
            "seconds": round(seconds, 1),
            "metrics": _best_metrics(content, run),
        }
        write_json(self.root / "done.json", record)
        for folder in self.root.glob("**/checkpoints"):
            shutil.rmtree(folder)

    def metrics(self) -> dict[str, float]:
        """Validation metrics of the finished classifier."""
        record = json.loads((self.root / "done.json").read_text(encoding="utf-8"))
        return dict(record["metrics"])

    def tokenizer_fingerprint(self) -> str:
        """Fingerprint of the tokenizer it was trained with."""
        return load_vocabulary(str(self.root / TOKENIZER)).fingerprint

    def copy_tokenizer(self, folder: Path) -> None:
        """Copy its tokenizer."""
        shutil.copytree(self.root / TOKENIZER, folder, dirs_exist_ok=True)

    def export_encoder(self) -> Path:
        """Its encoder as a Hugging Face folder, written once."""
        folder = self.root / "encoder"
        if not folder.is_dir():
            export(str(self.checkpoint), str(folder))
        return folder.resolve()


def _best_metrics(checkpoint: Mapping[str, Any], run: Path) -> dict[str, float]:
    """The monitored score of the best epoch, and its epoch and step."""
    states = checkpoint.get("callbacks", {}).values()
    scores = [
        state["best_model_score"] for state in states if state.get("best_model_score") is not None
    ]
    metrics = {"epoch": float(checkpoint["epoch"]), "step": float(checkpoint["global_step"])}
    return metrics | ({"best_score": float(scores[0])} if scores else {})


def train_department_stage(stage: Stage, console: Console) -> None:
    """Train the department classifier in a process of its own, which may start one per GPU.

    Raises:
        UserError: If it fails: without it there is no cascade.
    """
    if stage.is_done():
        console.print("department classifier: finished before")
        return
    console.print("department classifier: training")
    started = time.monotonic()
    status = subprocess.run([sys.executable, "-m", "hierarchy_lm", *stage.argv()]).returncode
    if status == 130:
        raise KeyboardInterrupt
    if status:
        raise UserError(f"the department classifier ended with status {status}; see above")
    stage.finish(time.monotonic() - started)


def train_leaf_stages(
    stages: Mapping[int, Stage],
    sizes: Mapping[int, int],
    jobs: int | None,
    finished: Callable[[int, str], None],
    console: Console,
) -> None:
    """Train leaf classifiers side by side, the largest first.

    Args:
        stages: Classifier of each department's node.
        sizes: Training items of each.
        jobs: How many at a time.
        finished: Called with the node and an empty string, or the reason of a failure.
        console: Where progress is shown.
    """
    if not stages:
        return
    order = sorted(stages, key=lambda node: -sizes[node])
    by_name = {str(stage.root): node for node, stage in stages.items()}
    columns = (
        TextColumn("leaf classifiers"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("", total=len(stages))

        def report(job: Job, outcome: Outcome) -> None:
            node = by_name[job.name]
            reason = outcome.reason or (f"status {outcome.status}" if outcome.status else "")
            if not outcome.status:
                stages[node].finish(outcome.seconds)
            finished(node, reason if outcome.status else "")
            progress.advance(task)
            progress.console.print(
                _line(stages[node], reason if outcome.status else ""), highlight=False
            )

        run_jobs(
            [
                Job(
                    str(stages[node].root),
                    _quiet(stages[node].argv()),
                    stages[node].root / "log.txt",
                )
                for node in order
            ],
            _devices(jobs),
            report,
        )


def _quiet(argv: list[str]) -> list[str]:
    return [*argv, "--trainer.enable_progress_bar=false"]


def _line(stage: Stage, reason: str) -> str:
    if reason:
        return f"{stage.root.name}: failed: {reason}"
    score = stage.metrics().get("best_score")
    return f"{stage.root.name}: done" + (f", validation {score:.3f}" if score is not None else "")


def _devices(jobs: int | None) -> list[str]:
    """``CUDA_VISIBLE_DEVICES`` of each worker."""
    if not torch.cuda.is_available():
        return [""] * (jobs or 1)
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    names = visible.split(",") if visible else [str(n) for n in range(torch.cuda.device_count())]
    return [names[number % len(names)] for number in range(jobs or len(names))]


def check_stages(
    department: Path, leaf: Path, dataset: str, name: str, extra: list[str]
) -> dict[str, Any]:
    """Parse both configurations before anything is trained.

    Returns:
        The text options, which are the same for all classifiers.

    Raises:
        UserError: If one is wrong, or the text options differ.
    """
    from hierarchy_lm.cli.training import parse_fit

    common = ["--data.dataset", dataset, *extra]
    texts = [
        parse_fit(["fit", "--config", str(config), *own, *common]).data.init_args.text
        for config, own in ((department, []), (leaf, [f"--data.department={name}"]))
    ]
    plain = [text if isinstance(text, dict) else _as_dict(text) for text in texts]
    if plain[0] != plain[1]:
        raise UserError(
            f"{department} and {leaf}: data.text differs; a cascade tokenises an item once"
        )
    return plain[0]


def _as_dict(text: Any) -> dict[str, Any]:  # noqa: ANN401  (options or their namespace)
    found = text.as_dict() if hasattr(text, "as_dict") else asdict(text)
    return {key: list(value) if isinstance(value, tuple) else value for key, value in found.items()}
