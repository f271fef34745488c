"""`hlm fit | validate | test | predict`: LightningCLI with this project's defaults and links."""

import tempfile
from importlib.resources import files
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

import torch
from jsonargparse import Namespace
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import LightningDataModule, LightningModule, Trainer
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI
from lightning.pytorch.utilities.exceptions import SIGTERMException

import data_modules.cascade
import data_modules.classification
import data_modules.products
import data_modules.tasks
import data_modules.texts  # noqa: F401
import hierarchy_lm.classification
import hierarchy_lm.embeddings
import hierarchy_lm.finetuning
import hierarchy_lm.pretraining  # noqa: F401  (imported classes have short names in the YAML)
from data_modules.datasets import dataset_path, find_dataset
from data_modules.wordpiece import train_wordpiece, wordpiece_folder
from hierarchy_lm.backbones import BackboneOptions, check_backbone, tokenizer_source
from hierarchy_lm.callbacks import PredictionWriter, RunRecord, TrainingSpeed
from hierarchy_lm.checkpoints import AtomicCheckpointIO, BestCheckpoint, LastCheckpoint
from hierarchy_lm.cli.messages import one_line
from hierarchy_lm.cli.parsing import OneLineParser
from hierarchy_lm.cli.quiet import quieten, speak
from hierarchy_lm.cli.strict_yaml import use_strict_yaml
from hierarchy_lm.dataset import HIERARCHY
from hierarchy_lm.embeddings.writer import check_output
from hierarchy_lm.errors import UserError
from hierarchy_lm.progress import ProgressBar
from hierarchy_lm.run_record import dataset_record
from hierarchy_lm.runs import find_checkpoint
from hierarchy_lm.test_items import ItemWriter
from hierarchy_lm.tracking import add_wandb_logger, end_wandb_run, settle_loggers

MONITOR = "val/micro_f1"


class HierarchyCLI(LightningCLI):
    """LightningCLI in subclass mode: any model of the package on any DataModule of the package."""

    def init_parser(self, **kwargs: Any) -> LightningArgumentParser:  # noqa: ANN401
        """A parser whose errors are one line."""
        use_strict_yaml()  # whatever another command in this process has set
        kwargs.setdefault("dump_header", [])
        kwargs.setdefault("allow_abbrev", False)  # a typo may be the beginning of an option
        parser = OneLineParser(**kwargs)
        parser.add_argument("--config", action="config", help="YAML file; later ones go on top.")
        return parser

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Checkpoints that every run keeps, and the values that follow from others."""
        parser.add_lightning_class_args(BestCheckpoint, "best_checkpoint")
        parser.add_lightning_class_args(LastCheckpoint, "last_checkpoint")
        parser.set_defaults(
            {
                "best_checkpoint.monitor": MONITOR,
                "best_checkpoint.mode": "max",
                "best_checkpoint.filename": "best",
                "best_checkpoint.auto_insert_metric_name": False,
                "best_checkpoint.enable_version_counter": False,
            }
        )
        parser.add_argument(
            "--test_after_fit",
            type=bool,
            default=False,
            help="After `fit`, test the best checkpoint.",
        )
        parser.link_arguments(
            "data.init_args.dataset", "model.init_args.hierarchy", compute_fn=_hierarchy_file
        )
        parser.link_arguments(
            ("data.init_args.dataset", "data.init_args.task"),
            "model.init_args.task",
            compute_fn=_task_folder,
        )
        parser.link_arguments("data.init_args.department", "model.init_args.department")
        parser.link_arguments("model.init_args.cascade", "data.init_args.cascade")
        for target in ("data", "model"):
            parser.link_arguments(
                ("data.init_args.dataset", "model.init_args.backbone"),
                f"{target}.init_args.tokenizer",
                compute_fn=_tokenizer,
            )

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:  # noqa: ANN401
        """Parse without Lightning's warning that the arguments came from Python."""
        self.config = parser.parse_args(args)

    def _parse_ckpt_path(self) -> None:
        """Leave the configuration alone: Lightning lets a checkpoint's values override flags."""

    def before_instantiate_classes(self) -> None:
        """Make what the configuration names: sample, tokenizer, run root, checkpoint path."""
        config = self.config[self.subcommand]
        root = writable(Path(config.trainer.default_root_dir))
        best_by = getattr(resolve_name(config.model.class_path), "best_by", None)
        best = best_by(config.model.init_args) if best_by else None
        if best and config.best_checkpoint.monitor == MONITOR:
            config.best_checkpoint.monitor, config.best_checkpoint.mode = best
        trained = "cascade" in config.model.init_args  # its weights are in the cascade folder
        if trained and (self.subcommand == "fit" or config.get("ckpt_path")):
            raise UserError("a Cascade is trained by `hlm fit-cascade`, and needs no --ckpt_path")
        embeds = config.model.class_path.endswith(".Embedder")  # it has no head
        if embeds and (self.subcommand != "predict" or config.get("ckpt_path")):
            raise UserError("an Embedder is for `hlm embed`; give its weights as model.backbone")
        if embeds and not config.trainer.logger:
            check_output(root)
        if config.get("ckpt_path"):
            config.ckpt_path = str(find_checkpoint(config.ckpt_path, root))
        elif self.subcommand != "fit" and not (trained or embeds):  # Lightning: random heads
            raise UserError(
                f"hlm {self.subcommand}: no checkpoint; give --ckpt_path best, last, a file or a "
                "run folder"
            )
        if self.subcommand == "fit":
            add_wandb_logger(config.trainer)
        settle_loggers(config.trainer, root)
        data = config.data.init_args
        _seed_data(data, config.seed_everything)
        dataset = find_dataset(data.dataset)
        self.save_config_kwargs["dataset"] = dataset_record(dataset)
        if trained:
            return
        backbone = _backbone_options(config.model.init_args.backbone)
        check_backbone(backbone)
        if tokenizer_source(backbone) is None:
            train_wordpiece(dataset.folder, backbone.vocab_size)

    def instantiate_classes(self) -> None:
        """Build model, data and trainer; a value they refuse is the user's mistake."""
        try:
            super().instantiate_classes()
        except ValueError as error:
            raise UserError(one_line(str(error))) from error

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:  # noqa: ANN401
        """The trainer, with checkpoints that are whole or absent."""
        options = self._get(self.config_init, "trainer")
        plugins = options.plugins or []
        plugins = plugins if isinstance(plugins, list) else [plugins]
        if options.enable_progress_bar is not False:
            options.callbacks = [*(options.callbacks or []), ProgressBar()]
        return super().instantiate_trainer(plugins=[*plugins, AtomicCheckpointIO()], **kwargs)

    def after_fit(self) -> None:
        """Test the best checkpoint if asked to."""
        if self.config.fit.test_after_fit:
            best = self._get(self.config_init, "best_checkpoint").best_model_path
            self.trainer.test(self.model, datamodule=self.datamodule, ckpt_path=best or None)


class _Parsed(HierarchyCLI):
    """Parses a command line of `hlm fit` and stops there."""

    @staticmethod
    def subcommands() -> dict[str, set[str]]:
        """`fit` alone, which is built in a third of the time of all four."""
        return {"fit": LightningCLI.subcommands()["fit"]}

    def _set_seed(self) -> None:
        """Leave the generators alone."""

    def before_instantiate_classes(self) -> None:
        """Make nothing."""

    def instantiate_classes(self) -> None:
        """Build nothing."""

    def _run_subcommand(self, subcommand: str) -> None:
        """Run nothing."""


def parse_fit(argv: list[str]) -> Any:  # noqa: ANN401  (a namespace of options)
    """The resolved configuration of an `hlm fit` command line.

    Raises:
        UserError: If it is wrong.
    """
    return _run(_Parsed, argv).config.fit


def _seed_data(data: Namespace, seed: int | bool | None) -> None:
    """Shuffle and resampling follow the run's seed unless they have one of their own."""
    if isinstance(seed, bool) or seed is None:
        return
    for options in (data.get("batch"), data.get("sampling")):
        if options is not None and options.seed is None:
            options.seed = seed


def _hierarchy_file(dataset: str) -> str:
    return str(dataset_path(dataset) / HIERARCHY)


def _task_folder(dataset: str, task: str) -> str:
    return str(dataset_path(dataset) / "tasks" / task)


def _tokenizer(dataset: str, backbone: Any) -> str:  # noqa: ANN401  (options or their namespace)
    """The backbone's own tokenizer, or the place of the one trained on the dataset."""
    options = _backbone_options(backbone)
    own = tokenizer_source(options)
    return own or str(wordpiece_folder(dataset_path(dataset), options.vocab_size))


def _backbone_options(backbone: Any) -> BackboneOptions:  # noqa: ANN401
    if isinstance(backbone, BackboneOptions):
        return backbone
    return BackboneOptions(**(backbone if isinstance(backbone, dict) else backbone.as_dict()))


def writable(root: Path) -> Path:
    """The run root, created and tried out before any work is done.

    Raises:
        UserError: If nothing can be written there.
    """
    try:
        root.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=root):
            return root
    except OSError as error:
        raise UserError(
            f"{root}: cannot write there ({error.strerror}); set trainer.default_root_dir"
        ) from error


def _run(cli: type[HierarchyCLI], argv: list[str]) -> HierarchyCLI:
    defaults = {"default_config_files": [str(files("hierarchy_lm") / "defaults.yaml")]}
    return cli(
        LightningModule,
        LightningDataModule,
        subclass_mode_model=True,
        subclass_mode_data=True,
        save_config_callback=RunRecord,
        save_config_kwargs={"command": ["hlm", *argv]},
        trainer_defaults={"callbacks": [TrainingSpeed(), PredictionWriter(), ItemWriter()]},
        seed_everything_default=0,
        parser_kwargs={command: defaults for command in cli.subcommands()},
        auto_configure_optimizers=False,
        args=argv,
    )


def run_trainer(argv: list[str]) -> int:
    """Parse and run one of the trainer's commands. Returns the exit status."""
    status = 1
    try:
        status = _train(argv)
    finally:
        end_wandb_run(status)
    return status


def _train(argv: list[str]) -> int:
    quieten()
    speak()
    try:
        _run(HierarchyCLI, argv)
    except MisconfigurationException as error:
        raise UserError(one_line(str(error))) from error
    except SIGTERMException:
        return 143  # Lightning's own status is 0, as if the run were finished
    except SystemExit as error:
        if isinstance(error.__context__, KeyboardInterrupt):
            return 130  # Lightning's own status for Ctrl-C is 1, as if the program were at fault
        raise
    finally:
        if torch.distributed.is_initialized():
            # Left to the end of the process, gloo's threads can abort it.
            torch.distributed.destroy_process_group()
    return 0
