"""Messages of the libraries that say nothing to the user, each for a reason."""

import logging
import warnings

WARNINGS = [
    # Lightning calls torch's pytree by its old name.
    r".*treespec, LeafSpec.*",
    # The token cache feeds batches faster than any encoder takes them.
    r".*does not have many workers.*",
    # The order of batches is a function of the step: nothing of the loader has to be resumed.
    r".*your dataloader is not resumable.*",
    # The counts behind a score are summed over the ranks before it is computed.
    r".*sync_dist=True.*",
    # A batch knows its own rows.
    r".*Couldn't infer the batch indices.*",
    # ModelCheckpoint: a resumed run writes into its own new folder.
    r".*The dirpath has changed from.*",
]


LOGGED = [
    "Tip: For seamless",  # an advertisement
    "The following callbacks returned in",  # embeddings are written in the place of predictions
    "`weights_only` was not set",  # AtomicCheckpointIO reads with weights_only=True all the same
]


class _Filter(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        return not any(start in record.getMessage() for start in LOGGED)


def quieten() -> None:
    """Filter them out."""
    for pattern in WARNINGS:
        warnings.filterwarnings("ignore", pattern)
    for name in ("lightning.pytorch", "lightning.fabric"):
        for handler in logging.getLogger(name).handlers:
            handler.addFilter(_Filter())
