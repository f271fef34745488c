"""A token cache seen by one classifier: its own labels, and augmented copies behind the items."""

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from data_modules.tokens import TokenStore


class NodeStore:
    """Rows of a token cache, then those of a second one, labelled with the classifier's labels.

    Args:
        base: The split's cache, labelled with nodes closed under ancestors.
        label_of: ``(C,)`` the label of each node, -1 where it is none of the classifier's.
        copies: Cache of augmented copies; their rows are numbered after those of ``base``.

    Attributes:
        lengths: ``(N,)`` tokens per document.
        label_counts: ``(N,)`` labels per document.
    """

    def __init__(
        self, base: TokenStore, label_of: NDArray[np.int64], copies: TokenStore | None = None
    ) -> None:
        self.base = base
        self.copies = copies
        self.label_of = label_of
        stores = [base] if copies is None else [base, copies]
        self.lengths: NDArray[np.int64] = np.concatenate([store.lengths for store in stores])
        documents, _ = self.labels(np.arange(len(self)))
        self.label_counts: NDArray[np.int64] = np.bincount(documents, minlength=len(self))

    def __len__(self) -> int:
        return len(self.base) + (len(self.copies) if self.copies else 0)

    def tokens(self, rows: NDArray[np.int64]) -> tuple[NDArray[np.int64], ...]:
        """As :meth:`TokenStore.tokens`."""
        parts = [(at, store.tokens(own)) for at, store, own in self._parts(rows)]
        if len(parts) == 1:
            return parts[0][1]
        shape = (len(rows), int(self.lengths[rows].max()))
        merged = (np.full(shape, self.base.meta["pad"]), np.zeros(shape, int), np.zeros(shape, int))
        for at, arrays in parts:
            for target, array in zip(merged, arrays, strict=True):
                target[at, : array.shape[1]] = array
        return merged

    def labels(self, rows: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The classifier's labels of the rows as coordinates ``(document, label)``."""
        found = [(at, *store.labels(own)) for at, store, own in self._parts(rows)]
        documents = np.concatenate([at[owners] for at, owners, _ in found])
        labels = self.label_of[np.concatenate([nodes for _, _, nodes in found])]
        documents, labels = documents[labels >= 0], labels[labels >= 0]
        order = np.argsort(documents, kind="stable")
        return documents[order], labels[order]

    def weights(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """Importance of the rows; a copy has that of its original."""
        merged = np.empty(len(rows), dtype=np.float32)
        for at, store, own in self._parts(rows):
            merged[at] = store.weights(own)
        return merged

    def item_ids(self, rows: NDArray[np.int64]) -> pa.Array:
        """Item ids of rows of the split itself."""
        return self.base.item_ids(rows)

    def _parts(
        self, rows: NDArray[np.int64]
    ) -> list[tuple[NDArray[np.int64], TokenStore, NDArray[np.int64]]]:
        """For each cache that holds some of the rows: where they stand, and their numbers there."""
        split = len(self.base)
        if self.copies is None or not (rows >= split).any():
            return [(np.arange(len(rows)), self.base, rows)]
        old, new = np.flatnonzero(rows < split), np.flatnonzero(rows >= split)
        parts = [(old, self.base, rows[old]), (new, self.copies, rows[new] - split)]
        return [part for part in parts if len(part[0])]
