"""Which columns of the input a product or a task needs, and the columns made of them."""

from functools import reduce

import ibis
import ibis.expr.types as ir

from data_modules.prepare import expressions as ex
from data_modules.prepare.accounts import LEFT_OUT
from data_modules.prepare.inputs import SOURCE, Inputs
from data_modules.prepare.mapping import (
    PathOptions,
    ProductOptions,
    RowOptions,
    SplitOptions,
    TaskOptions,
)
from data_modules.prepare.progress import Stage
from data_modules.prepare.reading.fields import Field, Form
from data_modules.prepare.reading.locations import find_files
from data_modules.prepare.reading.paths import LEVEL
from hierarchy_lm.dataset import PATH_SEPARATOR
from hierarchy_lm.errors import UserError

EMPTY = ibis.literal([], type="array<string>")


def read_rows(
    inputs: Inputs, options: RowOptions, use: str, stage: Stage
) -> tuple[ir.Table, list[str]]:
    """All rows of all files.

    Args:
        inputs: Reads the files.
        options: Of the products or of a task.
        use: ``products`` or ``tasks.<name>``.
        stage: Progress.

    Returns:
        Columns `item_id title description bullet_points split_value split_key source_file
        source_row left_out`, and `path_set weight locale cut_leaves` or `query label_set
        product_id`; and the labels of the files.

    Raises:
        UserError: If a file or a column is missing or broken.
    """
    if options.input is None:
        raise UserError(f"{use}: 'input' is missing; name the files")
    rows, labels = inputs.rows(options.input, fields_of(options), use, stage)
    return _columns(inputs, rows, options), labels


def fields_of(options: RowOptions) -> list[Field]:
    """What is read of a file."""
    split = options.split or SplitOptions()
    fields = [
        _field("item_id", options.item_id, "plain"),
        _field("title", options.title, "text"),
        _field("description", options.description, "text"),
        _field("bullet_points", options.bullet_points, "texts", options.bullet_separator,
               options.bullet_format),
        _field("split_value", split.column, "plain"),
        _field("split_key", split.group, "text"),
    ]  # fmt: skip
    if isinstance(options, ProductOptions):
        fields += [_field("weight", options.weight, "number")]
        fields += [_field("locale", options.locale, "text")]
        if any(path.title_leaf for path in options.paths):
            fields += [_field("title_start", options.title, "folded")]
        for number, path in enumerate(options.paths):
            fields += _path_fields(number, path)
    if isinstance(options, TaskOptions):
        fields += [_field("query", options.query, "text")]
        fields += [_field("product_id", options.product_id, "plain")]
        fields += _label_fields(options)
    return [field for field in fields if field is not None]


def _field(
    name: str,
    column: str,
    form: Form,
    separator: str = "",
    template: str = "",
) -> Field | None:
    return Field(name, column, form, separator, template) if column else None


def _path_fields(number: int, path: PathOptions) -> list[Field]:
    if path.columns:
        return [
            Field(f"path_{number}_{level}", column, "node_name")
            for level, column in enumerate(path.columns)
        ]
    return [Field(f"path_{number}", path.column or path.node, "paths", path=path)]


def _label_fields(options: TaskOptions) -> list[Field]:
    if isinstance(options.label, str):
        return [Field("label", options.label, "labels", options.label_separator)]
    return [Field(f"label_{n}", column, "node_name") for n, column in enumerate(options.label)]


def _columns(inputs: Inputs, rows: ir.Table, options: RowOptions) -> ir.Table:
    def column(name: str, kind: str = "string") -> ir.Value:
        return rows[name] if name in rows.columns else ibis.null(kind)

    texts = ("item_id", "title", "description", "split_key")
    columns: dict[str, ir.Value] = {name: column(name) for name in texts}
    columns["bullet_points"] = column("bullet_points", "array<string>")
    columns["split_value"] = _split_value(inputs, rows, options, column("split_value"))
    columns |= {name: rows[name] for name in SOURCE}
    columns[LEFT_OUT] = ibis.null("string")
    if isinstance(options, ProductOptions):
        columns["weight"] = column("weight", "float32").fill_null(1.0).cast("float32")
        columns["locale"] = column("locale")
        columns |= _path_columns(rows, options.paths, column("title_start"))
    if isinstance(options, TaskOptions):
        columns |= {"query": column("query"), "product_id": column("product_id")}
        columns["label_set"] = _label_set(rows, options)
    return rows.select(**columns)


def _split_value(
    inputs: Inputs, rows: ir.Table, options: RowOptions, column: ir.StringValue
) -> ir.StringValue:
    """The split that the column or the files name."""
    if options.input is None or not isinstance(options.input.files, dict):
        return column
    files = find_files(options.input, inputs.root)
    by_split: dict[str, list[int]] = {}
    for number, file in enumerate(files):
        by_split.setdefault(str(file.split), []).append(number)
    return ibis.cases(
        *((rows["source_file"].isin(numbers), split) for split, numbers in by_split.items())
    )


def _label_set(rows: ir.Table, options: TaskOptions) -> ir.StringValue:
    """The row's labels as one text; of several columns, none if one is missing."""
    if isinstance(options.label, str):
        return ex.joined_set(rows["label"].fill_null(EMPTY))
    parts = [rows[f"label_{number}"] for number in range(len(options.label))]
    whole = ibis.literal(PATH_SEPARATOR).join([part.fill_null("") for part in parts])
    return ibis.ifelse(ibis.or_(*(part.isnull() for part in parts)), "", whole)


def _path_columns(
    rows: ir.Table, options: list[PathOptions], title: ir.StringValue
) -> dict[str, ir.Value]:
    """``path_set``: the row's paths or keys; ``cut_leaves``: whether one lost its last name."""
    whole = [_paths(rows, number, path) for number, path in enumerate(options)]
    cut = [
        ex.without_title_leaf(paths, title, path.title_leaf) if path.title_leaf else paths
        for paths, path in zip(whole, options, strict=True)
    ]
    path_set = ex.joined_set(reduce(lambda left, right: left.concat(right), cut, EMPTY))
    if not any(path.title_leaf for path in options):
        return {"path_set": path_set, "cut_leaves": ibis.literal(False)}
    before = ex.joined_set(reduce(lambda left, right: left.concat(right), whole, EMPTY))
    return {"path_set": path_set, "cut_leaves": path_set != before}


def _paths(rows: ir.Table, number: int, path: PathOptions) -> ir.ArrayValue:
    if not path.columns:
        return rows[f"path_{number}"].fill_null(EMPTY)
    levels = [rows[f"path_{number}_{level}"].fill_null("") for level in range(len(path.columns))]
    return ibis.array([ibis.literal(LEVEL).join(levels)])
