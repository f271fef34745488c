"""The query-product task: is a product what the shopper searched for?"""

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from data_modules.sample.links import group_nodes
from data_modules.sample.noise import draw_noise
from data_modules.sample.options import SampleOptions
from data_modules.sample.products import item_ids, noisy_texts
from data_modules.sample.specs import EXTRA_VALUES, Market, Specs
from data_modules.sample.tasks import single_labels, text_noise
from data_modules.sample.texts import Writer
from data_modules.sample.vocabulary import Vocabulary
from hierarchy_lm.dataset import TASK_SCHEMA, TaskInfo

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

QUERY_TASK = TaskInfo(
    "query_product", "multiclass", ["exact", "substitute", "complement", "irrelevant"], pair=True
)
SHARES = np.array([0.68, 0.20, 0.02, 0.08]) / 0.98
"""Of the labels, as in Samel et al., Section V-B, who print 98 % together."""
OTHER_VALUE = 0.2
"""Share of the substitutes that differ in what was asked for; the others are of another type."""
PER_QUERY = 4
"""Products judged for one query."""
EXACT, SUBSTITUTE, COMPLEMENT, IRRELEVANT = range(4)


def query_block(
    market: Market, options: SampleOptions, start: int, count: int, seed: list[int]
) -> pa.Table:
    """Rows ``start`` up to ``start + count``; neighbours share a query."""
    rng, noise_rng = np.random.default_rng([*seed, 0]), np.random.default_rng([*seed, 1])
    number = -(-count // PER_QUERY)
    locales = market.locales(number, rng)
    nodes = market.nodes(locales, rng)
    asked = market.specs(nodes, np.full(number, -1), locales, rng)
    queries, queried = Writer(market.vocabulary, asked, rng).query()
    rows = np.arange(count) // PER_QUERY
    labels = rng.choice(len(SHARES), size=count, p=SHARES)
    offered = _offered(market, asked.take(rows), queried[rows], labels, rng)
    kinds = draw_noise(text_noise(options), count, noise_rng)
    texts = noisy_texts(market, offered, nodes[rows], kinds, rng, noise_rng)
    columns = {
        "item_id": item_ids("query_product-", start, count),
        "title": texts.title,
        "description": texts.description,
        "bullet_points": texts.bullet_points,
        "query": queries.take(pa.array(rows)),
        "label_ids": single_labels(labels),
        "node_ids": group_nodes(market.vocabulary, market.tree, offered.types),
    }
    return pa.table(columns, schema=TASK_SCHEMA)


def _offered(
    market: Market, asked: Specs, queried: Ints, labels: Ints, rng: np.random.Generator
) -> Specs:
    """The products that stand in the labelled relation to what was asked for."""
    swapped = (queried >= 0) & (rng.random(len(labels)) < OTHER_VALUE)
    product = asked.merged(
        _with_other_value(market.vocabulary, asked, queried, rng), (labels == SUBSTITUTE) & swapped
    )
    neighbours = _of_types(market, asked, _types_apart(market, asked, labels, rng), rng)
    return product.merged(neighbours, (labels > SUBSTITUTE) | ((labels == SUBSTITUTE) & ~swapped))


def _with_other_value(
    vocabulary: Vocabulary, specs: Specs, slots: Ints, rng: np.random.Generator
) -> Specs:
    """The same products with another value of the queried facet."""
    rows = np.arange(len(slots))
    facets = vocabulary.slot_facets[specs.departments, slots]
    starts = vocabulary.value_starts[facets]
    sizes = vocabulary.value_starts[facets + 1] - starts
    steps = 1 + (rng.random(len(slots)) * (sizes - 1)).astype(np.int64)
    values = specs.values.copy()
    values[rows, slots] = starts + (values[rows, slots] - starts + steps) % sizes
    return Specs(**{**vars(specs), "values": values})


def _types_apart(market: Market, asked: Specs, labels: Ints, rng: np.random.Generator) -> Ints:
    """Other types: of the same group, of another group, or of another department."""
    vocabulary = market.vocabulary
    groups = vocabulary.type_groups
    homes = vocabulary.group_departments[groups]
    group, home, everything = groups[asked.types], homes[asked.types], np.zeros_like(labels)
    spans = [
        (asked.types, asked.types + 1),
        (np.searchsorted(groups, group), np.searchsorted(groups, group, "right")),
        (np.searchsorted(homes, home), np.searchsorted(homes, home, "right")),
        (everything, everything + len(groups)),
    ]
    inner = [np.choose(labels, [spans[0][i], *(span[i] for span in spans[:3])]) for i in (0, 1)]
    outer = [np.choose(labels, [spans[1][i], *(span[i] for span in spans[1:])]) for i in (0, 1)]
    return between(inner, outer, rng.random(len(labels)))


def between(inner: list[Ints], outer: list[Ints], uniform: Floats) -> Ints:
    """A number of the outer range [start, stop) that is outside the inner one, per row."""
    size = outer[1] - outer[0]
    free = size - (inner[1] - inner[0])
    return outer[0] + (inner[1] - outer[0] + (uniform * free).astype(np.int64)) % size


def _of_types(market: Market, asked: Specs, types: Ints, rng: np.random.Generator) -> Specs:
    """Products of other types; what was asked for stays where their facets allow it."""
    vocabulary = market.vocabulary
    departments = vocabulary.group_departments[vocabulary.type_groups[types]]
    same = departments == asked.departments
    values = np.where(same[:, None], asked.values, -1)
    chances = np.full(values.shape, EXTRA_VALUES)
    stated = market.stated(departments, types, values, chances, rng)
    return Specs(**{**vars(asked), "types": types, "departments": departments, "values": stated})
