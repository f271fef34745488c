"""Row-local Ibis expressions: texts, keys of paths, ids and splits."""

import re
from collections.abc import Sequence

import ibis
import ibis.expr.types as ir

from data_modules.prepare.mapping import PathOptions
from hierarchy_lm.dataset import SPLIT_STARTS

LEVEL = "\x1f"
"""Stands between the names of a path while it is one text."""
ITEM = "\x1e"
"""Stands between the paths, node keys or labels of one row while they are one text."""
NODE = "\x1d"
"""Stands before a node key, to tell it from a path of one name."""


def text(column: ir.StringValue, null_values: Sequence[str]) -> ir.StringValue:
    """The column, or null where it is blank or one of ``null_values``."""
    missing = column.strip().isin(["", *null_values])
    return ibis.ifelse(missing, ibis.null("string"), column)


def texts(column: ir.Value, separator: str | None) -> ir.ArrayValue:
    """A list column, or a text column cut by ``separator``, without blank entries."""
    if column.type().is_string():
        column = column.split(separator) if separator else ibis.array([column])
    parts = column.map(lambda part: part.strip())
    return parts.filter(lambda part: part.notnull() & (part != ""))


def path_keys(table: ir.Table, options: PathOptions) -> ir.ArrayValue:
    """The row's paths by one set of options, each as one text, or its node keys."""
    if options.node:
        return _paths(table[options.node], options).map(lambda key: NODE + key)
    if options.columns:
        parts = [_plain(table[name]) for name in options.columns]
        return ibis.array([ibis.literal(LEVEL).join(parts)])
    return _paths(table[options.column], options)


def _paths(column: ir.Value, options: PathOptions) -> ir.ArrayValue:
    if column.type().is_string():
        return _cut(_trim(_plain(column), options.trim), options)
    if column.type().value_type.is_array():
        return column.map(lambda names: names.map(_plain).join(LEVEL))
    if options.node or options.separator:
        return column.map(lambda path: _levels(_plain(path), options))
    return ibis.array([column.fill_null(ibis.array([""])).map(_plain).join(LEVEL)])


def _cut(column: ir.StringValue, options: PathOptions) -> ir.ArrayValue:
    several = options.path_separator
    paths = column.split(several) if several else ibis.array([column])
    return paths.map(lambda path: _levels(path, options))


def _levels(path: ir.StringValue, options: PathOptions) -> ir.StringValue:
    return path.replace(options.separator, LEVEL) if options.separator else path


def _plain(name: ir.StringValue) -> ir.StringValue:
    """Without nulls and without the characters that stand between names here."""
    return name.fill_null("").translate(NODE + ITEM + LEVEL, "   ")


def _trim(column: ir.StringValue, characters: str) -> ir.StringValue:
    if not characters:
        return column
    edge = rf"[{re.escape(characters)}\s]+"
    return column.re_replace(f"^{edge}|{edge}$", "")


def folded(column: ir.StringValue) -> ir.StringValue:
    """Lower case, with single spaces: how titles and names are compared."""
    return column.lower().re_replace(r"\s+", " ").strip()


def without_title_leaf(
    paths: ir.ArrayValue, title: ir.StringValue, characters: int
) -> ir.ArrayValue:
    """Paths without a last name that starts with the first characters of the title."""
    start = folded(title)[:characters].fill_null("")
    usable = start != ""

    def cut(path: ir.StringValue) -> ir.StringValue:
        leaf = path.re_extract(f"([^{LEVEL}]*)$", 1)
        above = path.re_replace(f"{LEVEL}?[^{LEVEL}]*$", "")
        return ibis.ifelse(usable & folded(leaf).startswith(start), above, path)

    return paths.map(cut)


def joined_set(items: ir.ArrayValue) -> ir.StringValue:
    """Distinct items, sorted, as one text: equal sets give equal texts."""
    return items.unique().sort().join(ITEM).fill_null("")


def text_hash(table: ir.Table) -> ir.StringValue:
    """MD5 of all text of a row."""
    bullets = table["bullet_points"].join(ITEM)
    parts = [table["title"], table["description"], bullets]
    if "query" in table.columns:
        parts.append(table["query"])
    whole = ibis.literal(LEVEL).join([part.fill_null("") for part in parts])
    return whole.hexdigest("md5")


def hashed_split(key: ir.StringValue) -> ir.StringValue:
    """80 % train, 10 % validation, 10 % test by the key alone (docs/dataset.md)."""
    start = key.hexdigest("md5").substr(0, 8)
    return ibis.cases(
        (start < SPLIT_STARTS["validation"], "train"),
        (start < SPLIT_STARTS["test"], "validation"),
        else_="test",
    )


def hashed_share(key: ir.StringValue, share: float) -> ir.BooleanValue:
    """Whether the key is among a share (below 1) of all; independent of its split."""
    end = f"{round(share * 16**8):08x}"
    return key.hexdigest("md5").substr(8, 8) < end
