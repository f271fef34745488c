"""The account of every row: records of a file = rows prepared + rows left out, by cause."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import ibis
import ibis.expr.types as ir

from data_modules.prepare.engines import Engine
from data_modules.prepare.reading.read import ReadResult
from hierarchy_lm.errors import UserError

LEFT_OUT = "left_out"
"""Column that says why a row is left out; null for a row that stays."""


@dataclass
class FileAccount:
    """One file in one use.

    Attributes:
        use: What it was read for: ``products``, ``tasks.<name>``, a join, the tree.
        label: The file.
        records: Records counted in it, before the engine saw any.
        prepared: Rows that came out of it.
        left_out: Rows that did not, by cause.
        other: Lines that are no records, by cause.
    """

    use: str
    label: str
    records: int
    prepared: int
    left_out: Counter[str]
    other: dict[str, int]


@dataclass
class Accounts:
    """All files of a preparation, and what else was counted.

    Attributes:
        files: In the order they were read.
        changes: What was cut, replaced or duplicated, by name.
        warnings: Sentences that the user should not miss.
    """

    files: list[FileAccount] = field(default_factory=list)
    changes: Counter[str] = field(default_factory=Counter)
    warnings: list[str] = field(default_factory=list)

    def add(self, use: str, results: Sequence[ReadResult]) -> None:
        """Take over what the reader counted; until more is known, what it wrote is prepared."""
        for result in results:
            self.changes["characters replaced"] += result.replaced
            self.files.append(
                FileAccount(use, result.label, result.records, result.rows,
                            Counter(result.left_out), result.other)
            )  # fmt: skip

    def settle(self, use: str, engine: Engine, rows: ir.Table) -> None:
        """Count what became of the rows of each file, and hold it to what was read.

        Args:
            use: What the files were read for.
            engine: Counts.
            rows: All rows, with ``source_file`` and the reason why one is left out.

        Raises:
            UserError: If a row is missing or there is one too many.
        """
        counted = rows.group_by("source_file", LEFT_OUT).aggregate(rows=rows.count())
        files = [account for account in self.files if account.use == use]
        for account in files:
            account.prepared = 0
        for row in sorted(engine.rows(counted), key=lambda row: row[LEFT_OUT] or ""):
            account = files[row["source_file"]]
            if row[LEFT_OUT] is None:
                account.prepared = row["rows"]
            else:
                account.left_out[row[LEFT_OUT]] += row["rows"]
        for account in files:
            accounted = account.prepared + account.left_out.total()
            if account.records != accounted:
                raise UserError(
                    f"{account.label}: {account.records} records, but {accounted} rows are "
                    "accounted for; nothing was prepared. The input is not to blame: report this"
                )

    def prepared(self, use: str) -> int:
        """Rows that came out of all files of a use."""
        return sum(account.prepared for account in self.files if account.use == use)

    def left_out(self, use: str) -> Counter[str]:
        """Rows of a use that did not, by cause."""
        total: Counter[str] = Counter()
        for account in self.files:
            if account.use == use:
                total += account.left_out
        return total

    def lines(self) -> Iterator[tuple[str, int]]:
        """Everything that was left out or changed, with its count."""
        for use in dict.fromkeys(account.use for account in self.files):
            yield from ((f"{use}: rows {cause}", n) for cause, n in self.left_out(use).items())
        yield from self.changes.items()
        other: Counter[str] = Counter()
        for account in self.files:
            other.update(account.other)
        yield from other.items()


def leave_out(rows: ir.Table, where: ir.BooleanValue, cause: str) -> ir.Table:
    """Mark rows as left out, unless an earlier cause did so."""
    stays = rows[LEFT_OUT].isnull()
    marked = ibis.ifelse(stays & where.fill_null(False), ibis.literal(cause), rows[LEFT_OUT])
    return rows.mutate(**{LEFT_OUT: marked})


def staying(rows: ir.Table) -> ir.Table:
    """The rows that no cause leaves out."""
    return rows.filter(rows[LEFT_OUT].isnull())
