"""The published forms of HiAGM and HiMatch, whose parameters grow with the square of the tree."""

from typing import Literal

from hierarchy_lm.errors import UserError
from hierarchy_lm.hierarchy import Hierarchy

Form = Literal["shared", "official"]

PROPAGATION_WIDTH = 300
"""d, of a node's features."""

MOST_NODES = 600
"""C * C * d = 108 M parameters of the classifier alone; with AdamW 16 bytes each."""


def check_official(hierarchy: Hierarchy, width: int = PROPAGATION_WIDTH) -> None:
    """Refuse a tree whose official form does not fit.

    Args:
        hierarchy: The tree.
        width: d.

    Raises:
        UserError: Naming the remedy.
    """
    if hierarchy.num_nodes > MOST_NODES:
        numbers = hierarchy.num_nodes**2 * width / 1e9
        raise UserError(
            f"form: official needs a matrix of {numbers:.1f} billion numbers for "
            f"{hierarchy.num_nodes} nodes and takes trees of up to {MOST_NODES}; use form: shared"
        )
