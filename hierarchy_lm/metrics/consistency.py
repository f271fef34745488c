"""Do the predicted nodes make whole paths?"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchmetrics import Metric

from hierarchy_lm.batches import SparseTargets


class PathConsistency(Metric):
    """Share of the documents whose predicted nodes are closed under ancestors.

    A set of nodes is closed if the parent of each is in it too; this is the hierarchy constraint
    of Giunchiglia and Lukasiewicz (2020). Gold nodes play no part: a whole path may be a wrong one.
    The empty set would be closed by definition, so that a model that answers nothing would be
    perfect. Documents without a prediction are therefore left out, and counted on their own.

    Args:
        parents: ``(C,)`` parent of each node, -1 at a root.
    """

    full_state_update = False
    higher_is_better = True
    is_differentiable = False
    counts: Tensor
    parents: Tensor

    def __init__(self, parents: NDArray[np.int32]) -> None:
        super().__init__()
        self.register_buffer("parents", torch.from_numpy(parents).long(), persistent=False)
        # Documents, those with a prediction, the closed ones; predicted nodes, those with a parent.
        self.add_state("counts", torch.zeros(5, dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, predicted: SparseTargets, num_documents: int) -> None:
        """Add the predictions for a batch, each pair once."""
        closed = _roots_or_below_predicted(predicted, self.parents)
        answered = torch.zeros(num_documents, dtype=torch.bool, device=closed.device)
        broken = answered.clone()
        answered[predicted.documents] = True
        broken[predicted.documents[~closed]] = True
        whole = (answered & ~broken).sum()
        self.counts[0] += num_documents
        self.counts[1:3] += torch.stack([answered.sum(), whole])
        self.counts[3] += len(closed)
        self.counts[4] += closed.sum()

    def compute(self) -> dict[str, Tensor]:
        """The shares, 0 where there is nothing to share.

        - ``path_consistency``: closed predictions among the documents with a prediction
        - ``node_consistency``: predicted nodes that are roots or whose parent is predicted
        - ``unanswered``: documents without a prediction
        """
        documents, answered, whole, nodes, with_parent = self.counts.double()
        return {
            "path_consistency": (whole / answered.clamp(min=1)).float(),
            "node_consistency": (with_parent / nodes.clamp(min=1)).float(),
            "unanswered": ((documents - answered) / documents.clamp(min=1)).float(),
        }


def _roots_or_below_predicted(predicted: SparseTargets, parents: Tensor) -> Tensor:
    """``(Q,)`` of each pair: is its node a root, or its parent predicted for the document?"""
    above = parents[predicted.labels]
    pairs = predicted.documents * len(parents) + predicted.labels
    wanted = predicted.documents * len(parents) + above
    return (above < 0) | torch.isin(wanted, pairs)
