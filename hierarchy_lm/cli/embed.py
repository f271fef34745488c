"""`hlm embed`: the trainer's prediction with an encoder alone, into a folder of its own."""

import sys

from hierarchy_lm.cli.training import run_trainer

OUTPUT = "--output"
HELP = """usage: hlm embed --config FILE --output FOLDER [options of `hlm predict`]

Write the embeddings of a dataset, or of a split of it, to Parquet (docs/embeddings.md).

  --model.backbone.init_from RUN      encoder of a run folder, a checkpoint or an exported folder
  --model.backbone.name NAME          with --model.backbone.pretrained hub: published encoder
  --model.pooling {cls,mean}          [CLS], or the mean over the tokens
  --model.dtype {float32,float16}     type of the stored numbers
  --data.dataset FOLDER               dataset, or sample
  --data.predict_split SPLIT          train, validation, test or all
  --trainer.devices N                 processes, each of which writes a part

All others: hlm predict --help, hlm predict --model.help Embedder
"""


def run_embed(argv: list[str]) -> int:
    """Run ``hlm predict`` with an :class:`Embedder`. Returns the exit status."""
    if {"-h", "--help"} & set(argv):
        sys.stdout.write(HELP)
        return 0
    root = "--trainer.default_root_dir"
    renamed = [
        root + option.removeprefix(OUTPUT)
        if option == OUTPUT or option.startswith(OUTPUT + "=")
        else option
        for option in argv
    ]
    classes = ["--model=Embedder", "--data=ProductDataModule"]
    # Without a logger, the output is the run's folder.
    return run_trainer(["predict", *classes, *renamed, "--trainer.logger=false"])
