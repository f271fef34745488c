"""Node names as text: what stands in front of a product whose place in the tree is known."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import pyarrow as pa

from hierarchy_lm.hierarchy import Hierarchy
from hierarchy_lm.text import join_lists

NodeText = Literal["none", "leaf", "path"]
LINKS = "node_ids"
"""Column of a row's nodes."""
SEPARATOR = " ; "
"""Between the texts of several nodes."""


@dataclass(frozen=True)
class NodeTexts:
    """Text of every node of a tree.

    Attributes:
        texts: ``(C,)`` strings in the order of the node ids.
        fingerprint: Hash of the tree, and which text of its nodes.
    """

    texts: pa.Array
    fingerprint: str

    def of(self, node_ids: pa.ChunkedArray) -> pa.ChunkedArray:
        """One text per list of node ids; empty where there is no node."""
        lists = node_ids.combine_chunks()
        counts = lists.value_lengths().fill_null(0).to_numpy(zero_copy_only=False)
        offsets = pa.array(np.concatenate([[0], np.cumsum(counts)]), pa.int32())
        texts = pa.ListArray.from_arrays(offsets, self.texts.take(lists.flatten()))
        return join_lists(texts, SEPARATOR)


def node_texts(tree: Hierarchy, kind: Literal["leaf", "path"]) -> NodeTexts:
    """The nodes' own names, or all names on the path from the root, joined by " > "."""
    texts = tree.names if kind == "leaf" else tree.paths
    return NodeTexts(pa.array(texts, pa.string()), f"{kind} {tree.fingerprint}")
