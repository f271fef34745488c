"""Grows the category tree level by level from the word lists."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from data_modules.sample.vocabulary import BOTH, ENGLISH, GERMAN, Vocabulary, names_in
from hierarchy_lm.errors import UserError

TYPE_LEVEL = 3
TOP_SHARES = (0.03, 0.10, 0.27)
"""Share of the nodes at the levels of departments, groups and product types."""
DEEP_RATIO = 0.85
"""Size of a deeper level in relation to the one above."""
DEEP_FILL = 0.75
"""Most of the possible refinements that are used where deeper levels follow."""
CHILDREN = 3
"""Mean number of children of a node that has some; the others end their branch early."""
LOCAL_SHARE = 0.06
"""Share of refinements that only one locale's tree has."""

ATTEMPTS = 100
"""Trees that are grown until one is deep enough; small ones may meet types of few facets."""


@dataclass(frozen=True)
class Draft:
    """A node to be.

    Attributes:
        names: From the root down.
        locales: Bit mask of the locales whose tree has it.
        department, group, product_type: Numbers in the vocabulary, -1 above that level.
        values: Facet values from level 4 down.
    """

    names: tuple[str, ...]
    locales: int
    department: int
    group: int = -1
    product_type: int = -1
    values: tuple[int, ...] = ()


def grow(vocabulary: Vocabulary, nodes: int, depth: int, rng: np.random.Generator) -> list[Draft]:
    """Exactly ``nodes`` nodes on exactly ``depth`` levels.

    Raises:
        UserError: If the word lists do not hold such a tree.
    """
    deepest = TYPE_LEVEL + max(len(kind.facets) for kind in vocabulary.types)
    if depth > deepest:
        raise UserError(
            f"depth: the word lists hold {deepest} levels, not {depth}; ask for less depth"
        )
    grown: list[Draft] = []
    for _ in range(ATTEMPTS):
        grown = _attempt(vocabulary, nodes, depth, rng)
        if len(grown[-1].names) == depth:
            break
    if len(grown) < nodes:
        raise UserError(
            f"nodes: {depth} levels of the word lists hold about {len(grown)} nodes, not {nodes}; "
            "ask for fewer nodes or more depth"
        )
    return grown


def _attempt(
    vocabulary: Vocabulary, nodes: int, depth: int, rng: np.random.Generator
) -> list[Draft]:
    """A tree that may end too early: not every product type has many facets."""
    candidates = [_departments(vocabulary)]
    grown: list[Draft] = []
    for number in range(1, depth + 1):
        limits = np.array([len(drafts) for drafts in candidates])
        size = _level_size(number, depth, nodes - len(grown), int(limits.sum()))
        counts = spread(size, limits, rng)
        level = [
            drafts[index]
            for drafts, count in zip(candidates, counts, strict=True)
            for index in rng.permutation(len(drafts))[:count]
        ]
        grown += level
        candidates = [_children(vocabulary, draft, rng) for draft in level]
        if not any(candidates):
            break
    return grown


def _level_size(level: int, depth: int, left: int, possible: int) -> int:
    """Nodes at a level, of those that are left for it and the levels below."""
    if level == depth:
        return min(left, possible)
    deep = [(1 - sum(TOP_SHARES)) * DEEP_RATIO**step for step in range(depth - TYPE_LEVEL)]
    scale = (1 - sum(TOP_SHARES)) / sum(deep) if deep else 1.0
    shares = [*TOP_SHARES, *(share * scale for share in deep)][:depth]
    wanted = round(left * shares[level - 1] / sum(shares[level - 1 :]))
    most = possible if level <= TYPE_LEVEL else max(1, int(DEEP_FILL * possible))
    return min(max(1, wanted), most, possible, left - (depth - level))


def spread(total: int, limits: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
    """Children of each parent: skewed, at most its limit, ``total`` together.

    Only about one parent per ``CHILDREN`` children gets any, so that branches end at all levels.
    """
    order = rng.permutation(len(limits))
    enough = int(np.searchsorted(np.cumsum(limits[order]), total)) + 1
    chosen = order[: max(enough, -(-total // CHILDREN))]
    appetite = np.zeros(len(limits))
    appetite[chosen] = rng.lognormal(0.0, 0.6, len(chosen))
    counts = np.zeros(len(limits), dtype=np.int64)
    firsts = chosen[limits[chosen] > 0][:total]
    counts[firsts] = 1
    while (left := total - int(counts.sum())) > 0:
        open_appetite = np.where(counts < limits, appetite, 0.0)
        more = rng.multinomial(left, open_appetite / open_appetite.sum())
        counts = np.minimum(counts + more, limits)
    return counts


def _departments(vocabulary: Vocabulary) -> list[Draft]:
    return [
        Draft((department.names[0],), BOTH, number)
        for number, department in enumerate(vocabulary.departments)
    ]


def _children(vocabulary: Vocabulary, draft: Draft, rng: np.random.Generator) -> list[Draft]:
    if draft.group < 0:
        return _groups(vocabulary, draft)
    if draft.product_type < 0:
        return _types(vocabulary, draft)
    return _refinements(vocabulary, draft, rng)


def _groups(vocabulary: Vocabulary, draft: Draft) -> list[Draft]:
    return [
        Draft(
            (*draft.names, names_in(group.names, group.locales)),
            group.locales,
            draft.department,
            number,
        )
        for number, group in enumerate(vocabulary.groups)
        if group.department == draft.department
    ]


def _types(vocabulary: Vocabulary, draft: Draft) -> list[Draft]:
    drafts = []
    for number, kind in enumerate(vocabulary.types):
        here = ENGLISH * (kind.group == draft.group) | GERMAN * (kind.german_group == draft.group)
        if locales := here & draft.locales:
            # The facets are those of the product, wherever a tree files it.
            home = vocabulary.groups[kind.group].department
            names = (*draft.names, names_in(kind.names, locales))
            drafts.append(Draft(names, locales, home, draft.group, number))
    return drafts


def _refinements(vocabulary: Vocabulary, draft: Draft, rng: np.random.Generator) -> list[Draft]:
    facet = next_facet(vocabulary, draft, rng)
    if facet < 0:
        return []
    values = range(vocabulary.value_starts[facet], vocabulary.value_starts[facet + 1])
    return [_refined(vocabulary, draft, value, _locales(draft.locales, rng)) for value in values]


def _refined(vocabulary: Vocabulary, draft: Draft, value: int, locales: int) -> Draft:
    return Draft(
        (*draft.names, names_in(vocabulary.values[value], locales)),
        locales,
        draft.department,
        draft.group,
        draft.product_type,
        (*draft.values, value),
    )


def next_facet(vocabulary: Vocabulary, draft: Draft, rng: np.random.Generator) -> int:
    """One of the first three suitable facets that the path has not used, -1 if none is left."""
    used = facets_of(vocabulary, draft.values)
    suitable = vocabulary.types[draft.product_type].facets
    order = vocabulary.departments[draft.department].facets
    unused = [facet for facet in order if facet in suitable and facet not in used]
    return unused[int(rng.integers(min(3, len(unused))))] if unused else -1


def facets_of(vocabulary: Vocabulary, values: Sequence[int]) -> set[int]:
    """Facets of facet values."""
    return set((np.searchsorted(vocabulary.value_starts, values, side="right") - 1).tolist())


def _locales(parent: int, rng: np.random.Generator) -> int:
    draw = rng.random() / LOCAL_SHARE
    if parent != BOTH or draw >= 1.0:
        return parent
    return ENGLISH if draw < 0.5 else GERMAN
