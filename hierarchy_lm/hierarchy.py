"""The category tree: sorted node ids, paths, levels and ancestors."""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from hierarchy_lm.dataset import HIERARCHY_SCHEMA, PATH_SEPARATOR
from hierarchy_lm.edges import MAX_DEPTH, MultiParent, NodePath, paths_of_edges
from hierarchy_lm.errors import UserError
from hierarchy_lm.hierarchy_table import KEY, check_column, read_columns
from hierarchy_lm.parquet import HIERARCHY_KEY

LARGEST = "largest"
"""Stands for the department with the most leaves."""


class Hierarchy:
    """A forest whose nodes are numbered by (level, path), so that a level is one range of ids.

    A node's key is its path from the root, since names repeat ("Accessories"). Roots are level 1;
    an artificial super-root is no node.

    Args:
        paths: Distinct name paths, closed under prefixes, sorted by (length, joined path).

    Attributes:
        paths: Joined path of each node.
        names: Last name of each path.
        parents: ``(C,)`` int32, -1 at a root.
        levels: ``(C,)`` int16.
        level_offsets: ``(L + 1,)`` int64; level l holds the ids from ``level_offsets[l - 1]`` up to
            ``level_offsets[l]``, exclusive.
        is_leaf: ``(C,)`` bool.
        keys: The key that the shop's own tree file gave each node, None where it gave none.
        key_to_ids: The node ids of each of these keys.
    """

    def __init__(self, paths: Sequence[NodePath]) -> None:
        if not paths:
            raise UserError("the tree is empty; give at least one node")
        self.paths = [PATH_SEPARATOR.join(path) for path in paths]
        self.names = [path[-1] for path in paths]
        self.levels: NDArray[np.int16] = np.array([len(path) for path in paths], dtype=np.int16)
        self._id_of = {path: node for node, path in enumerate(self.paths)}
        self.parents: NDArray[np.int32] = np.array(
            [self._id_of[PATH_SEPARATOR.join(path[:-1])] if path[1:] else -1 for path in paths],
            dtype=np.int32,
        )
        counts = np.bincount(self.levels)[1:]
        self.level_offsets: NDArray[np.int64] = np.concatenate([[0], np.cumsum(counts)])
        self.is_leaf: NDArray[np.bool_] = np.ones(len(paths), dtype=bool)
        self.is_leaf[self.parents[self.parents >= 0]] = False
        self.set_keys({})

    def set_keys(self, key_to_ids: Mapping[str, Sequence[int]]) -> None:
        """Say which nodes each key of the shop stands for; of a node's keys the first is kept."""
        self.key_to_ids = {key: list(ids) for key, ids in key_to_ids.items()}
        self.keys: list[str | None] = [None] * self.num_nodes
        for key, ids in self.key_to_ids.items():
            for node in ids:
                self.keys[node] = key if self.keys[node] is None else self.keys[node]

    @classmethod
    def from_paths(cls, paths: Iterable[Sequence[str]]) -> "Hierarchy":
        """Tree of all given name paths and their prefixes.

        Raises:
            UserError: If there is no path, a name is empty or holds the separator, or a path is
                deeper than ``MAX_DEPTH``.
        """
        nodes: set[NodePath] = set()
        for names in paths:
            path = tuple(names)
            _check_names(path)
            nodes.update(path[:depth] for depth in range(1, len(path) + 1))
        return cls(sorted(nodes, key=lambda path: (len(path), PATH_SEPARATOR.join(path))))

    @classmethod
    def from_edges(
        cls,
        keys: Sequence[str],
        parent_keys: Sequence[str | None],
        names: Sequence[str],
        multi_parent: MultiParent = "error",
    ) -> "Hierarchy":
        """Tree of an edge table; see :func:`hierarchy_lm.edges.paths_of_edges`."""
        by_key = paths_of_edges(keys, parent_keys, names, multi_parent)
        tree = cls.from_paths(path for paths in by_key.values() for path in paths)
        tree.set_keys(
            {
                key: [tree.node_of(PATH_SEPARATOR.join(path)) for path in paths]
                for key, paths in by_key.items()
            }
        )
        return tree

    @classmethod
    def from_parquet(cls, path: Path) -> "Hierarchy":
        """Read ``hierarchy.parquet`` and check it wholly.

        Raises:
            UserError: If the file is missing or broken, or breaks the rules of docs/dataset.md.
        """
        table = read_columns(path)
        paths = [tuple(joined.split(PATH_SEPARATOR)) for joined in table["path"].to_pylist()]
        try:
            for names in paths:
                _check_names(names)
            tree = cls(paths)
        except UserError as error:
            raise UserError(f"{path}: {error}") from error
        except KeyError as error:
            raise UserError(f"{path}: the tree lacks the parent node {error}") from error
        for column, expected in tree._columns().items():
            check_column(path, column, table[column].to_numpy(), np.asarray(expected))
        keys = list(zip(tree.levels.tolist(), tree.paths, strict=True))
        if keys != sorted(set(keys)):
            raise UserError(f"{path}: nodes must be distinct and sorted by (level, path)")
        named = (table.schema.metadata or {}).get(HIERARCHY_KEY)
        if named not in (None, tree.fingerprint.encode()):
            raise UserError(f"{path}: its paths were changed; prepare the dataset again")
        tree._read_keys(table[KEY].to_pylist())
        return tree

    def _read_keys(self, keys: Sequence[str | None]) -> None:
        key_to_ids: dict[str, list[int]] = {}
        for node, key in enumerate(keys):
            if key is not None:
                key_to_ids.setdefault(key, []).append(node)
        self.set_keys(key_to_ids)

    def to_parquet(self, path: Path) -> None:
        """Write the table that :meth:`from_parquet` reads."""
        schema = HIERARCHY_SCHEMA.with_metadata({HIERARCHY_KEY: self.fingerprint})
        table = pa.table({**self._columns(), KEY: self.keys}, schema=schema)
        pq.write_table(table, path, write_page_checksum=True)

    def _columns(self) -> dict[str, Any]:
        return {
            "node_id": np.arange(self.num_nodes, dtype=np.int32),
            "parent_id": self.parents,
            "level": self.levels,
            "name": self.names,
            "path": self.paths,
        }

    @property
    def num_nodes(self) -> int:
        """C, the number of nodes of all levels."""
        return len(self.paths)

    @property
    def depth(self) -> int:
        """L, the number of levels."""
        return len(self.level_offsets) - 1

    @property
    def level_sizes(self) -> list[int]:
        """Nodes of each level, roots first."""
        return [int(size) for size in np.diff(self.level_offsets)]

    @property
    def fingerprint(self) -> str:
        """Hash of all paths; equal fingerprints mean equal node ids."""
        return hashlib.sha256(json.dumps(self.paths).encode()).hexdigest()

    def node_of(self, path: str) -> int:
        """Id of a joined path.

        Raises:
            UserError: If the tree has no such node.
        """
        if path not in self._id_of:
            raise UserError(f"the tree has no node '{path}'")
        return self._id_of[path]

    @cached_property
    def roots(self) -> NDArray[np.int64]:
        """``(C,)`` the root above each node; a root's is itself."""
        roots = np.arange(self.num_nodes)
        for level in range(1, self.depth):
            ids = slice(self.level_offsets[level], self.level_offsets[level + 1])
            roots[ids] = roots[self.parents[ids]]
        return roots

    def department(self, name: str) -> int:
        """Id of a root; unless one is named so, ``largest`` is that with the most leaves.

        Raises:
            UserError: If there is no such root.
        """
        node = self._id_of.get(name, -1)
        if node < 0 and name == LARGEST:
            return int(np.bincount(self.roots[self.is_leaf]).argmax())
        if node < 0 or self.levels[node] != 1:
            few = ", ".join(self.paths[: min(5, self.level_sizes[0])])
            raise UserError(f"the tree has no department '{name}'; it has {few} ...")
        return node

    def ancestors(self, node: int) -> list[int]:
        """Ids from the root down to the node's parent."""
        above: list[int] = []
        parent = int(self.parents[node])
        while parent >= 0:
            above.append(parent)
            parent = int(self.parents[parent])
        return above[::-1]

    def leaves_of(self, node: int) -> NDArray[np.int64]:
        """Ids of the leaves at or below ``node``, ascending."""
        below = np.zeros(self.num_nodes, dtype=bool)
        below[node] = True
        for level in range(int(self.levels[node]), self.depth):
            ids = slice(self.level_offsets[level], self.level_offsets[level + 1])
            below[ids] = below[self.parents[ids]]
        return np.flatnonzero(below & self.is_leaf)

    def most_specific(
        self, rows: NDArray[np.int64], nodes: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Of (row, node) pairs closed under ancestors, those that no other pair lies below."""
        above = self.parents[nodes].astype(np.int64)
        inner = (rows * self.num_nodes + above)[above >= 0]
        kept = ~np.isin(rows * self.num_nodes + nodes, inner)
        return rows[kept], nodes[kept]

    def close(
        self, ids: NDArray[np.int32], offsets: NDArray[np.int64]
    ) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        """Add all ancestors to every row of a ragged array of node ids (union over paths).

        Args:
            ids: Node ids of all rows, concatenated.
            offsets: ``(rows + 1,)``; row r is ``ids[offsets[r]:offsets[r + 1]]``.

        Returns:
            The closed rows in the same form, sorted and without repetition.
        """
        rows = np.repeat(np.arange(len(offsets) - 1, dtype=np.int64), np.diff(offsets))
        nodes = ids.astype(np.int64)
        pairs = []
        while len(nodes):
            pairs.append(rows * self.num_nodes + nodes)
            nodes = self.parents[nodes].astype(np.int64)
            rows, nodes = rows[nodes >= 0], nodes[nodes >= 0]
        unique = np.unique(np.concatenate(pairs)) if pairs else np.empty(0, dtype=np.int64)
        counts = np.bincount(unique // self.num_nodes, minlength=len(offsets) - 1)
        closed = (unique % self.num_nodes).astype(np.int32)
        return closed, np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)


def _check_names(path: NodePath) -> None:
    if not path or not all(path):
        raise UserError(f"tree: the path '{PATH_SEPARATOR.join(path)}' has an empty name")
    if len(path) > MAX_DEPTH:
        raise UserError(f"tree: the path below '{path[0]}' is deeper than {MAX_DEPTH} levels")
    for name in path:
        if PATH_SEPARATOR in f" {name} ":  # "a >" too: its joined path would split elsewhere
            raise UserError(f"tree: the node name '{name}' holds the separator '{PATH_SEPARATOR}'")
