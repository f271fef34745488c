"""Who is related to whom in a tree, in tables of levels x nodes."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn


class Relatives(nn.Module):
    """Distances and ranges of relatives, looked up for many nodes at once.

    Nodes are numbered by (level, path), so that the nodes of a level below the same ancestor are
    one range of ids.

    Args:
        parents: Parent of each node, -1 at a root.
        level_offsets: ``L + 1`` numbers; level l holds the ids from ``level_offsets[l - 1]`` up to
            ``level_offsets[l]``, exclusive.

    Attributes:
        parents: ``(C,)`` int64.
        ancestors: ``(L, C)`` int64; row l is each node's ancestor on level l + 1, the node itself
            on its own level, -1 below.
        levels: ``(C,)`` int64, from 1.
        ranges: ``(3, 2, C)`` int64, first id and the one behind the last, of a node's siblings, of
            these with its cousins, and of its level; all hold the node itself. Roots are siblings.
    """

    parents: Tensor
    ancestors: Tensor
    levels: Tensor
    ranges: Tensor

    def __init__(self, parents: NDArray[np.int32], level_offsets: Sequence[int]) -> None:
        super().__init__()
        self.depth = len(level_offsets) - 1
        levels = np.repeat(np.arange(1, self.depth + 1), np.diff(level_offsets))
        tables = {
            "parents": parents.astype(np.int64),
            "ancestors": _ancestors(parents, level_offsets),
            "levels": levels,
            "ranges": _ranges(parents.astype(np.int64), levels),
        }
        for name, table in tables.items():
            self.register_buffer(name, torch.from_numpy(table).long(), persistent=False)

    def distance(self, left: Tensor, right: Tensor) -> Tensor:
        """Edges on the way between pairs of nodes; roots are joined by a node above them.

        Shape:
            - left, right, output: ``(N,)`` int64
        """
        above = self.ancestors[:, left]
        common = ((above == self.ancestors[:, right]) & (above >= 0)).sum(dim=0)
        return self.levels[left] + self.levels[right] - 2 * common


def _ancestors(parents: NDArray[np.int32], level_offsets: Sequence[int]) -> NDArray[np.int64]:
    table = np.full((len(level_offsets) - 1, len(parents)), -1, dtype=np.int64)
    for level, (start, end) in enumerate(pairwise(level_offsets)):
        if level:
            table[:level, start:end] = table[:level, parents[start:end]]
        table[level, start:end] = np.arange(start, end)
    return table


def _ranges(parents: NDArray[np.int64], levels: NDArray[np.int64]) -> NDArray[np.int64]:
    grandparents = np.where(parents < 0, -1, parents[parents])
    nobody = np.full_like(parents, -1)
    return np.stack([_runs(levels, above) for above in (parents, grandparents, nobody)])


def _runs(levels: NDArray[np.int64], groups: NDArray[np.int64]) -> NDArray[np.int64]:
    """``(2, C)`` first id and the one behind the last of those of the same level and group."""
    changes = (np.diff(levels) != 0) | (np.diff(groups) != 0)
    bounds = np.concatenate([[0], np.flatnonzero(changes) + 1, [len(groups)]])
    run = np.repeat(np.arange(len(bounds) - 1), np.diff(bounds))
    return np.stack([bounds[run], bounds[run + 1]])
