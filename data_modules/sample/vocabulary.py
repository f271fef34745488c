"""The generator's word lists: departments, groups, product types, facets and phrases."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

from data_modules.sample.lexicon import Lexicon, Sentences

LOCALES = ("en", "de")
ENGLISH, GERMAN, BOTH = 1, 2, 3
"""Sets of locales as bit masks; bit i stands for ``LOCALES[i]``."""
SLOTS = 8
"""Facets per department."""

Names = tuple[str, str]


@dataclass(frozen=True)
class Department:
    """Roots of the tree; ``facets`` holds facet numbers in the order of refinement."""

    names: Names
    facets: tuple[int, ...]


@dataclass(frozen=True)
class Group:
    """Second level of the tree."""

    names: Names
    department: int
    locales: int


@dataclass(frozen=True)
class ProductType:
    """Third level of the tree; the German tree may file it under another group.

    ``facets`` are those of its department that suit it.
    """

    names: Names
    group: int
    german_group: int
    form: Names
    facets: frozenset[int]


@dataclass(frozen=True)
class Vocabulary:
    """All word lists, numbered.

    Attributes:
        types: Sorted by group, as ``groups`` are by department.
        values: Names of all facet values, facet after facet.
        value_starts: ``(facets + 1,)`` first value of each facet.
        lexicons: Words by what they say: clear, form (product types), words (bare values), phrases
            (values within "for ...", "made of ..."), worlds (groups), and others with one key.
        sentences: Templates by purpose.
        brands: Made-up names, the same in both locales.
    """

    departments: list[Department]
    groups: list[Group]
    types: list[ProductType]
    values: list[Names]
    value_starts: NDArray[np.int64]
    lexicons: dict[str, Lexicon]
    sentences: dict[str, Sentences]
    brands: Lexicon

    @property
    def type_groups(self) -> NDArray[np.int64]:
        """``(types,)`` group of each type."""
        return np.array([kind.group for kind in self.types])

    @property
    def group_departments(self) -> NDArray[np.int64]:
        """``(groups,)`` department of each group."""
        return np.array([group.department for group in self.groups])

    @property
    def suitable_slots(self) -> NDArray[np.bool_]:
        """``(types, SLOTS)`` whether the department's facets suit each type."""
        homes = self.group_departments[self.type_groups]
        facets = zip(self.slot_facets[homes].tolist(), self.types, strict=True)
        return np.array([[facet in kind.facets for facet in slots] for slots, kind in facets])

    @property
    def slot_facets(self) -> NDArray[np.int64]:
        """``(departments, SLOTS)`` facet numbers."""
        return np.array([department.facets for department in self.departments])


@cache
def load_vocabulary() -> Vocabulary:
    """Read the packaged word lists."""
    folder = files(__package__) / "words"
    facets, phrases = _read(folder / "facets.yaml"), _read(folder / "phrases.yaml")
    reader = _Departments(facets, phrases["german_placement"])
    for file in sorted((folder / "departments").iterdir(), key=lambda file: file.name):
        for heading, content in _read(file).items():
            reader.add(heading, content)
    counts = [len(facet["values"]) for facet in facets.values()]
    return Vocabulary(
        reader.departments,
        reader.groups,
        reader.types(),
        [(en[0], de[0]) for en, de in _facet_values(facets)],
        np.concatenate([[0], np.cumsum(counts)]),
        reader.lexicons() | _facet_lexicons(facets) | _phrase_lexicons(phrases),
        {name: Sentences(_columns(phrases[name])) for name in _SENTENCES},
        _brands(phrases["brand_starts"], phrases["brand_ends"]),
    )


class _Departments:
    """Numbers departments, groups and types in the order of the files."""

    def __init__(self, facets: dict[str, Any], german_placement: dict[str, str]) -> None:
        self.departments: list[Department] = []
        self.groups: list[Group] = []
        self._facets = facets
        self._placement = german_placement
        self._worlds: list[list[list[str]]] = []
        self._types: list[tuple[int, list[list[str]]]] = []

    def add(self, heading: str, content: dict[str, Any]) -> None:
        en, de = _pair(heading)
        numbers = list(self._facets)
        facets = tuple(numbers.index(name) for name in content["facets"])
        self.departments.append(Department((en, de), facets))
        for title, types in content["groups"].items():
            self._add_group(title, types)

    def _add_group(self, title: str, types: list[str]) -> None:
        locales = {"@en ": ENGLISH, "@de ": GERMAN}.get(title[:4], BOTH)
        en, de = _fields(title if locales == BOTH else title[4:])
        self._types += [(len(self.groups), _fields(text)) for text in types]
        self._worlds.append([_words(en[1]), _words(de[1])])
        self.groups.append(Group((en[0], de[0]), len(self.departments) - 1, locales))

    def types(self) -> list[ProductType]:
        """All types, once every group is known."""
        places = {
            f"{self.departments[group.department].names[0]} > {group.names[0]}": number
            for number, group in enumerate(self.groups)
        }
        return [
            ProductType(
                (en[0], de[0]),
                group,
                places.get(self._placement.get(en[0], ""), group),
                (en[2], de[2]),
                self._suitable(group, en[2]),
            )
            for group, (en, de) in self._types
        ]

    def _suitable(self, group: int, form: str) -> frozenset[int]:
        rules = list(self._facets.values())
        department = self.departments[self.groups[group].department]
        return frozenset(
            facet
            for facet in department.facets
            if form in rules[facet].get("only", [form]) and form not in rules[facet].get("not", [])
        )

    def lexicons(self) -> dict[str, Lexicon]:
        """What products and their worlds are called."""
        texts = [texts for _, texts in self._types]
        return {
            "clear": Lexicon([[_words(text[1]) for text in pair] for pair in texts]),
            "form": Lexicon([[[text[2]] for text in pair] for pair in texts]),
            "worlds": Lexicon(self._worlds),
        }


_SENTENCES = [
    "openings",
    "worlds",
    "fillers",
    "companions",
    "misleading",
    "peripheral",
    "conjunction",
    "bundle",
]


def _facet_values(facets: dict[str, Any]) -> list[list[list[str]]]:
    return [_fields(value) for facet in facets.values() for value in facet["values"]]


def _facet_lexicons(facets: dict[str, Any]) -> dict[str, Lexicon]:
    words = [[_words(text[1]) for text in pair] for pair in _facet_values(facets)]
    says = [_pair(facet["say"]) for facet in facets.values() for _ in facet["values"]]
    phrases = [
        [[say.format(word) for word in spoken] for say, spoken in zip(pair, entry, strict=True)]
        for pair, entry in zip(says, words, strict=True)
    ]
    return {"words": Lexicon(words), "phrases": Lexicon(phrases)}


def _phrase_lexicons(phrases: dict[str, Any]) -> dict[str, Lexicon]:
    return {name: Lexicon([_columns(phrases[name])]) for name in ("colours", "praise", "bullets")}


def _brands(starts: list[str], ends: list[str]) -> Lexicon:
    names = [start + end for end in ends for start in starts]
    return Lexicon([[[name]] * len(LOCALES) for name in names])


def _read(file: Traversable) -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load(file.read_text(encoding="utf-8"))
    return content


def _columns(texts: str | list[str]) -> list[list[str]]:
    pairs = [_pair(text) for text in ([texts] if isinstance(texts, str) else texts)]
    return [list(column) for column in zip(*pairs, strict=True)]


def _pair(text: str) -> Names:
    en, de = text.split("|")
    return en.strip(), de.strip()


def _fields(text: str) -> list[list[str]]:
    """English and German fields of "a; b, c; d | e; f, g; h"."""
    return [[part.strip() for part in half.split(";")] for half in _pair(text)]


def _words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",")]


def names_in(names: Sequence[str], locales: int) -> str:
    """A node's name: German where only the German tree has it."""
    return names[1] if locales == GERMAN else names[0]
