"""What the data package hands to the models: plain tuples that pin, move and unpack."""

from typing import NamedTuple

import torch
from torch import Tensor


class TokenBatch(NamedTuple):
    """Padded token ids of B documents.

    Shape:
        - input_ids, token_type_ids: ``(B, T)`` int64
        - attention_mask: ``(B, T)`` int64, 1 on tokens and 0 on padding
    """

    input_ids: Tensor
    token_type_ids: Tensor
    attention_mask: Tensor


class SparseTargets(NamedTuple):
    """The positives of B multi-label documents as coordinates, never as a ``(B, C)`` matrix.

    Shape:
        - documents, labels: ``(P,)`` int64; the pair (documents[i], labels[i]) is a positive,
          each pair once, sorted by document
    """

    documents: Tensor
    labels: Tensor

    def dense(self, batch_size: int, num_labels: int) -> Tensor:
        """Multi-hot float32 matrix ``(batch_size, num_labels)``; for tests and small label sets."""
        targets = torch.zeros(batch_size, num_labels, device=self.labels.device)
        targets[self.documents, self.labels] = 1.0
        return targets


class ProductBatch(NamedTuple):
    """Documents with their labels.

    Attributes:
        tokens: B documents.
        targets: Their positives: node ids closed under ancestors, or task labels.
        rows: ``(B,)`` int64 row numbers inside the split, for tracing and predictions.
        weights: ``(B,)`` float32 importance of the items to the business; 1 where it is unknown.
        loss_scale: B * world size / documents of the global batch. Multiplying a rank's mean
            loss by it makes DDP's average over ranks the mean over the global batch; 0 on a rank
            that only repeats a document to keep the ranks in step.
    """

    tokens: TokenBatch
    targets: SparseTargets
    rows: Tensor
    weights: Tensor
    loss_scale: float
