"""`hlm tfidf`: linear classifiers on TF-IDF, trained and tested like a run of `hlm fit`."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from time import perf_counter
from typing import Any

import torch
import yaml
from jsonargparse import Namespace
from lightning.pytorch.loggers import CSVLogger
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from data_modules.datasets import find_dataset
from data_modules.label_texts import LabelledTexts, TextDataset
from hierarchy_lm.batches import SparseTargets
from hierarchy_lm.cli.commands import CommandParser
from hierarchy_lm.cli.messages import one_line
from hierarchy_lm.cli.quiet import speak
from hierarchy_lm.cli.strict_yaml import use_strict_yaml
from hierarchy_lm.cli.training import writable
from hierarchy_lm.dataset import write_json
from hierarchy_lm.errors import UserError
from hierarchy_lm.metrics import LabelF1, LevelF1, PathConsistency
from hierarchy_lm.parts import PartWriter
from hierarchy_lm.run_files import CONFIG, RUN_RECORD, TEST_ITEMS
from hierarchy_lm.run_record import dataset_record, end_of, new_record
from hierarchy_lm.test_items import item_columns, items_schema
from hierarchy_lm.tfidf import Labels, TfidfLinear, check_installed


@dataclass(frozen=True)
class RunOptions:
    """Where a run goes and what it shows.

    Attributes:
        default_root_dir: The run becomes its next folder version_N.
        enable_progress_bar: Show how many labels are done.
    """

    default_root_dir: str = "runs"
    enable_progress_bar: bool = True


def run_tfidf(argv: list[str]) -> int:
    """Train, test and record, as one run. Returns the exit status."""
    speak()
    parser = _parser()
    config = parser.parse_args(argv[1:])
    check_installed()
    if not 0 <= config.seed_everything < 2**32:
        raise UserError(f"seed_everything must be in [0, 2^32), got {config.seed_everything}")
    try:
        options = parser.instantiate_classes(config)
    except ValueError as error:
        raise UserError(one_line(str(error))) from error
    folder = Path(CSVLogger(writable(Path(config.trainer.default_root_dir)), name="").log_dir)
    folder.mkdir(parents=True)
    text = parser.dump(config, skip_none=False)
    (folder / CONFIG).write_text(text, encoding="utf-8")
    dataset = dataset_record(find_dataset(config.data.init_args.dataset))
    record = new_record(["hlm", *argv], yaml.safe_load(text), dataset, {"total": 0})
    record["packages"]["scikit-learn"] = version("scikit-learn")
    with _recorded(folder / RUN_RECORD, record):
        record["metrics"], record["parameters"] = _run(options, folder)
    return 0


def parse_tfidf(argv: list[str]) -> Namespace:
    """The resolved configuration of an `hlm tfidf` command line.

    Raises:
        UserError: If it is wrong.
    """
    return _parser().parse_args(argv[1:])


def _parser() -> CommandParser:
    summary = "Train linear classifiers on TF-IDF, test them, and leave a run folder behind."
    use_strict_yaml()
    parser = CommandParser(prog="hlm tfidf", description=summary, allow_abbrev=False)
    parser.add_argument("--config", action="config", help="YAML file; later ones go on top.")
    parser.add_argument("--seed_everything", type=int, default=0, help="Seed of the classifiers.")
    for kind, name in ((TfidfLinear, "model"), (TextDataset, "data")):
        path = f"{kind.__module__}.{kind.__name__}"
        parser.add_subclass_arguments(kind, name, default={"class_path": path}, fail_untyped=True)
    parser.add_class_arguments(RunOptions, "trainer")
    return parser


@contextmanager
def _recorded(file: Path, record: dict[str, Any]) -> Iterator[None]:
    """Write the record before and after, whatever happens."""
    since = perf_counter()
    write_json(file, record)
    try:
        yield
        record["state"] = "finished"
    except BaseException as error:
        record["state"], record["error"] = end_of(error)
        raise
    finally:
        record["seconds"] = round(perf_counter() - since, 2)
        write_json(file, record)


def _run(options: Namespace, folder: Path) -> tuple[dict[str, float], dict[str, int | None]]:
    """Metrics of the validation and the test split, and the number of parameters."""
    data: TextDataset = options.data
    train, *others = (data.read(split) for split in ("train", "validation", "test"))
    single = data.kind != "multilabel"
    labels = Labels(train.documents, train.labels, len(train.texts), data.num_labels, single)
    texts = [text for part in others for text in part.texts]
    with _bar(options.trainer.enable_progress_bar, data.num_labels) as advance:
        found = options.model.fit_predict(
            train.texts, labels, texts, options.seed_everything, advance
        )
    metrics: dict[str, float] = {}
    start = 0
    for stage, name, rows in zip(("val", "test"), ("fit", "test"), others, strict=True):
        predicted = _part(found.pairs, start, len(rows.texts))
        scores = _scores(data, rows, predicted, stage)
        write_json(folder / f"{name}.json", scores)
        metrics |= scores
        start += len(rows.texts)
    _write_items(folder, data, rows, predicted)
    weights = found.num_classifiers * (found.num_features + 1)
    return metrics, {"total": weights, "encoder": None}


@contextmanager
def _bar(shown: bool, total: int) -> Iterator[Callable[[int], None]]:
    columns = (TextColumn("labels"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, disable=not shown) as bar:
        task = bar.add_task("", total=total)
        yield lambda labels: bar.update(task, advance=labels)


def _part(pairs: SparseTargets, start: int, size: int) -> SparseTargets:
    """Predictions of consecutive documents, numbered from 0."""
    inside = (pairs.documents >= start) & (pairs.documents < start + size)
    return SparseTargets(pairs.documents[inside] - start, pairs.labels[inside])


def _gold(rows: LabelledTexts) -> SparseTargets:
    return SparseTargets(torch.from_numpy(rows.documents), torch.from_numpy(rows.labels))


def _scores(
    data: TextDataset, rows: LabelledTexts, predicted: SparseTargets, stage: str
) -> dict[str, float]:
    """What a run of `hlm fit` logs, but for a loss."""
    if data.hierarchy is None:
        f1: LabelF1 | LevelF1 = LabelF1(data.num_labels)
        scores = {}
    else:
        f1 = LevelF1(data.hierarchy.level_offsets.tolist())
        consistency = PathConsistency(data.hierarchy.parents)
        consistency.update(predicted, len(rows.texts))
        scores = consistency.compute()
    f1.update(predicted, _gold(rows))
    return {f"{stage}/{name}": float(score) for name, score in (f1.compute() | scores).items()}


def _write_items(
    folder: Path, data: TextDataset, rows: LabelledTexts, predicted: SparseTargets
) -> None:
    offsets = None if data.hierarchy is None else data.hierarchy.level_offsets.tolist()
    writer = PartWriter(folder / TEST_ITEMS, 0, items_schema(data.num_labels, offsets))
    writer.write(item_columns(rows.item_ids, _gold(rows), predicted, rows.weights))
    writer.close()
