"""Multiclass tasks: other organisations of the same nodes, each with a long tail of labels."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from data_modules.sample.links import filed_nodes
from data_modules.sample.noise import draw_noise
from data_modules.sample.options import SampleOptions
from data_modules.sample.products import item_ids, noisy_texts
from data_modules.sample.specs import Market
from data_modules.sample.tree import SampleTree
from data_modules.sample.vocabulary import Vocabulary
from hierarchy_lm.dataset import TASK_SCHEMA, TaskInfo

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

LABEL_ZIPF = 0.7
"""Skew of the labels inside the head and the tail of a task."""


@dataclass(frozen=True)
class Scheme:
    """A task's labels as a function of the true node.

    Attributes:
        info: Name and labels.
        node_labels: ``(C,)`` label of each node's products, -1 where none is defined.
        top_cover: Share of the rows that the most frequent tenth of the labels holds.
        size: Rows in relation to ``task_items``.
    """

    info: TaskInfo
    node_labels: Ints
    top_cover: float
    size: float


def schemes(vocabulary: Vocabulary, tree: SampleTree) -> list[Scheme]:
    """The tasks of a tree; one with fewer than two labels is left out."""
    rows = range(tree.hierarchy.num_nodes)
    found = [
        _scheme("product_categorisation", [_kind(vocabulary, tree, n) for n in rows], 0.85, 1.0),
        _scheme("local_financial", [_local(vocabulary, tree, n) for n in rows], 0.5, 1.0),
        _scheme("global_financial", [_global(vocabulary, tree, n) for n in rows], 0.4, 0.25),
    ]
    return [scheme for scheme in found if len(scheme.info.labels) > 1]


def _scheme(name: str, names: Iterable[str | None], top_cover: float, size: float) -> Scheme:
    named = list(names)
    labels = sorted({label for label in named if label is not None})
    numbers: dict[str | None, int] = {label: number for number, label in enumerate(labels)}
    node_labels = np.array([numbers.get(label, -1) for label in named])
    return Scheme(TaskInfo(name, "multiclass", labels), node_labels, top_cover, size)


def _kind(vocabulary: Vocabulary, tree: SampleTree, node: int) -> str | None:
    """What a product is like, whatever its department: its form ("mat") and refinement."""
    if tree.types[node] < 0:
        return None
    refinement = _refinement(vocabulary, tree, node, 1)
    return f"{vocabulary.types[tree.types[node]].form[0]}: {refinement}"


def _local(vocabulary: Vocabulary, tree: SampleTree, node: int) -> str | None:
    """Department and second refinement, whatever the product type."""
    if tree.types[node] < 0:
        return None
    department = vocabulary.departments[tree.departments[node]].names[0]
    return f"{department}: {_refinement(vocabulary, tree, node, 2)}"


def _refinement(vocabulary: Vocabulary, tree: SampleTree, node: int, steps: int) -> str:
    """The value so many steps below the product type, or the last one above that."""
    levels, top = tree.hierarchy.levels, tree.type_nodes[node]
    while levels[node] > levels[top] + steps:
        node = int(tree.hierarchy.parents[node])
    slot = tree.last_slots[node]
    return vocabulary.values[tree.values[node, slot]][0] if slot >= 0 else "general"


def _global(vocabulary: Vocabulary, tree: SampleTree, node: int) -> str | None:
    """Two neighbouring groups of a department, those of the type wherever a tree files it."""
    kind = tree.types[node]
    if kind < 0:
        return None
    group = vocabulary.types[kind].group
    department = vocabulary.groups[group].department
    first = int(np.searchsorted(vocabulary.group_departments, department))
    pair = vocabulary.groups[group - (group - first) % 2 :][:2]
    names = [other.names[0] for other in pair if other.department == department]
    return f"{vocabulary.departments[department].names[0]}: {' + '.join(names)}"


def label_shares(count: int, top_cover: float) -> Floats:
    """Shares of ``count`` labels: a head of a tenth of them holds ``top_cover``; Zipf inside."""
    head = -(-count // 10)
    parts = [(head, top_cover), (count - head, 1.0 - top_cover)]
    weights = [(np.arange(1.0, size + 1) ** -LABEL_ZIPF, cover) for size, cover in parts]
    return np.concatenate([cover * part / part.sum() for part, cover in weights])


def task_market(
    vocabulary: Vocabulary, tree: SampleTree, scheme: Scheme, rng: np.random.Generator
) -> Market:
    """A market whose products follow the scheme's label shares."""
    labels = scheme.node_labels
    count = len(scheme.info.labels)
    shares = rng.permutation(label_shares(count, scheme.top_cover))
    mass = np.stack(
        [
            np.bincount(labels + 1, weights=popularity, minlength=count + 1)[1:]
            for popularity in tree.popularity
        ]
    )
    # A label that one locale lacks is sold the more in the other.
    wanted = shares / np.maximum((mass > 0).sum(axis=0), 1)
    factors = wanted / np.maximum(mass, 1e-300) * (mass > 0)
    return Market(vocabulary, tree, tree.popularity * np.where(labels >= 0, factors[:, labels], 0))


def task_block(
    market: Market, scheme: Scheme, options: SampleOptions, start: int, count: int, seed: list[int]
) -> pa.Table:
    """Rows ``start`` up to ``start + count`` of a task."""
    rng, noise_rng = np.random.default_rng([*seed, 0]), np.random.default_rng([*seed, 1])
    locales = market.locales(count, rng)
    nodes = market.nodes(locales, rng)
    specs = market.specs(nodes, np.full(count, -1), locales, rng)
    kinds = draw_noise(text_noise(options), count, noise_rng)
    texts = noisy_texts(market, specs, nodes, kinds, rng, noise_rng)
    link_rng = np.random.default_rng([*seed, 2])
    columns = {
        "item_id": item_ids(f"{scheme.info.name}-", start, count),
        "title": texts.title,
        "description": texts.description,
        "bullet_points": texts.bullet_points,
        "query": pa.nulls(count, pa.string()),
        "label_ids": single_labels(scheme.node_labels[nodes]),
        "node_ids": filed_nodes(market, nodes, locales, options, link_rng),
    }
    return pa.table(columns, schema=TASK_SCHEMA)


def text_noise(options: SampleOptions) -> SampleOptions:
    """The noise of a task's products: audited labels, and texts that are not mendacious."""
    return replace(options, hard_adversarial=0.0, wrong_labels=0.0, missing_labels=0.0)


def single_labels(labels: Ints) -> pa.Array:
    """Lists of one label each."""
    offsets = pa.array(np.arange(len(labels) + 1), pa.int32())
    return pa.ListArray.from_arrays(offsets, pa.array(labels, pa.int32()))
