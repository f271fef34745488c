"""Opens a mapping's files as tables, one after the other, and joins further columns to them."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import ibis
import ibis.expr.types as ir

from data_modules.prepare.engine import Engine
from data_modules.prepare.files import InputFile, find_files, make_plain
from data_modules.prepare.mapping import FileOptions, InputOptions, JoinOptions
from hierarchy_lm.errors import UserError


@dataclass
class Inputs:
    """Where the files are and what happened to their rows on the way in.

    Attributes:
        engine: Reads them.
        root: Folder that file names start from.
        counts: Rows left out and characters replaced, for the report.
    """

    engine: Engine
    root: Path
    counts: Counter[str] = field(default_factory=Counter)

    def tables(self, options: FileOptions, name: str) -> Iterator[tuple[InputFile, ir.Table]]:
        """One table per file; it is to be used up before the next one is asked for.

        Args:
            options: The files.
            name: Of the folder for plain copies.

        Raises:
            UserError: If a file is missing, empty, broken or of an unknown format.
        """
        folder = self.engine.folder / "plain" / name
        folder.mkdir(parents=True, exist_ok=True)
        for number, file in enumerate(find_files(options, self.root)):
            kind = file.kind if options.format == "auto" else options.format
            path, replaced = make_plain(file, kind, options.encoding, folder, number)
            self.counts["characters replaced"] += replaced
            yield file, self.engine.read(path, kind, options, file.label)
            if path.parent == folder:
                path.unlink()

    def rows(
        self, options: InputOptions, wanted: list[str], name: str
    ) -> Iterator[tuple[InputFile, ir.Table]]:
        """Tables of the wanted columns and `source_row`, filtered and joined."""
        join = self._join_side(options.join, wanted, name) if options.join else None
        for file, table in self.tables(options, name):
            numbered = table.mutate(source_row=ibis.row_number() + 1)
            if options.keep:
                numbered = self._filter(numbered, options.keep, file.label)
            if join is not None and options.join is not None:
                require(table, options.join.keys, file.label)
                numbered = numbered.left_join(join, options.join.keys)
            require(numbered, wanted, file.label)
            yield file, numbered.select(*wanted, "source_row")

    def _filter(self, table: ir.Table, keep: dict[str, list[str]], label: str) -> ir.Table:
        require(table, keep, label)
        wanted = ibis.and_(*(table[column].isin(values) for column, values in keep.items()))
        lost = table.filter(~wanted.fill_null(False)).aggregate(rows=lambda t: t.count())
        self.counts["rows left out by 'keep'"] += int(self.engine.values(lost, label)["rows"])
        return table.filter(wanted)

    def _join_side(self, join: JoinOptions, wanted: list[str], name: str) -> ir.Table:
        """The other files' wanted columns, computed once; the keys must be unique."""
        paths = []
        for file, table in self.tables(join, f"{name}-join"):
            require(table, join.keys, file.label)
            columns = [c for c in table.columns if c in wanted and c not in join.keys]
            paths.append(self.engine.keep(table.select(*join.keys, *columns), file.label))
        side = self.engine.kept(paths).drop_null(join.keys)
        repeated = side.group_by(join.keys).having(lambda t: t.count() > 1).aggregate()
        for key in self.engine.rows(repeated.limit(1)):
            raise UserError(f"{join.files}: the join key {key} stands there more than once")
        return side


def require(table: ir.Table, columns: Iterable[str], label: str) -> None:
    """Check that the columns are there.

    Raises:
        UserError: If one is missing; names the file and the columns it has.
    """
    for column in columns:
        if column not in table.columns:
            there = ", ".join(name for name in table.columns if name != "source_row")
            raise UserError(f"{label}: no column '{column}'; the file has: {there}")
