"""Category paths and node keys of a row, each as one text, whatever the column holds."""

from typing import Any, Literal

import pyarrow as pa
import pyarrow.compute as pc

from data_modules.prepare.mapping.rows import PathOptions
from data_modules.prepare.names import node_name, normal_name
from data_modules.prepare.reading.faults import RowError
from data_modules.prepare.reading.fields import STRINGS, Rules, by_value, regrouped
from data_modules.prepare.reading.records import Column
from data_modules.prepare.reading.values import Decoder, each, text_of

LEVEL = "\x1f"
"""Stands between the names of a path while it is one text."""
NODE = "\x1d"
"""Stands before a node key, to tell it from a path of one name."""

Shape = Literal["texts", "lists", "lists of lists"]


def path_texts(options: PathOptions, column: Column, rules: Rules) -> tuple[pa.Array, Shape | None]:
    """The paths of every row.

    Args:
        options: How to find them.
        column: Texts, lists of texts, lists of these, or objects in place of the texts.
        rules: For texts.

    Returns:
        A list of paths per row, names joined by ``LEVEL``, or of keys behind ``NODE``; and what the
        column holds, None if nothing.

    Raises:
        RowError: At a value of another shape than the ones before it, or an object of which no
            member is named.
    """
    if options.field:
        member = options.field
        values = column if isinstance(column, list) else column.to_pylist()
        column = each(values, lambda value: _picked(value, member))
    if isinstance(column, list):
        column = _array(column, rules.decoder)
    if pa.types.is_fixed_size_list(column.type):
        column = pa.array(column.to_pylist(), pa.list_(column.type.value_type))
    shape = _shape(column.type)
    if shape == "texts":
        texts = by_value(rules.texts(column), lambda text: _cut(text, options), STRINGS)
        return pc.fill_null(texts, pa.scalar([], STRINGS)), _held(column, shape)
    lists = pc.fill_null(column, pa.scalar([], column.type))
    if shape == "lists of lists":
        return _of_lists_of_lists(lists, options, rules), _held(column, shape)
    return _of_lists(lists, options, rules), _held(column, shape)


def _of_lists(lists: pa.Array, options: PathOptions, rules: Rules) -> pa.Array:
    """Every text is a key or a path if the options say so; else the list is one path."""
    parents, values = pc.list_parent_indices(lists), rules.texts(pc.list_flatten(lists))
    if not options.node and not options.separator:
        names = pc.fill_null(by_value(values, node_name), "")
        whole = pc.binary_join(regrouped(names, parents, len(lists)), LEVEL)
        return regrouped(whole, pa.array(range(len(lists)), pa.int64()), len(lists))
    kept = pc.is_valid(values)
    texts = by_value(values.filter(kept), lambda text: _path(text, options))
    return regrouped(texts, parents.filter(kept), len(lists))


def _of_lists_of_lists(lists: pa.Array, options: PathOptions, rules: Rules) -> pa.Array:
    if options.node or options.separator:
        raise RowError(0, "holds lists of lists, which need no 'separator' and are no node keys")
    inner = pc.list_flatten(lists)
    inner = pc.fill_null(inner, pa.scalar([], inner.type))
    names = pc.fill_null(by_value(rules.texts(pc.list_flatten(inner)), node_name), "")
    whole = pc.binary_join(regrouped(names, pc.list_parent_indices(inner), len(inner)), LEVEL)
    return regrouped(whole, pc.list_parent_indices(lists), len(lists))


def _cut(text: str, options: PathOptions) -> list[str]:
    if options.trim:
        text = _trimmed(text, options.trim)
    several = text.split(options.path_separator) if options.path_separator else [text]
    return [_path(path, options) for path in several]


def _trimmed(text: str, characters: str) -> str:
    stripped = text.strip()
    while (trimmed := stripped.strip(characters).strip()) != stripped:
        stripped = trimmed
    return stripped


def _path(text: str, options: PathOptions) -> str:
    if options.node:
        return NODE + normal_name(text)
    names = text.split(options.separator) if options.separator else [text]
    return LEVEL.join(map(node_name, names))


def _picked(value: Any, member: str) -> Any:  # noqa: ANN401 - values of files
    if value is None:
        return None
    if isinstance(value, list):
        return [_picked(item, member) for item in value]
    if not isinstance(value, dict):
        raise ValueError(f"holds {str(value)[:40]!r}, where 'field: {member}' expects objects")
    if member not in value:
        there = ", ".join(map(str, value))
        raise ValueError(f"holds an object without the member '{member}'; it has {there}")
    return value[member]


def _array(values: list[Any], decoder: Decoder) -> pa.Array:
    """Python values as an Arrow array of one shape.

    Raises:
        RowError: At the first value of another shape.
    """
    shapes = [_shape_of(value) for value in values]
    held = next((shape for shape in shapes if shape not in (None, "empty")), None)
    for index, shape in enumerate(shapes):
        _check_shape(index, shape, held)
    if held is None:
        return pa.array([None] * len(values), pa.string())

    def text(value: Any) -> str | None:  # noqa: ANN401 - values of files
        return text_of(value, decoder)

    if held == "texts":
        return pa.array(
            each(values, lambda value: text(None if value == [] else value)), pa.string()
        )
    if held == "lists":
        return pa.array(each(values, lambda value: value and [*map(text, value)]), STRINGS)
    outer = each(values, lambda value: value and [i and [*map(text, i)] for i in value])
    return pa.array(outer, pa.list_(STRINGS))


def _check_shape(index: int, shape: str | None, held: str | None) -> None:
    if shape == "objects":
        raise RowError(index, "holds objects; name the member to read with 'field'")
    if shape == "mixed":
        raise RowError(index, "mixes texts and lists in one list; make them all texts or all lists")
    if shape not in (None, "empty", held):
        raise RowError(index, f"holds {shape}, other rows hold {held}; make them all the same")


def _shape_of(value: Any) -> str | None:  # noqa: ANN401 - values of files
    if value is None:
        return None
    if isinstance(value, dict):
        return "objects"
    if not isinstance(value, list):
        return "texts"
    inner = {_shape_of(item) for item in value} - {None}
    if not inner:
        return "empty"
    if inner == {"texts"}:
        return "lists"
    if inner <= {"lists", "empty"}:
        return "lists of lists"
    return "objects" if "objects" in inner else "mixed"


def _shape(kind: pa.DataType) -> Shape:
    if not hasattr(kind, "value_type") or pa.types.is_dictionary(kind):
        if pa.types.is_struct(kind) or pa.types.is_map(kind):
            raise RowError(0, "holds objects; name the member to read with 'field'")
        return "texts"
    inner = _shape(kind.value_type)
    if inner == "lists of lists":
        raise RowError(0, "holds lists of lists of lists; give paths as lists of names")
    return "lists of lists" if inner == "lists" else "lists"


def _held(column: pa.Array, shape: Shape) -> Shape | None:
    return shape if column.null_count < len(column) else None
