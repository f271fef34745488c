"""Which products are noisy in which way (DHPC, Section B), and their wrong labels."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from data_modules.sample.options import NOISE_KINDS, SampleOptions
from data_modules.sample.specs import Market
from data_modules.sample.texts import Texts, list_column

Ints = NDArray[np.int64]
Mask = NDArray[np.bool_]

CONFUSED = 0.7
"""Share of the wrong labels that name a sibling; the others name another department."""
LOST_FIELDS = {"description": 0.35, "bullet_points": 0.35, "both": 0.2, "title": 0.1}
"""Which field an incomplete product lacks."""


def draw_noise(options: SampleOptions, count: int, rng: np.random.Generator) -> dict[str, Mask]:
    """Kinds of noise of each product.

    Systematic sampling: the rates lie end to end on a line, and a noisy product has the kinds
    that the points u, u + 1, u + 2 ... hit. Each kind then has exactly its rate; kinds that
    exclude each other are neighbours, so that no two of them are hit; and every noisy product has
    at least one kind as soon as the rates sum to 1.
    """
    noisy = rng.random(count) < options.noisy_share
    point = rng.random(count)
    ends = np.cumsum(list(options.rates.values()))
    kinds = {}
    for kind, start, end in zip(NOISE_KINDS, [0.0, *ends], ends, strict=False):
        # The point hits [start, end) if a whole number lies in [start - u, end - u).
        kinds[kind] = noisy & (np.ceil(end - point) > np.ceil(start - point))
    return kinds


def tags(kinds: dict[str, Mask]) -> pa.Array:
    """Names of each product's kinds of noise."""
    return list_column(
        [
            pc.if_else(pa.array(hit), kind, pa.scalar(None, pa.string()))
            for kind, hit in kinds.items()
        ]
    )


def lose_fields(texts: Texts, lost: Mask, rng: np.random.Generator) -> Texts:
    """Null one or two fields of the incomplete products."""
    point = np.where(lost, rng.random(len(lost)), np.inf)
    which = np.searchsorted(np.cumsum(list(LOST_FIELDS.values())), point, side="right")
    names = [*LOST_FIELDS, "none"]
    lacks = {name: which == number for number, name in enumerate(names)}
    return Texts(
        _without(texts.title, lacks["title"]),
        _without(texts.description, lacks["description"] | lacks["both"]),
        _without(texts.bullet_points, lacks["bullet_points"] | lacks["both"]),
    )


def _without(column: pa.Array, lost: Mask) -> pa.Array:
    rows = pa.array(np.arange(len(column)), mask=lost)
    return column.take(rows)


def given_labels(
    market: Market, labels: Ints, locales: Ints, kinds: dict[str, Mask], rng: np.random.Generator
) -> Ints:
    """The labels that the catalogue states.

    Args:
        market: Knows the tree.
        labels: ``(n, 2)`` true nodes, -1 for no second one.
        locales: ``(n,)`` locale of each product.
        kinds: The products' noise.
        rng: For the noise.

    Returns:
        ``(n, 2)`` nodes, -1 for none.
    """
    wrong = _wrong_nodes(market, labels[:, 0], locales, rng)
    given = np.where(kinds["wrong_labels"][:, None], wrong[:, None] * [1, 0] + [0, -1], labels)
    incomplete = _incomplete(market, labels, rng)
    return np.where(kinds["missing_labels"][:, None], incomplete, given)


def _wrong_nodes(market: Market, nodes: Ints, locales: Ints, rng: np.random.Generator) -> Ints:
    elsewhere = market.nodes_elsewhere(nodes, locales, rng)
    sibling = market.tree.siblings[locales, nodes]
    confused = (rng.random(len(nodes)) < CONFUSED) & (sibling >= 0)
    return np.where(confused, sibling, elsewhere)


def _incomplete(market: Market, labels: Ints, rng: np.random.Generator) -> Ints:
    """One of two nodes, or of one node its parent or nothing."""
    count = len(labels)
    kept = labels[np.arange(count), rng.integers(2, size=count)]
    parent = np.where(rng.random(count) < 0.5, market.tree.hierarchy.parents[labels[:, 0]], -1)
    first = np.where(labels[:, 1] >= 0, kept, parent)
    return np.stack([first, np.full(count, -1)], axis=1)
