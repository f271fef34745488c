"""Gives every row its unique id and its split, and refuses rows that have none."""

import ibis
import ibis.expr.types as ir

from data_modules.prepare import expressions as ex
from data_modules.prepare.inputs import Inputs
from data_modules.prepare.mapping import RowOptions, SplitOptions
from hierarchy_lm.dataset import SPLITS
from hierarchy_lm.errors import UserError


def identify(inputs: Inputs, rows: ir.Table, options: RowOptions, name: str) -> ir.Table:
    """Rows with a unique ``item_id`` and a ``split``.

    Raises:
        UserError: If an id is missing or repeated, or the split's column holds something else
            than the mapping says; names the row. If the share is none.
    """
    if options.item_id is None:
        rows = rows.mutate(split_key=rows["split_key"].fill_null(ex.text_hash(rows)))
        rows = _with_made_ids(rows)
    else:
        rows = _with_checked_ids(inputs, rows, options, name)
    return _shared(inputs, _with_split(inputs, rows, options), options, name)


def where(row: dict[str, object]) -> str:
    """A row's place for messages."""
    return f"{row['source_file']}: row {row['source_row']}"


def _with_made_ids(rows: ir.Table) -> ir.Table:
    """The text's hash; rows of equal text are numbered, and share the split."""
    rows = rows.mutate(text_hash=ex.text_hash(rows))
    number = ibis.row_number().over(group_by="text_hash", order_by=["source_file", "source_row"])
    rows = rows.mutate(number=number)
    suffix = ibis.ifelse(rows["number"] == 0, "", "-" + rows["number"].cast("string"))
    return rows.mutate(item_id=rows["text_hash"] + suffix).drop("text_hash", "number")


def _with_checked_ids(inputs: Inputs, rows: ir.Table, options: RowOptions, name: str) -> ir.Table:
    first_row = ["source_file", "source_row"]
    missing = rows.filter(rows["item_id"].isnull()).select(first_row).order_by(first_row)
    for row in inputs.engine.rows(missing.limit(1)):
        raise UserError(f"{where(row)} has no '{options.item_id}'; fill it or drop 'item_id'")
    repeated = rows.group_by("item_id").aggregate(rows=lambda t: t.count())
    repeated = repeated.filter(repeated["rows"] > 1)
    found = inputs.engine.rows(repeated.order_by("item_id").limit(1))
    if not found:
        return rows
    if options.duplicate_ids == "error":
        raise UserError(
            f"{name}: the id '{found[0]['item_id']}' stands in {found[0]['rows']} rows; "
            "mend it or set duplicate_ids: first"
        )
    surplus = inputs.engine.values(repeated.aggregate(rows=(repeated["rows"] - 1).sum()))
    inputs.counts[f"{name}: rows left out for a repeated id"] += surplus["rows"]
    number = ibis.row_number().over(group_by="item_id", order_by=first_row)
    return rows.mutate(number=number).filter(lambda t: t["number"] == 0).drop("number")


def _with_split(inputs: Inputs, rows: ir.Table, options: RowOptions) -> ir.Table:
    split = options.split or SplitOptions()
    key = rows["split_key"].fill_null(rows["item_id"])
    given = rows["split_value"]
    if options.input and isinstance(options.input.files, dict):
        rows = rows.mutate(split=given)
    elif split.column:
        rows = rows.mutate(split=_named_split(inputs, rows, split))
    else:
        return rows.mutate(split=ex.hashed_split(key))
    if split.hold_out_validation:
        held = (rows["split"] == "train") & (ex.hashed_split(key) == "validation")
        rows = rows.mutate(split=ibis.ifelse(held, "validation", rows["split"]))
    return rows


def _shared(inputs: Inputs, rows: ir.Table, options: RowOptions, name: str) -> ir.Table:
    share = options.split.share if options.split else 1.0
    if not 0 < share <= 1:
        raise UserError(f"{name}: split.share must be above 0 and at most 1, got {share}")
    if share == 1:
        return rows
    kept = ex.hashed_share(rows["split_key"].fill_null(rows["item_id"]), share)
    lost = inputs.engine.values(rows.filter(~kept).aggregate(rows=lambda t: t.count()))["rows"]
    inputs.counts[f"{name}: rows left out by 'share'"] += lost
    return rows.filter(kept)


def _named_split(inputs: Inputs, rows: ir.Table, split: SplitOptions) -> ir.StringValue:
    for value, name in split.values.items():
        if name not in SPLITS:
            raise UserError(f"split: value '{value}' stands for '{name}'; use {', '.join(SPLITS)}")
    given = rows["split_value"].fill_null("")
    unknown = rows.filter(given.notin(list(split.values)))
    unknown = unknown.select("source_file", "source_row", "split_value")
    for row in inputs.engine.rows(unknown.order_by("source_file", "source_row").limit(1)):
        raise UserError(
            f"{where(row)}: column '{split.column}' holds '{row['split_value'] or ''}', "
            f"which split.values does not explain"
        )
    return ibis.cases(*((given == value, name) for value, name in split.values.items()))
