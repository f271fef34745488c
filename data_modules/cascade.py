"""Windows of products for a cascade."""

from pathlib import Path

from data_modules.base import Split, TokenDataModule
from data_modules.batching import BatchOptions
from data_modules.products import LabelColumn, product_source
from hierarchy_lm.cascade_folder import read_cascade
from hierarchy_lm.text import TextOptions


class CascadeDataModule(TokenDataModule):
    """All products of a split, tokenised as the cascade was trained, in large windows.

    A window's items have similar lengths. Rows without a node are left out of an evaluation, not of
    a prediction.

    Args:
        dataset: Dataset folder, or ``sample``.
        cascade: The cascade folder; the command line takes it from the model.
        window: Most items of a window.
        label_column: ``true_node_ids`` evaluates a generated catalogue against the truth.
        num_workers: Loader processes; the token cache rarely needs any.
        cache_dir: Where the token cache goes; by default ``.cache`` in the dataset folder.
        predict_split: The split that ``hlm predict`` reads, or ``all``.
    """

    def __init__(
        self,
        dataset: str,
        cascade: str,
        window: int = 8192,
        label_column: LabelColumn = "node_ids",
        num_workers: int = 0,
        cache_dir: str | None = None,
        predict_split: Split = "test",
    ) -> None:
        if window < 1:
            raise ValueError(f"data.window must be at least 1, got {window}")
        folder = Path(cascade)
        text = TextOptions(**read_cascade(folder).text)
        source, self.hierarchy = product_source(dataset, cache_dir, label_column)
        batch = BatchOptions(tokens=window * text.max_length, documents=window)
        super().__init__(source, str(folder / "tokenizer"), text, batch, num_workers, predict_split)
