"""One block of products as a table."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from data_modules.sample.noise import draw_noise, given_labels, lose_fields, tags
from data_modules.sample.options import SampleOptions
from data_modules.sample.specs import Market, Specs
from data_modules.sample.texts import Texts, Writer, list_column
from data_modules.sample.vocabulary import LOCALES
from hierarchy_lm.dataset import PRODUCT_SCHEMA

Ints = NDArray[np.int64]
Mask = NDArray[np.bool_]

SAMPLE_SCHEMA = pa.schema(
    [
        *PRODUCT_SCHEMA,
        pa.field("true_node_ids", pa.list_(pa.int32()), nullable=False),
        pa.field("noise", pa.list_(pa.string()), nullable=False),
    ]
)
"""Columns of the products: the contract's, and two that only evaluation reads."""


def product_block(
    market: Market, options: SampleOptions, start: int, count: int, seed: list[int]
) -> pa.Table:
    """Products ``start`` up to ``start + count``.

    Args:
        market: Draws nodes and facts.
        options: The noise.
        start: Number of the first product.
        count: Number of products.
        seed: Of this block alone; noise has a stream of its own.
    """
    rng, noise_rng = np.random.default_rng([*seed, 0]), np.random.default_rng([*seed, 1])
    locales = market.locales(count, rng)
    nodes = market.nodes(locales, rng)
    second = market.second_nodes(nodes, locales, rng)
    specs = market.specs(nodes, second, locales, rng)
    weights = rng.lognormal(0.0, 1.0, count) / np.exp(0.5)
    kinds = draw_noise(options, count, noise_rng)
    texts = noisy_texts(market, specs, nodes, kinds, rng, noise_rng)
    true = np.stack([nodes, second], axis=1)
    given = given_labels(market, true, locales, kinds, noise_rng)
    columns = {
        "item_id": item_ids("P", start, count),
        "title": texts.title,
        "description": texts.description,
        "bullet_points": texts.bullet_points,
        "node_ids": id_lists(given),
        "weight": pa.array(weights, pa.float32()),
        "locale": pa.array(LOCALES).take(pa.array(locales)),
        "true_node_ids": id_lists(true),
        "noise": tags(kinds),
    }
    return pa.table(columns, schema=SAMPLE_SCHEMA)


def noisy_texts(
    market: Market,
    specs: Specs,
    nodes: Ints,
    kinds: dict[str, Mask],
    rng: np.random.Generator,
    noise_rng: np.random.Generator,
) -> Texts:
    """Texts of products with their text noise.

    A hard adversarial product is described as one of another department.
    """
    locales = specs.locales
    elsewhere = market.nodes_elsewhere(nodes, locales, noise_rng)
    feigned = market.specs(elsewhere, np.full(len(nodes), -1), locales, noise_rng)
    told = specs.merged(feigned, kinds["hard_adversarial"])
    writer = Writer(market.vocabulary, told, rng)
    texts = writer.write(kinds["misleading_text"], kinds["soft_adversarial"], noise_rng)
    return lose_fields(texts, kinds["missing_fields"], noise_rng)


def item_ids(prefix: str, start: int, count: int) -> pa.Array:
    """Ids such as P00000042."""
    numbers = pc.utf8_lpad(pa.array(np.arange(start, start + count)).cast(pa.string()), 8, "0")
    return pc.binary_join_element_wise(prefix, numbers, "")


def id_lists(ids: Ints) -> pa.Array:
    """Lists of each row's ids that are not -1."""
    columns = [pa.array(column, pa.int32(), mask=column < 0) for column in ids.T.copy()]
    return list_column(columns)
