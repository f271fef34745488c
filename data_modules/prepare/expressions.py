"""Row-local Ibis expressions: sets of paths and labels, hashes and splits."""

import ibis
import ibis.expr.types as ir

from data_modules.prepare.reading.paths import LEVEL
from hierarchy_lm.dataset import SPLIT_STARTS

ITEM = "\x1e"
"""Stands between the paths, node keys or labels of one row while they are one text."""


def without_title_leaf(
    paths: ir.ArrayValue, title: ir.StringValue, characters: int
) -> ir.ArrayValue:
    """Paths without a last name that starts with the first characters of the title.

    Args:
        paths: Names in normal form.
        title: In normal form and lower case.
        characters: How many to compare.
    """
    start = title[:characters].fill_null("")
    usable = start != ""

    def cut(path: ir.StringValue) -> ir.StringValue:
        leaf = path.re_extract(f"([^{LEVEL}]*)$", 1)
        above = path.re_replace(f"{LEVEL}?[^{LEVEL}]*$", "")
        return ibis.ifelse(usable & leaf.lower().startswith(start), above, path)

    return paths.map(cut)


def joined_set(items: ir.ArrayValue) -> ir.StringValue:
    """Distinct items, sorted, as one text: equal sets give equal texts."""
    return items.unique().sort().join(ITEM).fill_null("")


def text_hash(table: ir.Table) -> ir.StringValue:
    """MD5 of all text of a row; the same for a product and for a task's row of the product."""
    bullets = table["bullet_points"].join(ITEM)
    parts = [table["title"], table["description"], bullets]
    whole = ibis.literal(LEVEL).join([part.fill_null("") for part in parts])
    if "query" in table.columns:
        whole = whole + ibis.ifelse(table["query"].isnull(), "", LEVEL + table["query"])
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
