"""Computes the columns of products and tasks that depend on one row alone."""

from functools import reduce
from pathlib import Path

import ibis
import ibis.expr.types as ir

from data_modules.prepare import expressions as ex
from data_modules.prepare.files import InputFile
from data_modules.prepare.inputs import Inputs
from data_modules.prepare.mapping import (
    PathOptions,
    ProductOptions,
    RowOptions,
    SplitOptions,
    TaskOptions,
)
from data_modules.prepare.progress import Stage
from hierarchy_lm.dataset import PATH_SEPARATOR
from hierarchy_lm.errors import UserError

Columns = dict[str, ir.Value]


def read_rows(inputs: Inputs, options: RowOptions, name: str, stage: Stage) -> ir.Table:
    """All rows of all files, computed into Parquet files.

    Args:
        inputs: Reads the files.
        options: Of the products or of a task.
        name: Of the folder for intermediate files.
        stage: Progress.

    Returns:
        Columns `item_id title description bullet_points split_value split_key source_file
        source_row`, and `path_set weight locale cut_leaves` or `query label_set product_id`.

    Raises:
        UserError: If a file or a column is missing or broken.
    """
    if options.input is None:
        raise UserError(f"{name}: 'input' is missing; name the files")
    kept: list[Path] = []
    for file, table in inputs.rows(options.input, named_columns(options), name):
        kept.append(inputs.engine.keep(select_columns(table, options, file), file.label))
        stage.step()
    return inputs.engine.kept(kept)


def named_columns(options: RowOptions) -> list[str]:
    """The input's columns that the mapping names, without repetition."""
    split = options.split or SplitOptions()
    names = [options.item_id, options.title, options.description, options.bullet_points]
    names += [split.column, split.group]
    if isinstance(options, ProductOptions):
        names += [options.weight, options.locale]
        for path in options.paths:
            names += [path.column, path.node, *(path.columns or [])]
    if isinstance(options, TaskOptions):
        names += [options.query, options.product_id, *label_columns(options)]
    return list(dict.fromkeys(name for name in names if name))


def label_columns(options: TaskOptions) -> list[str]:
    """The columns that make a label's name."""
    return [options.label] if isinstance(options.label, str) else options.label


def select_columns(table: ir.Table, options: RowOptions, file: InputFile) -> ir.Table:
    """The computed columns of one file."""
    table = _without_nulls(table, options.input.null_values if options.input else [])
    split = options.split or SplitOptions()

    def column(name: str | None) -> ir.StringValue:
        return table[name] if name else ibis.null("string")

    columns: Columns = {
        "item_id": column(options.item_id).strip(),
        "title": column(options.title),
        "description": column(options.description),
        "bullet_points": _bullets(table, options),
        "split_value": ibis.literal(file.split) if file.split else column(split.column).strip(),
        "split_key": column(split.group),
        "source_file": ibis.literal(file.label),
        "source_row": table["source_row"],
    }
    if isinstance(options, ProductOptions):
        columns |= {"weight": column(options.weight), "locale": column(options.locale)}
        columns |= _path_columns(table, options.paths, columns["title"])
    if isinstance(options, TaskOptions):
        columns |= {"query": column(options.query), "label_set": _labels(table, options)}
        columns["product_id"] = column(options.product_id).strip()
    return table.select(**columns)


def _without_nulls(table: ir.Table, null_values: list[str]) -> ir.Table:
    """The table with blank texts and those that mean "missing" made null."""
    texts = [name for name, kind in table.schema().items() if kind.is_string()]
    return table.mutate(**{name: ex.text(table[name], null_values) for name in texts})


def _bullets(table: ir.Table, options: RowOptions) -> ir.ArrayValue:
    if options.bullet_points is None:
        return ibis.null("array<string>")
    return ex.texts(table[options.bullet_points], options.bullet_separator)


def _labels(table: ir.Table, options: TaskOptions) -> ir.StringValue:
    names = label_columns(options)
    if len(names) == 1:
        return ex.joined_set(ex.texts(table[names[0]], options.label_separator))
    return ibis.literal(PATH_SEPARATOR).join([table[name].strip() for name in names])


def _path_columns(table: ir.Table, options: list[PathOptions], title: ir.StringValue) -> Columns:
    """``path_set``: the row's paths or keys; ``cut_leaves``: whether one lost its last name."""
    empty = ibis.literal([], type="array<string>")
    whole = [ex.path_keys(table, path).fill_null(empty) for path in options]
    cut = [
        ex.without_title_leaf(paths, title, path.title_leaf) if path.title_leaf else paths
        for paths, path in zip(whole, options, strict=True)
    ]
    path_set = ex.joined_set(reduce(lambda left, right: left.concat(right), cut, empty))
    before = ex.joined_set(reduce(lambda left, right: left.concat(right), whole, empty))
    return {"path_set": path_set, "cut_leaves": path_set != before}
