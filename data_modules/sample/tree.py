"""The grown tree as arrays: what a node says, who has it and how often it is sold."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from data_modules.sample.growth import TYPE_LEVEL, Draft, grow
from data_modules.sample.vocabulary import LOCALES, SLOTS, Vocabulary
from hierarchy_lm.dataset import PATH_SEPARATOR
from hierarchy_lm.hierarchy import Hierarchy

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

ZIPF = 0.7
"""Skew of the sales among siblings."""
SPLIT_FACTOR = 4.0
"""How much more nodes with children sell: shops refine what they have much of."""
STOP_SHARES = (0.01, 0.02, 0.06)
"""Share of a node's products that fit none of its children, at levels 1, 2 and below."""
EVEN_SHARE = 0.1
"""Share of the products that is spread evenly, so that no node is without any for long."""


@dataclass(frozen=True)
class SampleTree:
    """The tree of C nodes with what the generator knows about them.

    Attributes:
        hierarchy: Ids, names and paths.
        locales: ``(C,)`` bit mask of the locales whose tree has the node.
        departments: ``(C,)`` department of the node's products; a type that the German tree files
            elsewhere keeps its own.
        groups, types: ``(C,)`` numbers in the vocabulary, -1 above that level.
        values: ``(C, SLOTS)`` facet values on the path, in the department's order of facets, or -1.
        last_slots: ``(C,)`` slot of the node's own value, -1 above level 4.
        split_slots: ``(C,)`` slot whose values the children are, -1 if there are none.
        type_nodes: ``(C,)`` the ancestor or self that is a product type, or -1.
        popularity: ``(locales, C)`` share of a locale's products.
        siblings: ``(locales, C)`` another child of the same parent, or -1.
        loose_types, loose_starts: Types that products of a node may be, node after node.
    """

    hierarchy: Hierarchy
    locales: Ints
    departments: Ints
    groups: Ints
    types: Ints
    values: Ints
    last_slots: Ints
    split_slots: Ints
    type_nodes: Ints
    popularity: Floats
    siblings: Ints
    loose_types: Ints
    loose_starts: Ints


def build_tree(
    vocabulary: Vocabulary, nodes: int, depth: int, rng: np.random.Generator
) -> SampleTree:
    """Grow a tree and derive its arrays."""
    drafts = grow(vocabulary, nodes, depth, rng)
    hierarchy = Hierarchy.from_paths(draft.names for draft in drafts)
    drafts.sort(key=lambda draft: (len(draft.names), PATH_SEPARATOR.join(draft.names)))
    locales = np.array([draft.locales for draft in drafts])
    departments = np.array([draft.department for draft in drafts])
    values, last_slots = _slots(vocabulary, drafts)
    split_slots = np.full(nodes, -1)
    refined = last_slots >= 0
    split_slots[hierarchy.parents[refined]] = last_slots[refined]
    scores = rng.random(nodes)
    starts, types = _loose_types(vocabulary, drafts)
    return SampleTree(
        hierarchy,
        locales,
        departments,
        np.array([draft.group for draft in drafts]),
        np.array([draft.product_type for draft in drafts]),
        values,
        last_slots,
        split_slots,
        _type_nodes(hierarchy),
        np.stack([_popularity(hierarchy, has, scores) for has in _memberships(locales)]),
        np.stack([_siblings(hierarchy, has) for has in _memberships(locales)]),
        types,
        starts,
    )


def _memberships(locales: Ints) -> list[NDArray[np.bool_]]:
    return [(locales >> locale) % 2 == 1 for locale in range(len(LOCALES))]


def _slots(vocabulary: Vocabulary, drafts: list[Draft]) -> tuple[Ints, Ints]:
    values = np.full((len(drafts), SLOTS), -1)
    last = np.full(len(drafts), -1)
    for node, draft in enumerate(drafts):
        order = vocabulary.departments[draft.department].facets
        facets = np.searchsorted(vocabulary.value_starts, draft.values, side="right") - 1
        for facet, value in zip(facets.tolist(), draft.values, strict=True):
            last[node] = order.index(facet)
            values[node, last[node]] = value
    return values, last


def _type_nodes(hierarchy: Hierarchy) -> Ints:
    nodes = np.arange(hierarchy.num_nodes)
    result = np.where(hierarchy.levels == TYPE_LEVEL, nodes, -1)
    for node in np.flatnonzero(hierarchy.levels > TYPE_LEVEL):
        result[node] = result[hierarchy.parents[node]]
    return result


def _ranks(hierarchy: Hierarchy, has: NDArray[np.bool_], scores: Floats) -> Ints:
    """Position of each node among its siblings by score, those of the other locale last."""
    order = np.lexsort((scores, ~has, hierarchy.parents))
    parents = hierarchy.parents[order]
    firsts = np.searchsorted(parents, parents)
    ranks = np.empty(len(order), dtype=np.int64)
    ranks[order] = np.arange(len(order)) - firsts
    return ranks


def _popularity(hierarchy: Hierarchy, has: NDArray[np.bool_], scores: Floats) -> Floats:
    """Zipf shares among siblings, multiplied down the tree: a long tail of nodes."""
    count, parents = hierarchy.num_nodes, hierarchy.parents
    is_split = np.bincount(parents[has] + 1, minlength=count + 1)[1:] > 0
    weights = has * np.where(is_split, SPLIT_FACTOR, 1.0)
    weights = weights / (1.0 + _ranks(hierarchy, has, scores)) ** ZIPF
    family = np.bincount(parents + 1, weights=weights, minlength=count + 1)
    shares = weights / np.maximum(family[parents + 1], 1e-300)
    at_level = np.array(STOP_SHARES)[np.minimum(hierarchy.levels, len(STOP_SHARES)) - 1]
    stops = np.where(is_split, at_level, 1.0)
    reach = shares.copy()
    for node in np.flatnonzero(parents >= 0):
        reach[node] *= reach[parents[node]] * (1.0 - stops[parents[node]])
    ends = has & ~is_split
    even = EVEN_SHARE * ends / ends.sum()
    return np.asarray((1.0 - EVEN_SHARE) * reach * stops + even)


def _siblings(hierarchy: Hierarchy, has: NDArray[np.bool_]) -> Ints:
    """The next node of the same parent in the locale's tree, -1 for an only child."""
    siblings = np.full(hierarchy.num_nodes, -1)
    members = np.flatnonzero(has & (hierarchy.parents >= 0))
    members = members[np.argsort(hierarchy.parents[members], kind="stable")]
    parents = hierarchy.parents[members]
    starts, stops = np.searchsorted(parents, parents), np.searchsorted(parents, parents, "right")
    following = np.arange(len(members)) + 1
    following = np.where(following == stops, starts, following)
    siblings[members] = np.where(stops - starts > 1, members[following], -1)
    return siblings


def _loose_types(vocabulary: Vocabulary, drafts: list[Draft]) -> tuple[Ints, Ints]:
    """Types of each node's products: its own, or for groups those that have no node there."""
    placed = {(draft.group, draft.product_type) for draft in drafts}
    in_group: dict[int, list[int]] = {}
    in_department: dict[int, list[int]] = {}
    for number, kind in enumerate(vocabulary.types):
        in_group.setdefault(kind.group, []).append(number)
        in_department.setdefault(vocabulary.groups[kind.group].department, []).append(number)

    def of(draft: Draft) -> list[int]:
        if draft.product_type >= 0:
            return [draft.product_type]
        below = in_group[draft.group] if draft.group >= 0 else in_department[draft.department]
        free = [n for n in below if (vocabulary.types[n].group, n) not in placed]
        return free or below

    lists = [of(draft) for draft in drafts]
    starts = np.concatenate([[0], np.cumsum([len(types) for types in lists])])
    return starts, np.array([number for types in lists for number in types])
