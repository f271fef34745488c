"""Keys of a mapping that say where the category tree comes from."""

from dataclasses import dataclass
from typing import Literal

from data_modules.prepare.mapping.files import InputOptions
from data_modules.prepare.mapping.rows import PathOptions
from hierarchy_lm.edges import MultiParent

SameNames = Literal["error", "merge"]


@dataclass
class TreeOptions:
    """The category tree: read from a file, or made of the products' paths.

    Attributes:
        input: A file of edges (``key``, ``parent``, ``name``) or of paths (``path``, perhaps with
            ``key``). Without it, all paths of the products make the tree.
        key: Column of node keys.
        parent: Column of parent keys, missing at a root.
        name: Column of display names; the key if not given.
        path: Column or columns of the whole path.
        multi_parent: What to do with a node of several parents.
        same_names: What to do with nodes of one name below one parent: refuse them, all by name,
            or merge them into one node that has all their keys.
        drop_super_root: The tree's only root is artificial ("All categories"): leave it out; the
            nodes below it are the roots.
        max_depth: Cut the products' paths below this level, a super-root counted; 0 keeps all.
        min_items: Move products of nodes with fewer paths below them up to the parent; a root
            that small is dropped.
        gaps: What to do with a path that misses a name in the middle: refuse it, or cut it there.
    """

    input: InputOptions | None = None
    key: str = ""
    parent: str = ""
    name: str = ""
    path: PathOptions | None = None
    multi_parent: MultiParent = "error"
    same_names: SameNames = "error"
    drop_super_root: bool = False
    max_depth: int = 0
    min_items: int = 0
    gaps: Literal["error", "cut"] = "error"
