"""`hlm fit | validate | test | predict`: LightningCLI with this project's defaults and links."""

import os
from importlib.resources import files
from pathlib import Path
from typing import Any

from jsonargparse import Namespace
from lightning.pytorch import LightningDataModule, LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI

from data_modules import ProductDataModule, TaskDataModule  # noqa: F401  (names for the YAML)
from data_modules.datasets import dataset_path, find_dataset
from data_modules.wordpiece import train_wordpiece
from hierarchy_lm.backbones import BackboneOptions, tokenizer_source
from hierarchy_lm.callbacks import PredictionWriter, RunRecord, TrainingSpeed
from hierarchy_lm.checkpoints import AtomicCheckpointIO, LastCheckpoint
from hierarchy_lm.cli.parsing import OneLineParser
from hierarchy_lm.errors import UserError
from hierarchy_lm.finetuning import DownstreamFinetuner  # noqa: F401
from hierarchy_lm.pretraining import SSTPretrainer  # noqa: F401
from hierarchy_lm.runs import find_checkpoint
from hierarchy_lm.tracking import settle_wandb

COMMANDS = ("fit", "validate", "test", "predict")


class HierarchyCLI(LightningCLI):
    """LightningCLI in subclass mode: any model of the package on any DataModule of the package."""

    def init_parser(self, **kwargs: Any) -> LightningArgumentParser:  # noqa: ANN401
        """A parser whose errors are one line."""
        kwargs.setdefault("dump_header", [])
        parser = OneLineParser(**kwargs)
        parser.add_argument("--config", action="config", help="YAML file; later ones go on top.")
        return parser

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Checkpoints that every run keeps, and the values that follow from others."""
        parser.add_lightning_class_args(ModelCheckpoint, "best_checkpoint")
        parser.add_lightning_class_args(LastCheckpoint, "last_checkpoint")
        parser.set_defaults(
            {
                "best_checkpoint.monitor": "val/micro_f1",
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
        for target in ("data", "model"):
            parser.link_arguments(
                ("data.init_args.dataset", "model.init_args.backbone"),
                f"{target}.init_args.tokenizer",
                compute_fn=tokenizer_of,
            )

    def _parse_ckpt_path(self) -> None:
        """Leave the configuration alone: Lightning lets a checkpoint's values override flags."""

    def before_instantiate_classes(self) -> None:
        """Make what the configuration names: sample, tokenizer, run root, checkpoint path."""
        config = self.config[self.subcommand]
        root = _writable(Path(config.trainer.default_root_dir))
        if config.get("ckpt_path"):
            config.ckpt_path = str(find_checkpoint(config.ckpt_path, root))
        settle_logger(config.trainer, root)
        data = config.data.init_args
        dataset = find_dataset(data.dataset)
        backbone = BackboneOptions(**config.model.init_args.backbone.as_dict())
        if tokenizer_source(backbone) is None:
            train_wordpiece(dataset, backbone.vocab_size)

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:  # noqa: ANN401
        """The trainer, with checkpoints that are whole or absent."""
        plugins = self._get(self.config_init, "trainer.plugins") or []
        plugins = plugins if isinstance(plugins, list) else [plugins]
        return super().instantiate_trainer(plugins=[*plugins, AtomicCheckpointIO()], **kwargs)

    def after_fit(self) -> None:
        """Test the best checkpoint if asked to."""
        if self.config.fit.test_after_fit and not self.trainer.received_sigterm:
            best = self.trainer.checkpoint_callback.best_model_path
            self.trainer.test(self.model, datamodule=self.datamodule, ckpt_path=best or None)


def run_trainer(argv: list[str]) -> int:
    """Parse and run one of the trainer's commands. Returns the exit status."""
    defaults = str(files("hierarchy_lm") / "defaults.yaml")
    cli = HierarchyCLI(
        LightningModule,
        LightningDataModule,
        subclass_mode_model=True,
        subclass_mode_data=True,
        save_config_callback=RunRecord,
        save_config_kwargs={"save_to_log_dir": False},
        trainer_defaults={"callbacks": [TrainingSpeed(), PredictionWriter()]},
        seed_everything_default=0,
        parser_kwargs={command: {"default_config_files": [defaults]} for command in COMMANDS},
        auto_configure_optimizers=False,
        args=argv,
    )
    return 143 if cli.trainer.received_sigterm else 0
