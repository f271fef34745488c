"""Makes the category tree of the products' paths, and says what each path or key stands for."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from data_modules.prepare.mapping import TreeOptions
from data_modules.prepare.reading.paths import LEVEL, NODE
from hierarchy_lm.dataset import PATH_SEPARATOR
from hierarchy_lm.errors import UserError
from hierarchy_lm.hierarchy import Hierarchy

NodePath = tuple[str, ...]


@dataclass(frozen=True)
class Reference:
    """What one path or node key of the products stands for.

    Attributes:
        nodes: Node ids; none if it is blank, unknown or cut away.
        unknown: Whether the tree file lacks it.
        gap: Whether a name in its middle is missing, so that it was cut there.
    """

    nodes: list[int]
    unknown: bool = False
    gap: bool = False


def names_of(path: str) -> tuple[NodePath, bool]:
    """Names of a path's text up to the first missing one, and whether any came after that."""
    names = path.split(LEVEL)
    end = names.index("") if "" in names else len(names)
    return tuple(names[:end]), any(names[end:])


def tree_of_paths(
    paths: Mapping[str, int], options: TreeOptions, changes: Counter[str]
) -> tuple[Hierarchy, dict[str, Reference]]:
    """Tree of all paths of the products.

    Args:
        paths: Text of each distinct path, and in how many rows it stands.
        options: ``max_depth`` and ``min_items`` shorten paths.
        changes: Takes up how many rows that concerns.

    Raises:
        UserError: If no path holds a name.
    """
    found = {path: names_of(path) for path in paths}
    deepest = options.max_depth or None
    short = {path: names[:deepest] for path, (names, _) in found.items()}
    items: Counter[NodePath] = Counter()
    for path, names in short.items():
        for prefix in _prefixes(names):
            items[prefix] += paths[path]
    for path, names in short.items():
        frequent = [prefix for prefix in _prefixes(names) if items[prefix] >= options.min_items]
        short[path] = frequent[-1] if frequent else ()
    if not any(short.values()):
        raise UserError("products: no row has a category path; check 'paths' in the mapping")
    tree = Hierarchy.from_paths(names for names in short.values() if names)
    changes["products: paths of rows cut by 'max_depth' or moved up by 'min_items'"] = sum(
        paths[path] for path, names in short.items() if names and names != found[path][0]
    )
    changes["products: paths of rows dropped by 'min_items'"] = sum(
        paths[path] for path, names in short.items() if found[path][0] and not names
    )
    references = {
        path: Reference(ids_of(tree, names), gap=found[path][1]) for path, names in short.items()
    }
    return tree, references


def _prefixes(names: NodePath) -> list[NodePath]:
    return [names[:depth] for depth in range(1, len(names) + 1)]


def ids_of(tree: Hierarchy, names: NodePath) -> list[int]:
    """The node of a path, or nothing for an empty path."""
    return [tree.node_of(PATH_SEPARATOR.join(names))] if names else []


def references_into(tree: Hierarchy, items: Iterable[str]) -> dict[str, Reference]:
    """What paths and node keys stand for in a tree that a file gave."""
    known = set(tree.paths)

    def look_up(item: str) -> Reference:
        if item.startswith(NODE):
            key = item.removeprefix(NODE)
            nodes = tree.key_to_ids.get(key) or tree.key_to_ids.get(without_fraction(key), [])
            return Reference(nodes, unknown=bool(key) and not nodes)
        names, gap = names_of(item)
        if PATH_SEPARATOR.join(names) in known:
            return Reference(ids_of(tree, names), gap=gap)
        return Reference([], unknown=bool(names), gap=gap)

    return {item: look_up(item) for item in items}


def without_fraction(key: str) -> str:
    """11 for 11.0, as integers come out of tables with gaps in the column."""
    whole, _, fraction = key.partition(".")
    return whole if fraction.strip("0") == "" else key


def without_super_root(
    tree: Hierarchy, references: Mapping[str, Reference]
) -> tuple[Hierarchy, dict[str, Reference]]:
    """The tree below its only root; what stood for the root alone stands for nothing.

    Raises:
        UserError: If there are several roots, or no node below the one.
    """
    roots = tree.level_sizes[0]
    if roots > 1 or tree.depth == 1:
        why = f"has {roots} roots" if roots > 1 else "is one node alone"
        raise UserError(f"tree: drop_super_root, but the tree {why}; remove the option")
    paths = [tuple(path.split(PATH_SEPARATOR)[1:]) for path in tree.paths[1:]]
    found = {  # the root is node 0, and the others keep their order without it
        item: replace(reference, nodes=[node - 1 for node in reference.nodes if node > 0])
        for item, reference in references.items()
    }
    below = Hierarchy(paths)
    keys = {key: [node - 1 for node in ids if node > 0] for key, ids in tree.key_to_ids.items()}
    below.set_keys({key: ids for key, ids in keys.items() if ids})
    return below, found


def spoken(item: str) -> str:
    """A path or node key as messages show it."""
    return PATH_SEPARATOR.join(item.removeprefix(NODE).split(LEVEL))
