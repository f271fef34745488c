"""Where the shop files the products of the tasks: links into the tree, some wrong or missing."""

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from data_modules.sample.noise import draw_noise, given_labels
from data_modules.sample.options import SampleOptions
from data_modules.sample.products import id_lists
from data_modules.sample.specs import Market
from data_modules.sample.tree import SampleTree
from data_modules.sample.vocabulary import Vocabulary

Ints = NDArray[np.int64]


def filed_nodes(
    market: Market, nodes: Ints, locales: Ints, options: SampleOptions, rng: np.random.Generator
) -> pa.Array:
    """Nodes of products that belong to ``nodes``, with the catalogue's label noise.

    Some are filed under a second node as well, of which their text says nothing.
    """
    second = market.second_nodes(nodes, locales, rng)
    kinds = draw_noise(options, len(nodes), rng)
    return id_lists(given_labels(market, np.stack([nodes, second], axis=1), locales, kinds, rng))


def group_nodes(vocabulary: Vocabulary, tree: SampleTree, types: Ints) -> pa.Array:
    """Node of the group that each product type belongs to, else of its department, if any.

    No deeper, whatever the tree holds below it: the types that are searched for are in the tree,
    and a deep node would tell them from the others that are offered.
    """
    filed = np.full(len(vocabulary.groups), -1)
    for upper in (tree.groups < 0, (tree.groups >= 0) & (tree.types < 0)):
        for node in np.flatnonzero(upper):
            own, home = tree.groups[node], tree.departments[node]
            filed[vocabulary.group_departments == home if own < 0 else own] = node
    return id_lists(filed[vocabulary.type_groups[types]][:, None])
