"""Messages of the libraries that say nothing to the user, each for a reason."""

import logging
import warnings

WARNINGS = [
    # Lightning calls torch's pytree by its old name.
    r".*treespec, LeafSpec.*",
    # Checkpoints are read with weights_only=True whatever this says (AtomicCheckpointIO).
    r".*`weights_only` was not set.*",
    # The token cache feeds batches faster than any encoder takes them.
    r".*does not have many workers.*",
    # The order of batches is a function of the step: nothing of the loader has to be resumed.
    r".*your dataloader is not resumable.*",
    # ModelCheckpoint: a resumed run writes into its own new folder.
    r".*The dirpath has changed from.*",
]


class _Filter(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        message = record.getMessage()
        advert = "Tip: For seamless" in message
        return not advert and "`weights_only` was not set" not in message


def quieten() -> None:
    """Filter them out."""
    for pattern in WARNINGS:
        warnings.filterwarnings("ignore", pattern)
    for name in ("lightning.pytorch", "lightning.fabric"):
        for part in ("utilities.rank_zero", "callbacks.model_summary"):
            logging.getLogger(f"{name}.{part}").addFilter(_Filter())
