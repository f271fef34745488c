"""Train cascades with each strategy alone and with all, and compare them on the true labels.

python -m benchmarks.noise OUTPUT
"""

import argparse
import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from benchmarks.noise.table import write_tables
from benchmarks.runs import hlm
from data_modules.sample import SampleOptions, write_sample
from hierarchy_lm import cli
from hierarchy_lm.cli import stages
from hierarchy_lm.cli.workers import Job, Outcome

HERE = Path(__file__).parent
BOOTSTRAP = {"bootstrap": {"beta": 0.9, "t_gate": 0}}
NEGATIVES = {"negatives": {"keep": 0.7}}
TEMPERATURE = {"temperature": {"train": 0.9}}


@dataclass(frozen=True)
class Strategy:
    """What a strategy changes: the losses of both stages, the augmentation, the epochs."""

    department: dict[str, Any] = field(default_factory=dict)
    leaf: dict[str, Any] = field(default_factory=dict)
    augmentation: float = 0.0
    more_epochs: float = 1.0
    backbone: str = "tiny"


STRATEGIES = {
    "DNN": Strategy(backbone="dnn"),
    "BCE": Strategy(),
    "bootstrap": Strategy(BOOTSTRAP, BOOTSTRAP),
    "negatives": Strategy(NEGATIVES, NEGATIVES),
    "temperature": Strategy(TEMPERATURE, TEMPERATURE, more_epochs=1.2),
    "augmentation": Strategy(augmentation=0.05),
    # The paper's recipe: bootstrap for departments, negative sampling for leaves.
    "all": Strategy(BOOTSTRAP | TEMPERATURE, NEGATIVES | TEMPERATURE, 0.05, 1.2),
}


class Run(NamedTuple):
    """One cascade: catalogue, strategy and seed."""

    noise: str
    wrong_labels: float | None
    strategy: str
    seed: int

    @property
    def name(self) -> str:
        """Folder name."""
        wrong = "" if self.wrong_labels is None else f"_{self.wrong_labels:.2f}"
        return f"{self.noise}{wrong}_{self.strategy}_{self.seed}"


def runs(seeds: int) -> Iterator[Run]:
    """L1 and L2, then L2 with more and more wrong labels."""
    catalogues = (("L1", None), ("L2", None)), (("L2", 0.3), ("L2", 0.5))
    for group in catalogues:
        for seed, (noise, wrong_labels), strategy in product(range(seeds), group, STRATEGIES):
            yield Run(noise, wrong_labels, strategy, seed)


def catalogue(run: Run, output: Path) -> Path:
    """The run's catalogue, generated once: 4,000 items."""
    wrong = "" if run.wrong_labels is None else f"_{run.wrong_labels:.2f}"
    folder = output / "catalogues" / f"{run.noise}{wrong}"
    if not folder.exists():
        share = {} if run.wrong_labels is None else {"wrong_labels": run.wrong_labels}
        options = SampleOptions(items=4000, nodes=100, depth=4, seed=0, noise=run.noise, **share)  # type: ignore[arg-type]
        write_sample(folder, options)
    return folder


def train(run: Run, output: Path) -> dict[str, float]:
    """Train and test a cascade; its scores against the true labels."""
    folder, dataset = output / run.name, catalogue(run, output)
    result = folder / "result.json"
    if result.exists():
        found: dict[str, float] = json.loads(result.read_text())
        return found
    folder.mkdir(parents=True, exist_ok=True)
    strategy = STRATEGIES[run.strategy]
    for stage, loss in (("department", strategy.department), ("leaf", strategy.leaf)):
        (folder / f"{stage}.yaml").write_text(yaml.safe_dump(_config(stage, loss, strategy)))
    cascade = str(folder / "cascade")
    hlm(
        *("fit-cascade", "--dataset", dataset, "--output", cascade, "--evaluate", "false"),
        *("--department", folder / "department.yaml", "--leaf", folder / "leaf.yaml"),
        *("--leaf_from_department", str(strategy.backbone != "dnn").lower()),
        *("--", f"--seed_everything={run.seed}"),
    )
    hlm(
        *("test", "--model", "Cascade", "--model.cascade", cascade, "--data", "CascadeDataModule"),
        *("--data.dataset", dataset, "--data.label_column", "true_node_ids"),
        *("--trainer.default_root_dir", folder / "test"),
    )
    scores: dict[str, float] = json.loads(next(folder.glob("test/**/test.json")).read_text())
    result.write_text(json.dumps(scores))
    return scores


def _config(stage: str, loss: dict[str, Any], strategy: Strategy) -> dict[str, Any]:
    config: dict[str, Any] = yaml.safe_load((HERE / f"{stage}.yaml").read_text())
    config["model"]["init_args"] |= {"loss": loss} if loss else {}
    config["model"]["init_args"]["backbone"]["name"] = strategy.backbone
    config["data"]["init_args"]["augmentation"] = {"rate": strategy.augmentation}
    config["trainer"]["max_epochs"] = round(config["trainer"]["max_epochs"] * strategy.more_epochs)
    return config


def _stay_in_this_process() -> None:
    """Starting three processes for a cascade would take longer than training it."""

    def run_command(argv: list[str]) -> int:
        return cli.main(argv[argv.index("hierarchy_lm") + 1 :])

    def run_jobs(
        jobs: Sequence[Job], devices: Sequence[str], report: Callable[[Job, Outcome], None]
    ) -> None:
        for job in jobs:
            report(job, Outcome(cli.main(job.argv), "", 0.0))

    stages.run_command = run_command
    stages.run_jobs = run_jobs


def main() -> None:
    """Run what is missing, then write the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("output", type=Path)
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    _stay_in_this_process()
    planned = list(runs(options.seeds))
    results = []
    for number, run in enumerate(planned, start=1):
        started = time.monotonic()
        results.append((run, train(run, options.output)))
        seconds = time.monotonic() - started
        print(f"noise: {number}/{len(planned)} {run.name} {seconds:.0f} s", flush=True)
        write_tables(results, options.output / "noise.md")


if __name__ == "__main__":
    main()
