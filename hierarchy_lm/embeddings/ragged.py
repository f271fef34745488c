"""Lists of different lengths without a loop."""

import numpy as np
from numpy.typing import NDArray


def unroll(sizes: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """For lists of the given sizes, the number of the list and the place in it of every entry."""
    owners = np.repeat(np.arange(len(sizes)), sizes)
    starts = np.cumsum(sizes) - sizes
    return owners, np.arange(len(owners)) - starts[owners]
