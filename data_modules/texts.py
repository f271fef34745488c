"""Texts of products, for pre-training that needs no labels."""

from dataclasses import replace

from data_modules.base import Split, TokenDataModule
from data_modules.batching import BatchOptions
from data_modules.products import product_source
from hierarchy_lm.text import TextOptions


class TextDataModule(TokenDataModule):
    """All products of a dataset folder, those without a node included.

    The token cache is the one of ``ProductDataModule``, so a later stage on the same dataset does
    not tokenise again.

    Args:
        dataset: Dataset folder, or ``sample``.
        tokenizer: Folder or hub id of the tokenizer; the command line takes it from the backbone.
        text: How fields become tokens.
        batch: Size of a batch.
        num_workers: Loader processes; the token cache rarely needs any.
        cache_dir: Where the token cache goes; by default ``.cache`` in the dataset folder.
        predict_split: The split that ``hlm predict`` reads, or ``all``.
    """

    def __init__(
        self,
        dataset: str,
        tokenizer: str,
        text: TextOptions = TextOptions(),
        batch: BatchOptions = BatchOptions(),
        num_workers: int = 0,
        cache_dir: str | None = None,
        predict_split: Split = "test",
    ) -> None:
        source, _ = product_source(dataset, cache_dir)
        source = replace(source, labelled_only=False)
        super().__init__(source, tokenizer, text, batch, num_workers, predict_split)
