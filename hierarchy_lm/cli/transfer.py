"""`hlm transfer`: masked language modelling, pre-training on the tree and fine-tuning in one."""

import json

from rich.console import Console

from data_modules.datasets import find_dataset
from hierarchy_lm.cli.transfer_encoders import Encoder, run_stage, trained_encoder
from hierarchy_lm.cli.transfer_options import OWN, Transfer, parse_transfer, starting_from
from hierarchy_lm.cli.workers import sigterm_raises

__all__ = ["parse_transfer", "run_transfer"]

HELP = """usage: hlm transfer --finetune YAML [--pretrain YAML] [--mlm YAML] [options of hlm fit]

Train up to three stages, each from the encoder of the one before, and test the last
(SST, Section V-C). Encoders of earlier stages are trained once and kept.

{own}

Any option of `hlm fit` goes to all stages, behind their YAML: --data.dataset D, --config LAYER.
--mlm.OPTION, --pretrain.OPTION and --finetune.OPTION are for one: --finetune.data.node_text leaf.
The run folder is the last stage's: trainer.default_root_dir."""


def run_transfer(argv: list[str]) -> int:
    """Run an `hlm transfer` command line. Returns the exit status.

    Raises:
        UserError: If the command line is wrong, or a stage fails.
    """
    if {"-h", "--help"} & set(argv):
        print(HELP.format(own="\n".join(f"  --{name:<15}{text}" for name, text in OWN.items())))
        return 0
    transfer = parse_transfer(argv)
    console = Console(stderr=True)
    with sigterm_raises():
        encoder = _pretrained(transfer, console)
        last = transfer.stages[-1]
        start = ["--config", json.dumps(starting_from(encoder.folder))] if encoder else []
        console.print(f"{last.name} ({last.config}): training", highlight=False, soft_wrap=True)
        run_stage(["fit", "--config", str(last.config), *last.arguments, *start], last.name)
    return 0


def _pretrained(transfer: Transfer, console: Console) -> Encoder | None:
    """The encoder of the last stage but one; None if there is none."""
    encoder = None
    for stage in transfer.stages[:-1]:
        fingerprint = find_dataset(stage.dataset).info.fingerprint
        encoder = trained_encoder(stage, encoder, fingerprint, transfer.encoders, console)
    return encoder
