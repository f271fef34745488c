"""The one normal form of node names, node keys and labels, and what counts as blank."""

import html
import re
import unicodedata
from functools import lru_cache
from html.entities import html5

import pyarrow as pa
import pyarrow.compute as pc

from hierarchy_lm.dataset import PATH_SEPARATOR

ENTITY = re.compile(r"&(?:#[0-9]+|#[xX][0-9a-fA-F]+|[A-Za-z][A-Za-z0-9]*);")
QUOTES = re.compile("['\u2018\u2019\u02bc`\u00b4]")
WORD = re.compile(r"[^\W_]+")
KEPT_MARKS = "\u200c\u200d"
"""Joiners that Persian, Indic scripts and emoji need; all other invisible marks go."""
INVISIBLE = re.compile("[\u00ad\u034f\u061c\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufeff]")
VISIBLE = r"[^\s\p{Z}\p{Cc}\p{Cf}\x{034f}\x{115f}\x{1160}\x{2800}\x{3164}\x{ffa0}]"
"""What makes a text more than blank; the code points are fillers that are drawn as nothing."""


@lru_cache(maxsize=1 << 17)
def normal_name(name: str) -> str:
    """A name, key or label in the one form in which they are compared and kept.

    In this order: HTML entities that end in a semicolon become their characters, invisible and
    direction marks go, Unicode's NFC, and any white space or control characters in a row become one
    space, none at the ends. Repeated until nothing changes: the form of a form is itself.
    """
    while (formed := _form(name)) != name:
        name = formed
    return name


def _form(name: str) -> str:
    if "&" in name:
        name = ENTITY.sub(_character, name)
    if name.isascii() and name.isprintable():
        return " ".join(name.split())
    name = INVISIBLE.sub(_kept_mark, name)
    name = unicodedata.normalize("NFC", name)
    plain = "".join(" " if _is_space(character) else character for character in name)
    return " ".join(plain.split()).strip(KEPT_MARKS + " ")


def _character(entity: "re.Match[str]") -> str:
    known = entity[0][1] == "#" or entity[0][1:] in html5
    return html.unescape(entity[0]) if known else entity[0]


def _kept_mark(mark: "re.Match[str]") -> str:
    return mark[0] if mark[0] in KEPT_MARKS else ""


def _is_space(character: str) -> bool:
    return character.isspace() or unicodedata.category(character) in ("Cc", "Zs", "Zl", "Zp")


@lru_cache(maxsize=1 << 17)
def node_name(name: str) -> str:
    """A node's name: the normal form, without the separator of paths."""
    formed = f" {normal_name(name)} "
    return formed.replace(PATH_SEPARATOR, " › ").replace(PATH_SEPARATOR, " › ").strip()


@lru_cache(maxsize=1 << 17)
def look_alike(name: str) -> str:
    """What names share that a reader would take for the same: case, punctuation, plural aside."""
    words = WORD.findall(QUOTES.sub("", unicodedata.normalize("NFKC", name).casefold()))
    return "".join(word.removesuffix("s") if len(word) > 3 else word for word in words) or name


def filled(column: pa.Array) -> pa.Array:
    """The texts, null where one is blank: nothing but spaces, control or invisible characters."""
    seen = pc.match_substring_regex(column, VISIBLE)
    return pc.if_else(seen, column, pa.scalar(None, column.type))
