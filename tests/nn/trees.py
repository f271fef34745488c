"""A small hand-made tree and a random one, with plain-Python questions about relatives."""

from random import Random

from hierarchy_lm.hierarchy import Hierarchy

# "A & Q" sorts before "A" among the paths of children, though not among the roots.
SMALL = Hierarchy.from_paths(
    [
        ("A", "B", "X"),
        ("A", "B", "Y"),
        ("A", "B", "Z"),
        ("A", "C", "V"),
        ("A & Q", "D", "W"),
        ("E",),
    ]
)


def random_tree(nodes: int = 60, seed: int = 0) -> Hierarchy:
    random, paths = Random(seed), [("r0",), ("r1",), ("r2",)]
    while len(paths) < nodes:
        above = random.choice(paths)
        if len(above) < 5:
            paths.append((*above, f"n{len(paths)}"))
    return Hierarchy.from_paths(paths)


def siblings(tree: Hierarchy, node: int) -> list[int]:
    """Others with the same parent; roots are siblings."""
    parents = tree.parents.tolist()
    return [n for n, above in enumerate(parents) if above == parents[node] and n != node]


def children(tree: Hierarchy, node: int) -> list[int]:
    return [n for n, above in enumerate(tree.parents.tolist()) if above == node]


def distance(tree: Hierarchy, left: int, right: int) -> int:
    """By the paths alone."""
    a, b = (tree.paths[node].split(" > ") for node in (left, right))
    common = 0
    while common < min(len(a), len(b)) and a[common] == b[common]:
        common += 1
    return len(a) + len(b) - 2 * common
