"""Checks a parent-child table and spells out the path of every node."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Literal

from hierarchy_lm.errors import UserError

MAX_DEPTH = 100
"""A deeper tree is taken for a mistake (a linked list in the parent column, say)."""

MAX_COPIES = 10
"""With ``multi_parent="duplicate"``: how many nodes the tree may have per key of the table."""

MAX_NAMED = 20
"""How many repeated paths a message names."""

MultiParent = Literal["error", "duplicate"]
NodePath = tuple[str, ...]


def paths_of_edges(
    keys: Sequence[str],
    parent_keys: Sequence[str | None],
    names: Sequence[str],
    multi_parent: MultiParent = "error",
    merge: bool = False,
) -> dict[str, list[NodePath]]:
    """Paths from the root to every key of an edge table, one row per (node, parent).

    Args:
        keys: Unique key of a node.
        parent_keys: Key of its parent, None at a root.
        names: Display name of the node.
        multi_parent: What to do with a node of several parents: refuse it, or repeat it and all
            below it under each parent.
        merge: Let nodes of one name below one parent have one path, instead of refusing them.

    Returns:
        The path or paths of each key.

    Raises:
        UserError: If the table is empty or holds a cycle, a self-parent, an orphan, a repeated
            row, two names for one key, two parents (unless duplicated), two equal paths, or more
            than ``MAX_DEPTH`` levels; the message names the nodes.
    """
    parents, name_of = _group_rows(keys, parent_keys, names)
    _check_parents(parents, multi_parent)
    order = _parents_first(parents)
    paths: dict[str, list[NodePath]] = {}
    total = 0
    for key in order:
        paths[key] = [
            (*above, name_of[key])
            for parent in parents[key]
            for above in ([()] if parent is None else paths[parent])
        ]
        total += len(paths[key])
        _check_growth(key, paths[key][0], total, len(parents))
    if not merge:
        _check_unique(paths)
    return paths


def _group_rows(
    keys: Sequence[str], parent_keys: Sequence[str | None], names: Sequence[str]
) -> tuple[dict[str, list[str | None]], dict[str, str]]:
    if not keys:
        raise UserError("the tree is empty; give at least one node")
    parents: dict[str, list[str | None]] = {}
    name_of: dict[str, str] = {}
    for key, parent, name in zip(keys, parent_keys, names, strict=True):
        if parent in parents.setdefault(key, []):
            where = "as a root" if parent is None else f"under parent '{parent}'"
            raise UserError(f"tree: node '{key}' is listed twice {where}; remove one row")
        if name_of.setdefault(key, name) != name:
            raise UserError(f"tree: node '{key}' has two names, '{name_of[key]}' and '{name}'")
        parents[key].append(parent)
    return parents, name_of


def _check_parents(parents: Mapping[str, list[str | None]], multi_parent: MultiParent) -> None:
    for key, above in parents.items():
        if key in above:
            raise UserError(
                f"tree: node '{key}' is its own parent; leave its parent empty if it is a root"
            )
        if len(above) > 1 and multi_parent == "error":
            raise UserError(
                f"tree: node '{key}' has {len(above)} parents ({_quote(above)}); "
                "mend it or set multi_parent: duplicate"
            )
        for parent in above:
            if parent is not None and parent not in parents:
                raise UserError(
                    f"tree: node '{key}' has the parent '{parent}', which is no node; add a row "
                    "for it, or leave the parent empty"
                )


def _parents_first(parents: Mapping[str, list[str | None]]) -> list[str]:
    """Topological order (Kahn), so that no recursion meets a long chain."""
    children: dict[str, list[str]] = {}
    waiting = {key: sum(p is not None for p in above) for key, above in parents.items()}
    for key, above in parents.items():
        for parent in above:
            if parent is not None:
                children.setdefault(parent, []).append(key)
    order = [key for key, count in waiting.items() if count == 0]
    for key in order:  # grows while it is read
        for child in children.get(key, ()):
            waiting[child] -= 1
            if waiting[child] == 0:
                order.append(child)
    if len(order) < len(parents):
        placed = set(order)
        raise UserError(f"tree: cycle {' -> '.join(_find_cycle(parents, placed))}; remove an edge")
    return order


def _find_cycle(parents: Mapping[str, list[str | None]], placed: set[str]) -> Iterator[str]:
    """Nodes of one cycle, child to parent, the first repeated at the end."""
    walk: dict[str, None] = {}
    key = next(key for key in parents if key not in placed)
    while key not in walk:
        walk[key] = None
        key = next(p for p in parents[key] if p is not None and p not in placed)
    nodes = list(walk)
    cycle = [*nodes[nodes.index(key) :], key]
    return iter(cycle if len(cycle) <= 12 else [*cycle[:6], "...", *cycle[-5:]])


def _check_growth(key: str, path: NodePath, total: int, keys: int) -> None:
    if len(path) > MAX_DEPTH:
        raise UserError(
            f"tree: node '{key}' (below '{path[0]}') is deeper than {MAX_DEPTH} levels; "
            "check the parent column"
        )
    if total > MAX_COPIES * keys:
        raise UserError(
            f"tree: nodes of several parents, '{key}' among them, multiply {keys} nodes to more "
            f"than {MAX_COPIES * keys}; remove some parents"
        )


def _check_unique(paths: Mapping[str, list[NodePath]]) -> None:
    keys_of: dict[NodePath, list[str]] = {}
    for key, several in paths.items():
        for path in several:
            keys_of.setdefault(path, []).append(key)
    same = [(path, keys) for path, keys in keys_of.items() if len(set(keys)) > 1]
    if same:
        repeated = {path for path, _ in same}
        # Paths below a repeated one repeat for its sake.
        same = [(path, keys) for path, keys in same if path[:-1] not in repeated] or same
        shown = "; ".join(
            f"nodes {' and '.join(map(repr, keys))} have the same path '{' > '.join(path)}'"
            for path, keys in same[:MAX_NAMED]
        )
        more = f"; and {len(same) - MAX_NAMED} more" if len(same) > MAX_NAMED else ""
        raise UserError(f"tree: {shown}{more}; rename them, or set same_names: merge")


def _quote(keys: Sequence[str | None]) -> str:
    return ", ".join("none, as a root" if key is None else f"'{key}'" for key in keys)
