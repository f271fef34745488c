"""One classifier of a cascade: where it is trained, whether it is done, what is left of it."""

import json
import os
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from hierarchy_lm.checkpoints import AtomicCheckpointIO
from hierarchy_lm.cli.workers import Job, Outcome, run_hlm, run_jobs
from hierarchy_lm.dataset import write_json
from hierarchy_lm.errors import UserError
from hierarchy_lm.export import export
from hierarchy_lm.run_files import TOKENIZER, load_checkpoint
from hierarchy_lm.runs import find_checkpoint
from hierarchy_lm.vocabulary import load_vocabulary

DONE, STARTED = "done.json", "started.json"
TRAINING_STATE = ("optimizer_states", "lr_schedulers", "loops", "callbacks")


@dataclass(frozen=True)
class Stage:
    """A classifier of a cascade.

    Attributes:
        root: Its folder: the runs of `hlm fit`, and ``classifier.ckpt`` once it is done.
        config: Its `hlm fit` configuration.
        extra: Arguments of the user, on top of it.
        own: Options of this stage, on top of both. They go through a file: on a command line,
            ``Home: Garden`` would be a mapping.
        identity: What makes it another classifier: all of the above but for paths and devices.
    """

    root: Path
    config: Path
    extra: list[str]
    own: Mapping[str, Any]
    identity: Mapping[str, Any]

    @property
    def checkpoint(self) -> Path:
        """The finished classifier, without the optimiser's state."""
        return self.root / "classifier.ckpt"

    def is_done(self) -> bool:
        """Whether a finished classifier is there, of whatever options."""
        return (self.root / DONE).is_file() and self.checkpoint.is_file()

    def is_interrupted(self) -> bool:
        """Whether there is an unfinished run, be it of a classifier that is to replace this one."""
        return any(self.root.glob("**/checkpoints/last.ckpt"))

    def can_resume(self) -> bool:
        """Whether the unfinished run has this identity."""
        return self.is_interrupted() and self._recorded(STARTED) == self.identity

    def check(self) -> None:
        """Refuse what cannot be skipped or resumed.

        Raises:
            UserError: If the classifier or the unfinished run has another identity.
        """
        if self.is_done():
            if self._recorded(DONE) != self.identity:
                raise UserError(
                    f"{self.root}: trained with other options or on another dataset; name another "
                    "--output, remove the folder to train again, or name --departments"
                )
        elif self.is_interrupted() and not self.can_resume():
            raise UserError(
                f"{self.root}: interrupted with other options or on another dataset; give those to "
                "resume, or remove the folder to train from the start"
            )

    def _recorded(self, name: str) -> Any:  # noqa: ANN401  (what was written, or None)
        file = self.root / name
        if not file.is_file():
            return None
        return json.loads(file.read_text(encoding="utf-8")).get("identity")

    def prepare(self) -> list[str]:
        """Write the stage's own options and identity; a run of another identity is dropped.

        A finished classifier stays until :meth:`finish` replaces it.

        Returns:
            A command line that resumes if there is a run.
        """
        self.root.mkdir(parents=True, exist_ok=True)
        resume = self.can_resume()
        if not resume:
            self._drop_checkpoints()
        write_json(self.root / STARTED, {"identity": dict(self.identity)})
        write_json(self.root / "own.json", self.own)
        argv = ["fit", "--config", str(self.config), *self.extra]
        argv += ["--config", str(self.root / "own.json")]
        return [*argv, "--ckpt_path=last"] if resume else argv

    def _drop_checkpoints(self) -> None:
        for folder in self.root.glob("**/checkpoints"):
            shutil.rmtree(folder)

    def trained_tokenizer(self) -> str:
        """Fingerprint of the tokenizer of the run that is to be kept."""
        run = find_checkpoint("best", self.root).parent.parent
        return load_vocabulary(str(run / TOKENIZER)).fingerprint

    def finish(self, seconds: float) -> None:
        """Keep the best weights and the records; drop what only a resume would need."""
        best = find_checkpoint("best", self.root)
        content = load_checkpoint(best)
        slim = {key: value for key, value in content.items() if key not in TRAINING_STATE}
        run = best.parent.parent
        (self.root / DONE).unlink(missing_ok=True)  # never of another classifier than is there
        AtomicCheckpointIO().save_checkpoint(slim, self.checkpoint)
        shutil.copytree(run / TOKENIZER, self.root / TOKENIZER, dirs_exist_ok=True)
        record = {
            "identity": dict(self.identity),
            "run": run.relative_to(self.root).as_posix(),
            "seconds": round(seconds, 1),
            "metrics": _best_metrics(content, run),
        }
        write_json(self.root / DONE, record)
        self._drop_checkpoints()
        (self.root / STARTED).unlink(missing_ok=True)

    def metrics(self) -> dict[str, float]:
        """Validation metrics of the finished classifier."""
        record = json.loads((self.root / DONE).read_text(encoding="utf-8"))
        return dict(record["metrics"])

    def tokenizer_fingerprint(self) -> str:
        """Fingerprint of the tokenizer it was trained with."""
        return load_vocabulary(str(self.root / TOKENIZER)).fingerprint

    def copy_tokenizer(self, folder: Path) -> None:
        """Copy its tokenizer."""
        shutil.copytree(self.root / TOKENIZER, folder, dirs_exist_ok=True)

    @property
    def encoder(self) -> Path:
        """Its encoder as a Hugging Face folder, once it is exported."""
        return self.root.resolve() / "encoder"

    def export_encoder(self) -> None:
        """Write the encoder; whole or absent."""
        if not self.encoder.is_dir():
            unfinished = self.encoder.with_suffix(".tmp")
            shutil.rmtree(unfinished, ignore_errors=True)
            export(str(self.checkpoint), str(unfinished))
            unfinished.replace(self.encoder)


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
    run_hlm(stage.prepare(), "the department classifier")
    stage.finish(time.monotonic() - started)


def train_leaf_stages(
    stages: Mapping[int, Stage],
    sizes: Mapping[int, int],
    jobs: int | None,
    conclude: Callable[[int, Outcome], str],
    console: Console,
) -> None:
    """Train leaf classifiers side by side, the largest first.

    Args:
        stages: Classifier of each department's node.
        sizes: Training items of each.
        jobs: How many at a time.
        conclude: Called with the node and how its training ended; keeps what was trained and
            returns an empty string, or the reason of a failure.
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
            reason = conclude(node, outcome)
            progress.advance(task)
            progress.console.print(_line(stages[node], reason), highlight=False)

        to_run = []
        for node in order:
            root = stages[node].root
            try:
                argv = [*stages[node].prepare(), "--trainer.enable_progress_bar=false"]
                to_run.append(Job(str(root), argv, root / "log.txt"))
            except OSError as error:
                report(Job(str(root), [], root), Outcome(2, str(error), 0.0))
        run_jobs(to_run, worker_devices(jobs), report)


def _line(stage: Stage, reason: str) -> str:
    if reason:
        return f"{stage.root.name}: failed: {reason}"
    score = stage.metrics().get("best_score")
    return f"{stage.root.name}: done" + (f", validation {score:.3f}" if score is not None else "")


def worker_devices(jobs: int | None) -> list[str]:
    """``CUDA_VISIBLE_DEVICES`` of each worker."""
    if not torch.cuda.is_available():
        return [""] * (jobs or 1)
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    names = visible.split(",") if visible else [str(n) for n in range(torch.cuda.device_count())]
    return [names[number % len(names)] for number in range(jobs or len(names))]
