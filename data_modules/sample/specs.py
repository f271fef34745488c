"""What products are, before any words: nodes, types and facet values as arrays."""

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from data_modules.sample.tree import SampleTree
from data_modules.sample.vocabulary import SLOTS, Vocabulary

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]

GERMAN_ITEMS = 0.4
"""Share of the German locale's products."""
SEVERAL_NODES = 0.11
"""Share of the products that stand under two nodes, where their node has a second one."""
EXTRA_VALUES = 0.25
"""Chance of a facet that the product's node leaves open to be stated nevertheless."""


@dataclass(frozen=True)
class Specs:
    """Facts of n products.

    Attributes:
        locales: ``(n,)`` locale numbers.
        departments: ``(n,)`` whose order of facets ``values`` has.
        types: ``(n,)`` product types.
        values: ``(n, SLOTS)`` facet values, -1 where not stated.
        second_types: ``(n,)`` what a bundle also is, or -1.
        second_values: ``(n,)`` a further value, or -1.
        second_slots: ``(n,)`` facet slot of the further value, or -1.
    """

    locales: Ints
    departments: Ints
    types: Ints
    values: Ints
    second_types: Ints
    second_values: Ints
    second_slots: Ints

    def merged(self, other: "Specs", where: Mask) -> "Specs":
        """These facts, but those of ``other`` where the mask says so."""
        columns = {}
        for field in fields(self):
            mine, others = getattr(self, field.name), getattr(other, field.name)
            columns[field.name] = np.where(where[:, None] if mine.ndim > 1 else where, others, mine)
        return Specs(**columns)

    def take(self, rows: Ints) -> "Specs":
        """The facts of some rows."""
        return Specs(**{field.name: getattr(self, field.name)[rows] for field in fields(self)})


class Market:
    """Draws products: which node they belong to and what they are.

    Args:
        vocabulary: The word lists.
        tree: The category tree.
        popularity: ``(locales, C)`` shares of the nodes; the tree's own by default.
    """

    def __init__(
        self, vocabulary: Vocabulary, tree: SampleTree, popularity: Floats | None = None
    ) -> None:
        self.vocabulary = vocabulary
        self.tree = tree
        shares = tree.popularity if popularity is None else popularity
        self._cumulated = np.cumsum(shares, axis=1)
        self._everywhere = np.cumsum(tree.popularity, axis=1)
        self._value_starts = vocabulary.value_starts
        self._slot_facets = vocabulary.slot_facets
        self._suitable = vocabulary.suitable_slots

    def locales(self, count: int, rng: np.random.Generator) -> Ints:
        """Locale of each product."""
        english, german = (1 - GERMAN_ITEMS, GERMAN_ITEMS) * (self._cumulated[:, -1] > 0)
        return (rng.random(count) * (english + german) < german).astype(np.int64)

    def nodes(self, locales: Ints, rng: np.random.Generator) -> Ints:
        """A node per product, by popularity in its locale."""
        return _draw(self._cumulated, locales, rng)

    def nodes_elsewhere(self, nodes: Ints, locales: Ints, rng: np.random.Generator) -> Ints:
        """Nodes of other root departments, where the tree has several; else the same nodes."""
        found = nodes.copy()
        if self.tree.hierarchy.level_sizes[0] == 1:
            return found
        roots = roots_of(self.tree)
        while (same := roots[found] == roots[nodes]).any():
            # Each root has products in each locale; a task's shares may leave roots out.
            found[same] = _draw(self._everywhere, locales[same], rng)
        return found

    def second_nodes(self, nodes: Ints, locales: Ints, rng: np.random.Generator) -> Ints:
        """The second node of some products, -1 for the others: a sibling or another type."""
        tree = self.tree
        others = tree.type_nodes[self.nodes(locales, rng)]
        own = tree.type_nodes[nodes]
        others = np.where((others == own) | (own < 0), -1, others)
        siblings = np.where(own >= 0, tree.siblings[locales, nodes], -1)
        uniform = rng.random((2, len(nodes)))
        second = np.where((uniform[0] < 0.5) | (others < 0), siblings, others)
        second = np.where(second < 0, others, second)
        return np.where(uniform[1] < SEVERAL_NODES, second, -1)

    def specs(self, nodes: Ints, second: Ints, locales: Ints, rng: np.random.Generator) -> Specs:
        """Facts of products that truly belong to these nodes."""
        tree = self.tree
        starts, counts = tree.loose_starts[nodes], np.diff(tree.loose_starts)[nodes]
        types = tree.loose_types[starts + (rng.random(len(nodes)) * counts).astype(np.int64)]
        departments = tree.departments[nodes]
        values = tree.values[nodes]
        is_split = np.arange(SLOTS) == tree.split_slots[nodes][:, None]
        values = self.stated(departments, types, values, EXTRA_VALUES * ~is_split, rng)
        refines = (second >= 0) & (tree.last_slots[second] >= 0)
        slots = np.where(refines, tree.last_slots[second], -1)
        return Specs(
            locales,
            departments,
            types,
            values,
            np.where((second >= 0) & ~refines, tree.types[second], -1),
            np.where(refines, tree.values[second, slots], -1),
            slots,
        )

    def stated(
        self,
        departments: Ints,
        types: Ints,
        values: Ints,
        chances: Floats,
        rng: np.random.Generator,
    ) -> Ints:
        """The facet values with gaps of suitable facets filled at random, each with its chance."""
        facets = self._slot_facets[departments]  # (n, SLOTS)
        starts, stops = self._value_starts[facets], self._value_starts[facets + 1]
        uniform = rng.random((2, *values.shape))
        drawn = starts + (uniform[0] * (stops - starts)).astype(np.int64)
        gaps = (values < 0) & self._suitable[types]
        return np.where(gaps & (uniform[1] < chances), drawn, values)


def _draw(cumulated: Floats, locales: Ints, rng: np.random.Generator) -> Ints:
    uniform = rng.random(len(locales))
    nodes = np.empty(len(locales), dtype=np.int64)
    for locale, shares in enumerate(cumulated):
        here = locales == locale
        nodes[here] = np.searchsorted(shares, uniform[here] * shares[-1], side="right")
    return nodes


def roots_of(tree: SampleTree) -> Ints:
    """``(C,)`` root above or at each node."""
    hierarchy = tree.hierarchy
    roots = np.arange(hierarchy.num_nodes)
    for level in range(1, hierarchy.depth):
        start, stop = hierarchy.level_offsets[level : level + 2]
        roots[start:stop] = roots[hierarchy.parents[start:stop]]
    return roots
