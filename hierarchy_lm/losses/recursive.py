"""Recursive regularisation: a class and its parent have similar weights (Gopal and Yang, 2013)."""

from torch import Tensor


def recursive_regularisation(weights: Tensor, parents: Tensor) -> Tensor:
    r"""Half the sum over edges of :math:`\lVert w_{parent} - w_{child} \rVert^2`.

    Args:
        weights: Of the classifier, one row per node.
        parents: Parent of each node, -1 at a root.

    Shape:
        - weights: ``(C, d)``
        - parents: ``(C,)`` int64
    """
    below = parents >= 0
    differences = weights[parents[below]] - weights[below]
    return 0.5 * differences.square().sum()
