"""Gives every row its unique id and its split, and refuses rows that have none."""

from dataclasses import dataclass

import ibis
import ibis.expr.types as ir

from data_modules.prepare import expressions as ex
from data_modules.prepare.accounts import leave_out
from data_modules.prepare.engines import Engine
from data_modules.prepare.inputs import SOURCE
from data_modules.prepare.mapping import RowOptions, SplitOptions
from hierarchy_lm.dataset import SPLITS
from hierarchy_lm.errors import UserError

REPEATED = "left out for a repeated id"
SHARE = "left out by 'share'"


@dataclass(frozen=True)
class Places:
    """Where rows stand, for messages.

    Attributes:
        engine: Looks them up.
        labels: Of the files, by their number.
    """

    engine: Engine
    labels: list[str]

    def first(self, rows: ir.Table, *columns: str) -> dict[str, object] | None:
        """The first of some rows, with ``where`` it stands."""
        chosen = rows.select(*SOURCE, *columns).order_by(*SOURCE).limit(1)
        for row in self.engine.rows(chosen):
            label = self.labels[row["source_file"]]
            return {"where": f"{label}: row {row['source_row']}", **row}
        return None


def identify(
    places: Places, rows: ir.Table, options: RowOptions, use: str, same_rows: ir.Table | None = None
) -> ir.Table:
    """Rows with a unique ``item_id`` and a ``split``.

    Args:
        places: Of the rows.
        rows: All rows.
        options: Of the products or of a task.
        use: ``products`` or ``tasks.<name>``.
        same_rows: The products, where a task without ids is on the rows of the same files.

    Raises:
        UserError: If an id is missing or repeated, or the split's column holds something else
            than the mapping says; names the row. If the share is none.
    """
    if options.item_id:
        rows = _with_checked_ids(places, rows, options, use)
    elif same_rows is not None:
        made = same_rows.select(*SOURCE, made_id="item_id", made_key="split_key")
        rows = rows.left_join(made, [*SOURCE]).select(*rows.columns, "made_id", "made_key")
        rows = rows.mutate(
            item_id=rows["made_id"], split_key=rows["split_key"].fill_null(rows["made_key"])
        ).drop("made_id", "made_key")
    else:
        rows = rows.mutate(split_key=rows["split_key"].fill_null(ex.text_hash(rows)))
        rows = _with_made_ids(rows)
    return _shared(_with_split(places, rows, options), options, use)


def _with_made_ids(rows: ir.Table) -> ir.Table:
    """The text's hash; rows of equal text are numbered, and share the split."""
    rows = rows.mutate(text_hash=ex.text_hash(rows))
    number = ibis.row_number().over(group_by="text_hash", order_by=[*SOURCE])
    rows = rows.mutate(number=number)
    suffix = ibis.ifelse(rows["number"] == 0, "", "-" + rows["number"].cast("string"))
    return rows.mutate(item_id=rows["text_hash"] + suffix).drop("text_hash", "number")


def _with_checked_ids(places: Places, rows: ir.Table, options: RowOptions, use: str) -> ir.Table:
    if row := places.first(rows.filter(rows["item_id"].isnull())):
        raise UserError(f"{row['where']} has no '{options.item_id}'; fill it or drop 'item_id'")
    repeated = rows.group_by("item_id").aggregate(rows=lambda t: t.count())
    repeated = repeated.filter(repeated["rows"] > 1)
    for several in places.engine.rows(repeated.order_by("item_id").limit(1)):
        if options.duplicate_ids == "error":
            row = places.first(rows.filter(rows["item_id"] == several["item_id"])) or {}
            raise UserError(
                f"{row.get('where')} and further: the id '{several['item_id'][:60]}' stands in "
                f"{several['rows']} rows; mend it or set duplicate_ids: first"
            )
        number = ibis.row_number().over(group_by="item_id", order_by=[*SOURCE])
        rows = rows.mutate(number=number)
        return leave_out(rows, rows["number"] > 0, REPEATED).drop("number")
    return rows


def _with_split(places: Places, rows: ir.Table, options: RowOptions) -> ir.Table:
    split = options.split or SplitOptions()
    key = rows["split_key"].fill_null(rows["item_id"])
    if options.input and isinstance(options.input.files, dict):
        if split.column:
            raise UserError("split.column: the files are given per split already; give one of both")
        rows = rows.mutate(split=rows["split_value"])
    elif split.column:
        rows = rows.mutate(split=_named_split(places, rows, split))
    else:
        return rows.mutate(split=ex.hashed_split(key))
    if split.hold_out_validation:
        held = (rows["split"] == "train") & (ex.hashed_split(key) == "validation")
        rows = rows.mutate(split=ibis.ifelse(held, "validation", rows["split"]))
    return rows


def _shared(rows: ir.Table, options: RowOptions, use: str) -> ir.Table:
    share = options.split.share if options.split else 1.0
    if not 0 < share <= 1:
        raise UserError(f"{use}: split.share must be above 0 and at most 1, got {share}")
    if share == 1:
        return rows
    kept = ex.hashed_share(rows["split_key"].fill_null(rows["item_id"]), share)
    return leave_out(rows, ~kept, SHARE)


def _named_split(places: Places, rows: ir.Table, split: SplitOptions) -> ir.StringValue:
    for value, name in split.values.items():
        if name not in SPLITS:
            raise UserError(f"split: value '{value}' stands for '{name}'; use {', '.join(SPLITS)}")
    given = rows["split_value"].fill_null("")
    if row := places.first(rows.filter(given.notin(list(split.values))), "split_value"):
        raise UserError(
            f"{row['where']}: column '{split.column}' holds "
            f"'{str(row['split_value'] or '')[:60]}', which split.values does not explain; add it"
        )
    return ibis.cases(*((given == value, name) for value, name in split.values.items()))
