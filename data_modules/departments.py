"""How many training items each leaf of the tree has."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from data_modules.columns import read_row_groups
from data_modules.shards import find_shards
from hierarchy_lm.dataset import PRODUCT_SCHEMA
from hierarchy_lm.hierarchy import Hierarchy


def count_items(dataset: Path, hierarchy: Hierarchy, split: str = "train") -> NDArray[np.int64]:
    """Items of a split whose path ends at each node, ``(C,)``; an item with two nodes counts twice.

    Raises:
        UserError: If the split's shards are missing or broken.
    """
    counts = np.zeros(hierarchy.num_nodes, dtype=np.int64)
    for shard in find_shards(dataset / "products", split, PRODUCT_SCHEMA, ["node_ids"]):
        for group in range(shard.num_row_groups):
            table, _ = read_row_groups(shard.path, [group], ["node_ids"])
            nodes = table["node_ids"].combine_chunks().flatten().drop_null().to_numpy()
            known = nodes[(nodes >= 0) & (nodes < hierarchy.num_nodes)]
            counts += np.bincount(known, minlength=hierarchy.num_nodes)
    return counts
