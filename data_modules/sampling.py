"""Balance by resampling: at most so many items of every leaf (DHPC, Section C)."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class SamplingOptions:
    """How many training items each leaf gives.

    Attributes:
        per_leaf: Most items of a leaf, drawn without replacement; None takes all. The paper draws
            hundreds for a department classifier, thousands for a leaf classifier.
        oversample: Repeat the items of smaller leaves until they are ``per_leaf`` too.
        seed: Seed of the draw (and of the augmentation); by default that of the run
            (``seed_everything``), or 0 without the command line.
    """

    per_leaf: int | None = None
    oversample: bool = False
    seed: int | None = None

    def __post_init__(self) -> None:
        if self.per_leaf is not None and self.per_leaf < 1:
            raise ValueError(f"sampling.per_leaf must be at least 1, got {self.per_leaf}")
        if self.oversample and self.per_leaf is None:
            raise ValueError("sampling.oversample needs sampling.per_leaf, the size to reach")


class Draw(NamedTuple):
    """What was drawn.

    Attributes:
        items: Item numbers, ascending; repeated only where leaves are oversampled.
        leaves: ``(M,)`` the leaves that have items, ascending.
        available: ``(M,)`` items of each.
        drawn: ``(M,)`` draws of each; an item with two leaves is drawn for either.
    """

    items: NDArray[np.int64]
    leaves: NDArray[np.int64]
    available: NDArray[np.int64]
    drawn: NDArray[np.int64]


def draw(items: NDArray[np.int64], leaves: NDArray[np.int64], options: SamplingOptions) -> Draw:
    """Draw items leaf by leaf.

    Args:
        items: Item of each (item, leaf) pair.
        leaves: Leaf of each pair.
        options: How many; the draw is a function of the seed and the pairs.
    """
    if len(items) == 0:
        nothing = np.empty(0, dtype=np.int64)
        return Draw(nothing, nothing, nothing, nothing)
    lottery = np.random.default_rng(options.seed or 0).permutation(int(items.max()) + 1)
    order = np.lexsort((lottery[items], leaves))
    present, first, available = np.unique(leaves[order], return_index=True, return_counts=True)
    wanted = np.full(len(present), options.per_leaf) if options.per_leaf else available
    place = np.arange(len(order)) - np.repeat(first, available)
    rounds, rest = np.divmod(wanted, available)
    times = np.repeat(rounds, available) + (place < np.repeat(rest, available))
    if not options.oversample:
        times = np.minimum(times, 1)
    drawn = np.add.reduceat(times, first)
    chosen = np.sort(np.repeat(items[order], times))
    return Draw(chosen if options.oversample else np.unique(chosen), present, available, drawn)
