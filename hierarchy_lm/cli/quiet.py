"""What a command prints: its own messages, and not those of libraries that say nothing."""

import logging
import os
import sys
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
    # Only a frozen encoder is: Backbone chooses its mode itself.
    r".*module\(s\) in eval mode at the start of training.*",
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


class _Stderr(logging.StreamHandler):  # type: ignore[type-arg]
    """Writes to the stderr of the moment, which a caller may exchange."""

    def emit(self, record: logging.LogRecord) -> None:
        self.stream = sys.stderr
        super().emit(record)


def speak() -> None:
    """Print what the package itself logs, once and not once per rank."""
    own = logging.getLogger("hierarchy_lm")
    if not own.handlers and os.environ.get("LOCAL_RANK", "0") == "0":
        own.addHandler(_Stderr())
        own.setLevel(logging.INFO)


def quieten() -> None:
    """Filter out messages that say nothing to the user, each for a reason."""
    for pattern in WARNINGS:
        warnings.filterwarnings("ignore", pattern)
    for name in ("lightning.pytorch", "lightning.fabric"):
        for handler in logging.getLogger(name).handlers:
            handler.addFilter(_Filter())
