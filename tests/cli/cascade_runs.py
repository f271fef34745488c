"""What the tests of `hlm test` and `hlm predict` of a cascade share."""

from ..conftest import ROOT

CONFIG = ROOT / "experiments" / "cascade.yaml"


def run_cascade(hlm, cascade, root, command, *options, dataset):
    """Status, stdout and stderr of the command, whose runs are kept below ``root``."""
    return hlm(
        *(command, "--config", CONFIG, f"--model.cascade={cascade}"),
        *(f"--data.dataset={dataset}", f"--trainer.default_root_dir={root}"),
        *("--trainer.enable_progress_bar=false", *options),
    )
