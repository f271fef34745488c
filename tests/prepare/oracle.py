"""What `hlm prepare` has to make of a table: its documented rules, written down a second time.

Nothing here comes from the package. Input is what Python's csv, json or pyarrow read.
"""

import hashlib
import html
import html.entities
import re
import unicodedata
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

Row = dict[str, Any]

FILLERS = "\u034f\u115f\u1160\u2800\u3164\uffa0"
MARKS = dict.fromkeys(
    map(ord, "\u00ad\u034f\u061c\u180e\u200b\u200e\u200f\u202a\u202b\u202c\u202d\u202e\ufeff")
) | dict.fromkeys(range(0x2060, 0x2070))
JOINERS = "\u200c\u200d"
EMPTY = "left out for being empty"
KEEP = "left out by 'keep'"
REPEATED = "left out for a repeated id"
SHARE = "left out by 'share'"
UNKNOWN = "left out for an unknown node"


class FloatText:
    """Equal to any text that gives the number back."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, str) and type(self.value)(other) == self.value

    def __hash__(self) -> int:
        return hash(self.value)

    def __repr__(self) -> str:
        return f"FloatText({self.value!r})"


class RefusedError(Exception):
    """The input has to be refused; ``named`` must stand in the message."""

    def __init__(self, *named: str) -> None:
        super().__init__(*named)
        self.named = named


def is_blank(text: str) -> bool:
    """Nothing but spaces, control characters and what is drawn as nothing."""
    return all(
        c.isspace() or c in FILLERS or unicodedata.category(c) in ("Cc", "Cf", "Zs", "Zl", "Zp")
        for c in text
    )


def known(text: Any, null_values: list[str]) -> Any:
    """The text, or None if it means "missing"."""
    if not isinstance(text, str):
        return text
    return None if is_blank(text) or text.strip() in null_values else text


def is_empty(row: Row, roles: "Roles", nulls: list[str]) -> bool:
    """Whether nothing stands in any column that is read."""

    def holds(value: Any) -> bool:
        if isinstance(value, list):
            return any(holds(item) for item in value)
        return known(value, nulls) is not None

    return not any(holds(row.get(column)) for column in roles.columns())


def normal_form(name: str) -> str:
    """Of names: entities, invisible marks, NFC, single spaces; again until nothing changes."""
    while True:
        formed = re.sub(r"&(#[0-9]+|#[xX][0-9a-fA-F]+|[A-Za-z][A-Za-z0-9]*);", _entity, name)
        formed = unicodedata.normalize("NFC", formed.translate(MARKS))
        spaced = "".join(" " if _splits(c) else c for c in formed)
        formed = re.sub(" +", " ", spaced).strip(" " + JOINERS)
        if formed == name:
            return name
        name = formed


def _entity(found: "re.Match[str]") -> str:
    name = found[1]
    if name.startswith("#"):
        return html.unescape(found[0])
    return html.entities.html5.get(f"{name};", found[0])


def _splits(c: str) -> bool:
    return c.isspace() or unicodedata.category(c) in ("Cc", "Zs", "Zl", "Zp")


def node_name(name: str | None) -> str:
    """Of nodes: the normal form, in which a `>` between spaces is another sign."""
    words = normal_form(name or "").split(" ")
    return " ".join("›" if word == ">" else word for word in words)


def hashed_split(key: str) -> str:
    """docs/dataset.md."""
    start = hashlib.md5(key.encode()).hexdigest()[:8]
    return "train" if start < "cccccccc" else "validation" if start < "e6666666" else "test"


def in_share(key: str, share: float) -> bool:
    """The second eight digits of the same hash, below the share of all their values."""
    return int(hashlib.md5(key.encode()).hexdigest()[8:16], 16) < round(share * 16**8)


@dataclass
class Path:
    """How a row's paths are found: one column per level, a text to cut, or lists."""

    columns: list[str] | None = None
    column: str | None = None
    separator: str | None = None
    path_separator: str | None = None

    def mapping(self) -> Row:
        """As `products.paths` has it."""
        return {key: value for key, value in vars(self).items() if value is not None}

    def raw_paths(self, row: Row, nulls: list[str]) -> list[list[str]]:
        """Names of each path, "" where one is missing."""
        if self.columns:
            return [[node_name(known(row.get(column), nulls)) for column in self.columns]]
        value = row.get(self.column)
        if isinstance(value, list) and any(isinstance(item, list) for item in value):
            return [[node_name(known(name, nulls)) for name in path or []] for path in value]
        if isinstance(value, list) and not self.separator:
            return [[node_name(known(name, nulls)) for name in value]]
        texts = value if isinstance(value, list) else self._several(known(value, nulls))
        texts = [text for text in texts if known(text, nulls) is not None]
        return [[node_name(name) for name in self._names(text)] for text in texts]

    def _several(self, text: str | None) -> list[str]:
        if text is None:
            return []
        return text.split(self.path_separator) if self.path_separator else [text]

    def _names(self, text: str) -> list[str]:
        return text.split(self.separator) if self.separator else [text]


@dataclass
class Roles:
    """Which columns mean what."""

    item_id: str
    title: str | None = None
    description: str | None = None
    bullet_points: str | None = None
    bullet_separator: str | None = None
    locale: str | None = None
    path: Path = field(default_factory=Path)
    gaps: str = "cut"

    def products(self) -> Row:
        """As a mapping has it."""
        plain = {k: v for k, v in vars(self).items() if v is not None and k not in ("path", "gaps")}
        return {**plain, "paths": [self.path.mapping()]}

    def columns(self) -> list[str]:
        """All that are read."""
        several = [self.item_id, self.title, self.description, self.bullet_points, self.locale]
        paths = self.path.columns or [self.path.column]
        return [column for column in [*several, *paths] if column is not None]


@dataclass
class Filters:
    """What leaves rows out, in this order."""

    keep: dict[str, list[str]] = field(default_factory=dict)
    duplicates_first: bool = False
    share: float = 1.0
    group: str | None = None
    tree: set[str] | None = None

    def key(self, item: str, row: Row) -> str:
        """What decides on the split and the share."""
        group = known(row.get(self.group), []) if self.group else None
        return item if group is None else group


@dataclass
class Expected:
    """A dataset, and the account of every file."""

    rows: dict[str, Row]
    prepared: list[int]
    left_out: list[Counter[str]]
    nodes: set[str]


def prepared(
    files: list[list[Row]], roles: Roles, nulls: list[str], filters: Filters | None = None
) -> Expected:
    """What has to come out of the records of some files.

    Raises:
        RefusedError: If that is a refusal.
    """
    filters = filters or Filters()
    made = Expected({}, [0] * len(files), [Counter() for _ in files], set())
    candidates = []
    for number, rows in enumerate(files):
        for row in rows:
            if any(known(row.get(c), nulls) not in v for c, v in filters.keep.items()):
                made.left_out[number][KEEP] += 1
            elif is_empty(row, roles, nulls):
                made.left_out[number][EMPTY] += 1
            else:
                candidates.append((number, _id(row, roles, nulls), row))
    _check_ids([item for _, item, _ in candidates], filters)
    nodes: set[str] = set()
    gaps = False
    for number, item, row in _staying(candidates, filters, made):
        paths, gap = _paths(row, roles, nulls)
        gaps |= gap
        if filters.tree is not None and not paths <= filters.tree:
            made.left_out[number][UNKNOWN] += 1
            continue
        nodes |= paths
        made.prepared[number] += 1
        made.rows[item] = _product(row, roles, nulls, paths)
        made.rows[item]["split"] = hashed_split(filters.key(item, row))
    if not made.rows:
        raise RefusedError("products: ")
    if filters.tree is None and not nodes:
        raise RefusedError("no row has a category path")
    if gaps and roles.gaps == "error":
        raise RefusedError("misses a name")
    made.nodes = _closed(nodes if filters.tree is None else filters.tree)
    return made


def _check_ids(ids: list[str | None], filters: Filters) -> None:
    if None in ids:
        raise RefusedError("has no ")
    if len(set(ids)) < len(ids) and not filters.duplicates_first:
        raise RefusedError("stands in ")


def _staying(
    candidates: list[tuple[int, Any, Row]], filters: Filters, made: Expected
) -> list[tuple[int, str, Row]]:
    seen: set[str] = set()
    staying = []
    for number, item, row in candidates:
        if item in seen:
            made.left_out[number][REPEATED] += 1
        elif filters.share < 1 and not in_share(filters.key(item, row), filters.share):
            made.left_out[number][SHARE] += 1
        else:
            staying.append((number, item, row))
        seen.add(item)
    return staying


def _id(row: Row, roles: Roles, nulls: list[str]) -> str | None:
    text = known(row.get(roles.item_id), nulls)
    return None if text is None else text.strip()


def _product(row: Row, roles: Roles, nulls: list[str], paths: set[str]) -> Row:
    def text(column: str | None) -> Any:
        return known(row.get(column), nulls) if column else None

    return {
        "title": text(roles.title),
        "description": text(roles.description),
        "locale": text(roles.locale),
        "bullet_points": bullets(row.get(roles.bullet_points), roles, nulls),
        "paths": _deepest(paths),
    }


def bullets(value: Any, roles: Roles, nulls: list[str]) -> list[Any]:
    """A list, or a text that may be cut; blank ones are none."""
    if isinstance(value, str):
        value = known(value, nulls)
        value = value.split(roles.bullet_separator) if value and roles.bullet_separator else [value]
    items = [known(item, nulls) for item in (value if isinstance(value, list) else [value])]
    return [item.strip() if isinstance(item, str) else item for item in items if item is not None]


def _paths(row: Row, roles: Roles, nulls: list[str]) -> tuple[set[str], bool]:
    found = set()
    gap = False
    for names in roles.path.raw_paths(row, nulls):
        end = names.index("") if "" in names else len(names)
        gap |= any(names[end:])
        found.add(" > ".join(names[:end]))
    return found - {""}, gap


def _closed(paths: set[str]) -> set[str]:
    return {
        " > ".join(path.split(" > ")[:depth])
        for path in paths
        for depth in range(1, path.count(" > ") + 2)
    }


def _deepest(paths: set[str]) -> set[str]:
    return {p for p in paths if not any(other.startswith(f"{p} > ") for other in paths)}
