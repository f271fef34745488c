"""Reads a mapping's files into one table of canonical rows, and joins columns of other files."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import ibis
import ibis.expr.types as ir

from data_modules.prepare.accounts import Accounts
from data_modules.prepare.engines import Engine
from data_modules.prepare.mapping import FileOptions, InputOptions, JoinOptions
from data_modules.prepare.progress import Stage
from data_modules.prepare.reading.fields import Field
from data_modules.prepare.reading.locations import find_files
from data_modules.prepare.reading.read import ReadResult, ReadTask, missing_column, read_file
from hierarchy_lm.errors import UserError

SOURCE = ("source_file", "source_row")
PARTNER = "has_partner"


@dataclass
class Inputs:
    """Where the files are and what happened to their rows on the way in.

    Attributes:
        engine: Runs the reader.
        root: Path or URL that file names start from.
        accounts: Of all rows.
    """

    engine: Engine
    root: str
    accounts: Accounts = field(default_factory=Accounts)

    def read(
        self,
        options: FileOptions,
        fields: Sequence[Field],
        use: str,
        stage: Stage,
        keep: dict[str, list[str]] | None = None,
        elsewhere: Sequence[str] = (),
    ) -> list[ReadResult]:
        """Read all files.

        Args:
            options: The files.
            fields: The columns to make of each.
            use: What they are read for, for the account.
            stage: Progress.
            keep: Only rows whose column holds one of the values.
            elsewhere: Columns that the files may lack.

        Raises:
            UserError: From :func:`read_file`; if no file has a column; if the files differ in
                whether they have one that also stands elsewhere.
        """
        files = find_files(options, self.root)
        stage.expect(len(files))
        tasks = [
            ReadTask(file, number, options, tuple(fields), keep or {}, frozenset(elsewhere),
                     self.engine.place("read"))
            for number, file in enumerate(files)
        ]  # fmt: skip
        results = []
        for result in self.engine.run(read_file, tasks):
            results.append(result)
            stage.step()
        _check_columns(results, [*(f.column for f in fields), *(keep or {})], elsewhere)
        self.accounts.add(use, results)
        return results

    def rows(
        self, options: InputOptions, fields: list[Field], use: str, stage: Stage
    ) -> tuple[ir.Table, list[str]]:
        """All rows with their fields, from these files or from those of the joins.

        Returns:
            Columns of the fields' names, `source_file` and `source_row`; and the files' labels.

        Raises:
            UserError: From :meth:`read`, and if a join's keys are missing or repeated.
        """
        keys = [
            [Field(f"key_{number}_{place}", ours, "plain") for place, ours in enumerate(join.pairs)]
            for number, join in enumerate(options.joins)
        ]
        wanted = [*fields, *(key for several in keys for key in several)]
        sides = [
            self._join_side(join, keys[number], wanted, f"{use}, join {number + 1}", stage)
            for number, join in enumerate(options.joins)
        ]
        elsewhere = [column for _, columns in sides for column in columns]
        results = self.read(options, wanted, use, stage, options.keep, elsewhere)
        there = {column for result in results for column in result.columns}
        rows = self.engine.table([result.target for result in results])
        have = [field.name for field in wanted if field.column in there]
        rows = rows.select(*have, *SOURCE)
        for number, ((side, columns), join_keys) in enumerate(zip(sides, keys, strict=True)):
            rows = _joined(rows, side, columns, join_keys, wanted)
            alone = self.engine.values(rows.aggregate(rows=rows[PARTNER].isnull().sum()))["rows"]
            self.accounts.changes[f"{use}: rows without a partner in join {number + 1}"] = alone
            rows = rows.drop(PARTNER)
        return rows.select(*(f.name for f in fields), *SOURCE), [r.label for r in results]

    def _join_side(
        self, join: JoinOptions, keys: list[Field], wanted: list[Field], use: str, stage: Stage
    ) -> tuple[ir.Table, set[str]]:
        """The other files' columns; the keys must be unique."""
        if not keys:
            raise UserError(f"{use}: 'keys' is missing; name the columns that both sides share")
        theirs = [
            Field(f"their_{key.name}", column, "plain")
            for key, column in zip(keys, join.pairs.values(), strict=True)
        ]
        others = [field for field in wanted if field not in keys]
        elsewhere = {field.column for field in others} - {key.column for key in theirs}
        results = self.read(join, [*theirs, *others], use, stage, elsewhere=[*elsewhere])
        side = self.engine.table([result.target for result in results])
        names = [key.name for key in theirs]
        side = side.drop_null(names)
        repeated = side.group_by(names).having(lambda t: t.count() > 1).aggregate()
        for row in self.engine.rows(repeated.order_by(names).limit(1), use):
            spoken = ", ".join(
                f"{column} '{row[name]}'"
                for name, column in zip(names, join.pairs.values(), strict=True)
            )
            raise UserError(f"{join.files}: the join key {spoken} stands there more than once")
        return side, {column for result in results for column in result.columns}


def _joined(
    rows: ir.Table, side: ir.Table, columns: set[str], keys: list[Field], wanted: list[Field]
) -> ir.Table:
    """Rows with the fields that only the other side has."""
    for key in keys:
        if key.name not in rows.columns:
            raise UserError(f"join: no file before it has the key column '{key.column}'")
    new = [f.name for f in wanted if f.column in columns and f.name not in rows.columns]
    theirs = [f"their_{key.name}" for key in keys]
    pairs = [(key.name, name) for key, name in zip(keys, theirs, strict=True)]
    right = side.select(*theirs, *new, **{PARTNER: ibis.literal(True)})
    return rows.left_join(right, pairs).select(*rows.columns, *new, PARTNER)


def _check_columns(
    results: list[ReadResult], wanted: Sequence[str], elsewhere: Sequence[str]
) -> None:
    """Columns that a file lacks although others have them, or that none has."""
    for name in dict.fromkeys(wanted):
        lacking = [result for result in results if name not in result.columns]
        if len(lacking) == len(results) and name not in elsewhere:
            raise UserError(missing_column(results[0].label, name, results[0].columns))
        closed = [result for result in lacking if not result.open_ended]
        if closed and len(lacking) < len(results):
            raise UserError(
                f"{closed[0].label}: no column '{name}', which other files of this input have; "
                "give it to all, or to the join alone"
            )
