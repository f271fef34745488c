"""In which numbers sums are taken."""

import torch
from torch import Tensor


def at_least_float32(values: Tensor) -> Tensor:
    """Half precision as float32, anything wider as it is.

    Sums over thousands of nodes, logarithms and margins are lost in half precision; a run in
    float64 keeps its own.
    """
    return values if values.dtype == torch.float64 else values.float()
