"""What the benchmark compares: pre-training methods, tasks, and their commands."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Method:
    """A way of pre-training on the tree, from the MLM encoder.

    Attributes:
        module: The LightningModule; None leaves the MLM encoder as it is.
        options: Its options on the command line.
        tables: The paper's tables that it stands in.
        encoder: The method whose encoder is fine-tuned; None for its own.
        readout: What fine-tuning reads of the level tokens of the pre-training.
    """

    module: str | None
    options: tuple[str, ...] = ()
    tables: tuple[str, ...] = ()
    encoder: str | None = None
    readout: str = "none"


POSITIVES = "--model.node_reduction=positives"


def _sst(*options: str, tables: tuple[str, ...]) -> Method:
    shown = tuple(f"--model.structural.{option}" for option in options)
    return Method("SSTPretrainer", (POSITIVES, *shown), (*tables, "VIII"))


def _with_level_tokens(encoder: str) -> dict[str, Method]:
    """The two ways of fine-tuning it with nodes as inputs."""
    return {
        f"{encoder}, level tokens, {name}": Method(None, (), ("V",), encoder, readout)
        for name, readout in (("CLS", "cls"), ("transformer", "transformer"))
    }


HBGL = ("--model.labels.passes=60", "--model.labels.subtrees=16")  # a fifth of what it is given
METHODS = {
    "MLM-only": Method(None, tables=("II",)),
    "SST": _sst(tables=("II", "III", "IV", "V", "VI")),
    "HiMatch": Method("HiMatchPretrainer", (POSITIVES, "--model.decode.constraint=top1"), ("II",)),
    "HPT": Method("HPTPretrainer", tables=("II", "V", "VIII")),
    "HBGL": Method("HBGLPretrainer", (POSITIVES, *HBGL), ("II", "V", "VIII")),
    "HiMatch with BCE": Method(
        "HiMatchPretrainer", (POSITIVES, "--model.cls_weight=1"), ("II", "VIII")
    ),
    "HiAGM": Method("HiAGMPretrainer", (POSITIVES,), ("II", "VIII")),
    "HGCLR": Method("HGCLRPretrainer", (POSITIVES,), ("II", "VIII")),
    "Conditional softmax": Method("ConditionalPretrainer", tables=("II", "VIII")),
    "SST w/o mask": _sst("mask=none", tables=("III",)),
    "SST w/o projection": _sst("projection=none", tables=("III",)),
    "Node-only": Method("NodeOnlyPretrainer", (POSITIVES,), ("IV", "VIII")),
    "Multi-label": Method("MultiLabelPretrainer", (POSITIVES,), ("IV", "VIII")),
    "Multi-task": Method("MultiTaskPretrainer", (POSITIVES,), ("IV", "VIII")),
    **_with_level_tokens("HPT"),
    **_with_level_tokens("HBGL"),
    "Sequential SST": _sst("readout=sequential", tables=("VI",)),
    "Sequential SST, dependency mask": _sst("readout=sequential", "mask=prev_only", tables=("VI",)),
}
BASELINES = {"II": "MLM-only", "III": "SST", "IV": "Node-only", "V": "HPT", "VI": "Sequential SST"}
"""The row that a table of the paper compares fine-tuned encoders with."""


class Task(NamedTuple):
    """A downstream task on real data: dataset folder and task name."""

    dataset: str
    name: str
    title: str


TASKS = {
    "PC": Task("mwpd2020", "gpc_level3", "product categorisation: MWPD2020 level 3"),
    "QP": Task("crowdflower", "relevance", "query-product: CrowdFlower"),
    "LF": Task("hm", "department", "local financial: H&M department"),
    "GF": Task("hm", "section", "global financial: H&M section"),
}


class Run(NamedTuple):
    """One fine-tuning."""

    method: str
    task: str
    seed: int

    @property
    def folder(self) -> str:
        """Where it lies, below the benchmark's output."""
        return f"{slug(self.method)}/{self.task}-{self.seed}"


@dataclass(frozen=True)
class Plan:
    """Which runs, in the order in which they are made: what Table II needs comes first.

    Attributes:
        seeds: Fine-tuning seeds of Table II's rows.
        variant_seeds: Those of the other rows.
        methods: Names of methods; by default all.
        tasks: Names of tasks; by default all.
    """

    seeds: int = 3
    variant_seeds: int = 3
    methods: tuple[str, ...] = field(default_factory=lambda: tuple(METHODS))
    tasks: tuple[str, ...] = field(default_factory=lambda: tuple(TASKS))

    def runs(self) -> list[Run]:
        """Seeds outside, so that a run that is stopped early has something of everything."""
        main = [name for name in self.methods if "II" in METHODS[name].tables]
        variants = [name for name in self.methods if name not in main]
        groups = (range(self.seeds), main), (range(self.variant_seeds), variants)
        return [Run(m, t, s) for seeds, ms in groups for s in seeds for m in ms for t in self.tasks]


def slug(name: str) -> str:
    """A method's name as a folder's."""
    return name.lower().replace(" ", "-").replace("/", "").replace(",", "")
