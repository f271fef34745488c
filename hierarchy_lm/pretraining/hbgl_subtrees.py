"""Connected parts of the tree that fit into one sequence (SST, Section V-D)."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from hierarchy_lm.errors import UserError
from hierarchy_lm.hierarchy import Hierarchy


class Subtree(NamedTuple):
    """Some nodes of the tree with the links among them.

    Attributes:
        nodes: Ids, ascending, so that a parent stands before its children.
        parents: Place of each one's parent in ``nodes``, -1 where it is not there.
    """

    nodes: NDArray[np.int64]
    parents: NDArray[np.int64]

    @property
    def leaves(self) -> NDArray[np.bool_]:
        """Nodes without a child among the others."""
        leaves = np.ones(len(self.nodes), dtype=bool)
        leaves[self.parents[self.parents >= 0]] = False
        return leaves


class SubtreeSampler:
    """Draws connected sets of ``min_nodes`` to ``max_nodes`` nodes.

    A size is drawn evenly; a top node, with probability proportional to the root of the number of
    nodes below it, among those with at least ``min_nodes``; then the set grows from it by a
    uniformly drawn child of any of its nodes at a time. Above the roots stands [CLS], which can be
    the top as well: so nodes of small departments are reached too, and a tree that is smaller than
    ``min_nodes`` is one set.

    Args:
        tree: The tree.
        min_nodes: Least size.
        max_nodes: Largest size.
        include_ancestors: Put the nodes above the top node in, as part of the size.

    Attributes:
        mean_size: Expected number of nodes, without ancestors.

    Raises:
        UserError: If the nodes above a top node may be more than a whole set.
    """

    def __init__(
        self, tree: Hierarchy, min_nodes: int, max_nodes: int, include_ancestors: bool
    ) -> None:
        if include_ancestors and min_nodes < tree.depth:
            raise UserError(
                f"model.labels.min_nodes is {min_nodes}, but with include_ancestors it has to be "
                f"at least the {tree.depth} levels of the tree; raise it"
            )
        self.tree, self.include_ancestors = tree, include_ancestors
        self.min_nodes = min(min_nodes, tree.num_nodes)
        self.max_nodes = min(max_nodes, tree.num_nodes)
        sizes = _sizes(tree)
        (large,) = np.nonzero((sizes >= min_nodes) & ~tree.is_leaf)
        self.large = set(large.tolist())
        self.tops = np.concatenate([[-1], large])  # -1 is [CLS]
        below = np.concatenate([[tree.num_nodes], sizes[large]])
        self.weights = np.sqrt(below) / np.sqrt(below).sum()
        drawn = np.arange(self.min_nodes, self.max_nodes + 1)
        self.mean_size = float(self.weights @ np.minimum(drawn, below[:, None]).mean(axis=1))

    def draw(self, random: Generator, through: int = -1) -> Subtree:
        """The next set.

        Args:
            random: The draws.
            through: A node to be in it; its top is then the lowest above that has enough below.
        """
        size = int(random.integers(self.min_nodes, self.max_nodes + 1))
        top = int(random.choice(self.tops, p=self.weights))
        path = [] if through < 0 else [*self.tree.ancestors(through), through]
        if path:
            top = max([node for node in path if node in self.large], default=-1)
            path = path[path.index(top) + 1 :] if top >= 0 else path
        above = self.tree.ancestors(top) if self.include_ancestors and top >= 0 else []
        grown = self._grow(top, size - len(above), random, path)
        nodes = np.concatenate([np.array(above, dtype=np.int64), grown])
        parents = self.tree.parents[nodes].astype(np.int64)
        places = np.searchsorted(nodes, parents).clip(max=len(nodes) - 1)
        return Subtree(nodes, np.where(nodes[places] == parents, places, -1))

    def _grow(
        self, top: int, size: int, random: Generator, path: Sequence[int] = ()
    ) -> NDArray[np.int64]:
        """The first nodes that a fire reaches which takes an exponential time for every link.

        The exponential distribution has no memory: whatever burns, each child of a burning node is
        equally likely to be next. So this is growth by uniform draws, without its loop over nodes.
        A given path below the top burns first.
        """
        times = np.full(self.tree.num_nodes, np.inf)
        if top < 0:
            roots = self.tree.level_sizes[0]
            times[:roots] = random.exponential(size=roots)
        else:
            times[top] = 0.0
        first = {int(self.tree.levels[node]) - 1: node for node in path}
        times[first.get(0, [])] = 0.0
        for level in range(1 if top < 0 else int(self.tree.levels[top]), self.tree.depth):
            start, end = self.tree.level_offsets[level : level + 2]
            above = times[self.tree.parents[start:end]]
            times[start:end] = above + random.exponential(size=end - start)
            times[first.get(level, [])] = level * 1e-9
        size = min(size, int(np.isfinite(times).sum()))
        return np.sort(np.argpartition(times, size - 1)[:size])


def _sizes(tree: Hierarchy) -> NDArray[np.int64]:
    """Number of nodes at or below each node."""
    sizes = np.ones(tree.num_nodes, dtype=np.int64)
    for level in range(tree.depth - 1, 0, -1):
        nodes = slice(tree.level_offsets[level], tree.level_offsets[level + 1])
        np.add.at(sizes, tree.parents[nodes], sizes[nodes])
    return sizes
