"""The `hlm` command: the only place that sees both packages."""

import os
import sys
from collections.abc import Sequence

from hierarchy_lm import __version__
from hierarchy_lm.errors import UserError

TRAINER_COMMANDS = {
    "fit": "train a model",
    "validate": "evaluate a checkpoint on the validation split",
    "test": "evaluate a checkpoint on the test split",
    "predict": "write predictions to Parquet",
    "embed": "write embeddings to Parquet",
    "tfidf": "train and test linear classifiers on TF-IDF, without a network",
    "transfer": "pre-train, fine-tune and test in one, with encoders trained once",
}
OTHER_COMMANDS = {
    "sample": "generate a realistic catalogue with known noise",
    "prepare": "turn a catalogue into a dataset folder",
    "check": "read a whole dataset folder and compare it with its dataset.json",
    "export": "write a run's encoder as a Hugging Face folder",
    "compare": "print a table of finished runs",
    "fit-cascade": "train a department classifier and all leaf classifiers",
    "sweep": "run a grid or a random search of Weights & Biases on this machine",
    "table": "print the table of a sweep beside the paper's",
    "calibrate": "fit temperatures and choose thresholds for a target accuracy",
    "report": "write a page about a tested cascade, runs or a sweep",
    "embedding-report": "write a page on what embeddings know of the tree",
}


def main(args: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        args: Command line without the program's name; by default that of the process.

    Returns:
        Exit status: 0 for success, 1 if runs of a sweep failed, 2 for a mistake in the input, 130
        after Ctrl-C, 143 after SIGTERM. Faults of the program itself raise.
    """
    argv = list(sys.argv[1:] if args is None else args)
    try:
        return _run(argv)
    except UserError as error:
        if os.environ.get("HLM_DEBUG"):
            raise
        if os.environ.get("LOCAL_RANK", "0") == "0":  # once, not once per rank
            print(f"hlm: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


def _run(argv: list[str]) -> int:
    command = argv[0] if argv else "--help"
    if command == "embed":
        from hierarchy_lm.cli.embed import run_embed

        return run_embed(argv[1:])
    if command == "tfidf":
        from hierarchy_lm.cli.tfidf import run_tfidf

        return run_tfidf(argv)
    if command == "transfer":
        from hierarchy_lm.cli.transfer import run_transfer

        return run_transfer(argv)
    if command in TRAINER_COMMANDS:
        from hierarchy_lm.cli.training import run_trainer

        return run_trainer(argv)
    if command in OTHER_COMMANDS:
        from hierarchy_lm.cli.commands import run_command

        return run_command(command, argv[1:])
    if command in ("-h", "--help"):
        print(_usage())
        return 0
    if command == "--version":
        print(f"hlm {__version__}")
        return 0
    raise UserError(f"unknown command '{command}'; see hlm --help")


def _usage() -> str:
    commands = {**OTHER_COMMANDS, **TRAINER_COMMANDS}
    lines = [f"  {name:<18}{text}" for name, text in commands.items()]
    return "\n".join(
        ["usage: hlm COMMAND [options]", "", *lines, "", "hlm COMMAND --help lists its options."]
    )


if __name__ == "__main__":
    sys.exit(main())
