"""Titles, descriptions and bullet points from facts."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from data_modules.sample.lexicon import Lexicon, join, only
from data_modules.sample.specs import Specs
from data_modules.sample.vocabulary import SLOTS, Vocabulary

Ints = NDArray[np.int64]
Mask = NDArray[np.bool_]

FORM_IN_TITLE, FORM_IN_DESCRIPTION = 0.3, 0.6
"""Chance that a product is only called by its form ("mat")."""
COMPANION, WORLD, FILLER, COLOUR, PRAISE, SECOND_BULLET = 0.4, 0.6, 0.5, 0.6, 0.3, 0.4
"""Chances of the text's other parts."""
HOME_BRAND = 0.5
"""Share of the products whose brand is one of their department's."""
TITLE_ORDERS = (
    "brand type value extra",
    "type value extra brand colour",
    "colour brand type value extra",
    "praise type value extra brand",
)


@dataclass(frozen=True)
class Texts:
    """Columns of n products."""

    title: pa.Array
    description: pa.Array
    bullet_points: pa.Array


class Writer:
    """Words for n products; every random number is drawn whatever the noise.

    So the noise of one product changes no other product's text, and the same seed gives the same
    products at each noise level.

    Args:
        vocabulary: The word lists.
        specs: The facts.
        rng: For the products.
    """

    def __init__(self, vocabulary: Vocabulary, specs: Specs, rng: np.random.Generator) -> None:
        self._vocabulary = vocabulary
        self._specs = specs
        self._rng = rng
        self._count = len(specs.types)
        self._places = self._placed_phrases()

    def write(self, misleading: Mask, soft: Mask, noise_rng: np.random.Generator) -> Texts:
        """All three fields.

        Args:
            misleading: Products whose title lacks the keyword and whose text dwells on others.
            soft: Products whose text is stuffed with what they are only in passing.
            noise_rng: For the noise.
        """
        noise = Writer(self._vocabulary, self._specs, noise_rng)
        side = noise._peripheral_phrases()
        mislead = [only(noise._about_others("misleading", 1), misleading) for _ in range(3)]
        searches = [only(noise._about_others("peripheral", 2), soft) for _ in range(2)]
        stuffing = [only(phrase, soft) for phrase in side]
        title = join([self._title(misleading), *stuffing[:2]])
        description = join(
            [self._description(misleading), *mislead[:2], searches[0], *stuffing[2:4]]
        )
        bullets = [*self._bullets(), mislead[2], searches[1], *stuffing[4:]]
        return Texts(title, description, list_column(bullets))

    def query(self) -> tuple[pa.Array, Ints]:
        """Search queries: the product's name with up to two values, in bare words.

        Returns:
            The queries, and the facet slot of a value in each, -1 where it has none.
        """
        values = self._specs.values
        order = np.argsort(self._rng.random(values.shape) + (values < 0), axis=1)
        told = np.take_along_axis(values, order, 1)
        words = [self._pick("words", told[:, place]) for place in (0, 1)]
        kind = self._pick("clear", self._specs.types)
        first = self._uniform() < 0.5
        query = join([only(words[0], first), kind, only(words[0], ~first), words[1]])
        return query, np.where(told[:, 0] >= 0, order[:, 0], -1)

    def _uniform(self) -> NDArray[np.float64]:
        return self._rng.random(self._count)

    def _pick(self, lexicon: str, keys: Ints) -> pa.Array:
        chosen: Lexicon = self._vocabulary.lexicons[lexicon]
        return chosen.pick(keys, self._specs.locales, self._uniform())

    def _any(self, lexicon: str) -> pa.Array:
        return self._pick(lexicon, np.zeros(self._count, dtype=np.int64))

    def _fill(self, sentence: str, *gaps: pa.Array) -> pa.Array:
        return self._vocabulary.sentences[sentence].fill(
            self._specs.locales, self._uniform(), *gaps
        )

    def _called(self, form_only: Mask) -> pa.Array:
        types = self._specs.types
        return pc.if_else(
            pa.array(form_only), self._pick("form", types), self._pick("clear", types)
        )

    def _placed_phrases(self) -> list[pa.Array]:
        """A phrase or null for each of eight places, from the title to the last bullet."""
        specs = self._specs
        keys = self._rng.random((self._count, SLOTS))
        doubled = np.flatnonzero(specs.second_slots >= 0)
        keys[doubled, specs.second_slots[doubled]] = -1.0  # its second value follows in the title
        placed = np.take_along_axis(specs.values, np.argsort(keys, axis=1), 1)
        return [self._pick("phrases", placed[:, place]) for place in range(SLOTS)]

    def _title(self, keyword_missing: Mask) -> pa.Array:
        specs = self._specs
        form_only = (self._uniform() < FORM_IN_TITLE) | keyword_missing
        kind = self._called(form_only)
        bundle = self._fill("bundle", self._pick("clear", specs.second_types))
        second = self._fill("conjunction", self._pick("words", specs.second_values))
        columns = {
            "brand": self._brand(),
            "type": join([kind, bundle]),
            "value": join([self._places[0], second, self._places[1]]),
            "extra": self._places[2],
            "colour": only(self._any("colours"), self._uniform() < COLOUR),
            "praise": only(self._any("praise"), self._uniform() < PRAISE),
        }
        return self._arranged(columns)

    def _arranged(self, columns: dict[str, pa.Array]) -> pa.Array:
        variant = self._rng.integers(len(TITLE_ORDERS), size=self._count)
        parts, rows = [], []
        for number, order in enumerate(TITLE_ORDERS):
            rows.append(np.flatnonzero(variant == number))
            parts.append(join([columns[name].take(pa.array(rows[-1])) for name in order.split()]))
        return pa.concat_arrays(parts).take(pa.array(np.argsort(np.concatenate(rows))))

    def _brand(self) -> pa.Array:
        brands = self._vocabulary.brands
        home = self._specs.departments * 11 + (self._uniform() ** 2 * 24).astype(np.int64)
        anywhere = (self._uniform() * brands.size).astype(np.int64)
        chosen = np.where(self._uniform() < HOME_BRAND, home % brands.size, anywhere)
        return brands.pick(chosen, self._specs.locales, self._uniform())

    def _description(self, keyword_missing: Mask) -> pa.Array:
        form_only = (self._uniform() < FORM_IN_DESCRIPTION) | keyword_missing
        praise = self._any("praise")
        said = pc.coalesce(join(self._places[3:6], ", "), praise)
        groups = self._vocabulary.type_groups[self._specs.types]
        return join(
            [
                self._fill("openings", self._called(form_only), said),
                only(self._fill("worlds", self._pick("worlds", groups)), self._uniform() < WORLD),
                only(self._companion(), self._uniform() < COMPANION),
                only(self._fill("fillers"), self._uniform() < FILLER),
            ]
        )

    def _bullets(self) -> list[pa.Array]:
        second = only(self._fill("fillers"), self._uniform() < SECOND_BULLET)
        return [*self._places[6:], self._any("bullets"), second]

    def _about_others(self, sentence: str, gaps: int) -> pa.Array:
        """A sentence that names other types of the same department."""
        types = self._other_types(gaps)
        return self._fill(sentence, *(self._pick("clear", column) for column in types))

    def _companion(self) -> pa.Array:
        """A sentence that names a product of any department."""
        types = self._rng.integers(len(self._vocabulary.types), size=self._count)
        return self._fill("companions", self._pick("clear", types))

    def _other_types(self, count: int) -> list[Ints]:
        homes = self._vocabulary.group_departments[self._vocabulary.type_groups]
        starts = np.searchsorted(homes, self._specs.departments)
        sizes = np.searchsorted(homes, self._specs.departments, "right") - starts
        steps = [1 + (self._uniform() * (sizes - 1)).astype(np.int64) for _ in range(count)]
        return [starts + (self._specs.types - starts + step) % sizes for step in steps]

    def _peripheral_phrases(self) -> list[pa.Array]:
        """Six phrases with any values of the department's facets."""
        vocabulary, departments = self._vocabulary, self._specs.departments
        phrases = []
        for _ in range(6):
            slots = self._rng.integers(SLOTS, size=self._count)
            facets = vocabulary.slot_facets[departments, slots]
            starts = vocabulary.value_starts[facets]
            sizes = vocabulary.value_starts[facets + 1] - starts
            values = starts + (self._uniform() * sizes).astype(np.int64)
            phrases.append(self._pick("phrases", values))
        return phrases


def list_column(columns: list[pa.Array]) -> pa.Array:
    """Lists of each row's values that are not null."""
    count, width = len(columns[0]), len(columns)
    by_row = np.arange(count * width).reshape(width, count).T.ravel()
    flat = pa.concat_arrays(columns).take(pa.array(by_row))
    filled = np.asarray(flat.is_valid()).reshape(count, width)
    offsets = np.concatenate([[0], np.cumsum(filled.sum(axis=1))]).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), flat.drop_null())
