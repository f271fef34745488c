"""Runs `hlm prepare` on a case and holds what came of it to what had to come."""

import contextlib
import io
import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet as pq

from data_modules.prepare.mapping import InputOptions, PathOptions, ProductOptions
from data_modules.prepare.reading.locations import find_files
from data_modules.prepare.reading.read import ReadTask, read_file
from data_modules.prepare.rows import fields_of
from hierarchy_lm.dataset import SPLITS
from hierarchy_lm.errors import UserError

from .cases import Case
from .conftest import run
from .oracle import Expected, Filters, RefusedError, Row, bullets, is_empty, known


@dataclass
class Outcome:
    """Of a command."""

    status: int
    errors: str


def run_quietly(root: Path, mapping: Row) -> Outcome:
    """`hlm prepare` with the streams of a terminal that speaks UTF-8."""
    out = io.TextIOWrapper(io.BytesIO(), "utf-8")
    errors = io.TextIOWrapper(io.BytesIO(), "utf-8", errors="backslashreplace")
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(errors):
        status = run(root, mapping)
    errors.flush()
    return Outcome(status, errors.buffer.getvalue().decode())


def check(case: Case, filters: Filters | None = None, must_read: bool = True) -> str:
    """Run a case; says what came of it.

    Args:
        case: The input.
        filters: What leaves rows out.
        must_read: Whether a refusal is wrong where the oracle reads.
    """
    with tempfile.TemporaryDirectory(prefix="hlm") as folder:
        root = Path(folder)
        case.write(root)
        before = {path.name for path in root.iterdir()} | {"mapping.yaml"}
        with case.seams():
            outcome = run_quietly(root, case.mapping())
        after = {path.name for path in root.iterdir()}
        try:
            expected = case.expected(filters)
        except RefusedError as refusal:
            check_refusal(outcome, case, refusal.named if must_read else ())
            assert after == before
            return "refused"
        if outcome.status == 2 and not must_read:
            check_refusal(outcome, case, ())
            assert after == before
            return "refused, readable"
        assert (outcome.status, outcome.errors) == (0, "")
        assert after == before | {"out"}
        check_dataset(root / "out", expected)
        check_account((root / "out/report.md").read_text(encoding="utf-8"), case, expected)
    return "prepared"


def check_refusal(outcome: Outcome, case: Case, named: tuple[str, ...]) -> None:
    """One line that names a file, or the cause where there is no one file."""
    assert outcome.status == 2, outcome
    lines = outcome.errors.splitlines()
    assert len(lines) == 1, outcome
    assert lines[0].startswith("hlm: "), outcome
    labels = [" ".join(file.label.split()) for file in case.files]
    causes = ("products: no row",)
    assert any(text in lines[0] for text in (*labels, *causes)), outcome
    for text in named:
        assert text in lines[0], outcome


def check_dataset(folder: Path, expected: Expected) -> None:
    """Rows, ids, texts, lists, paths and splits."""
    paths = pq.read_table(folder / "hierarchy.parquet")["path"].to_pylist()
    assert sorted(paths) == sorted(expected.nodes)
    rows = {}
    for split in SPLITS:
        for shard in sorted((folder / "products").glob(f"{split}-*.parquet")):
            for row in pq.read_table(shard).to_pylist():
                assert row["item_id"] not in rows
                rows[row["item_id"]] = {
                    **{name: row[name] for name in ("title", "description", "locale")},
                    "bullet_points": row["bullet_points"] or [],
                    "paths": {paths[node] for node in row["node_ids"]},
                    "split": split,
                }
    assert rows == expected.rows


def check_account(report: str, case: Case, expected: Expected) -> None:
    """The report counts every record of every file, once."""
    table = report.split("\n## Rows\n\n")[1].split("\n\n")[0].split("\n")[2:]
    found = [account_of(line) for line in table if " | products | " in line]
    counts = zip(case.files, expected.prepared, expected.left_out, strict=True)
    for file, made, left_out in counts:
        assert len(file.rows) == made + left_out.total()
        label = file.label.replace("\\", "\\\\").replace("|", "\\|")
        account = found.pop(0)
        assert account == (label, len(file.rows), made, +left_out), (account, label, made, left_out)
    assert not found
    for cause, count in sum((file.other for file in case.files), Counter()).items():
        assert f"\n- {cause}: {count:,}\n" in report


def account_of(line: str) -> tuple[str, int, int, Counter[str]]:
    """A file, its records, the rows made of them and those left out by cause."""
    label, _, records, made, causes = line.removesuffix(" |").rsplit(" | ", 4)
    left_out: Counter[str] = Counter()
    for several in causes.split("; ") if causes != "0" else []:
        count, _, cause = several.partition(" ")
        left_out[cause] = int(count)
    return label.removeprefix("| "), int(records), int(made), left_out


def read_rows(case: Case, root: Path) -> list[list[Row]]:
    """What the reader alone makes of each file, as the oracle's rows have it."""
    options = InputOptions([file.name for file in case.files], **case.options)
    fields = fields_of(product_options(case, options))
    found = []
    for number, file in enumerate(find_files(options, str(root))):
        target = str(root / f"{number}.canonical")
        result = read_file(ReadTask(file, number, options, tuple(fields), {}, frozenset(), target))
        rows = pq.read_table(target).to_pylist()
        meant = case.files[number]
        if meant.refusal is None:
            filled = [not is_empty(row, case.roles, case.nulls) for row in meant.rows]
            places = [place for place, is_filled in enumerate(filled, start=1) if is_filled]
            assert [row["source_row"] for row in rows] == places
            assert result.records == len(meant.rows) == result.rows + sum(result.left_out.values())
        assert Counter(result.other) == meant.other
        found.append(rows)
    return found


def product_options(case: Case, options: InputOptions) -> ProductOptions:
    """As the command line would parse them."""
    products = case.roles.products()
    paths = [PathOptions(**path) for path in products.pop("paths")]
    return ProductOptions(input=options, paths=paths, **products)


def check_reading(case: Case, must_read: bool = True) -> str:
    """As :func:`check`, by the reader alone, which is a hundred times as fast."""
    refusals = [file.refusal for file in case.files if file.refusal]
    with tempfile.TemporaryDirectory(prefix="hlm") as folder:
        root = Path(folder)
        case.write(root)
        try:
            with case.seams():
                found = read_rows(case, root)
        except UserError as error:
            message = str(error)
            found = None
    if found is None:
        assert refusals or not must_read, message
        assert not must_read or any(text in message for text in refusals), (refusals, message)
        assert any(file.label in message for file in case.files), message
        return "refused" if refusals else "refused, readable"
    assert not refusals, refusals
    expected = [
        [canonical_row(row, case) for row in file.rows if not is_empty(row, case.roles, case.nulls)]
        for file in case.files
    ]
    assert [[as_canonical(row, case) for row in rows] for rows in found] == expected
    return "read"


def canonical_row(row: Row, case: Case) -> Row:
    """What a record has to become."""
    roles, nulls = case.roles, case.nulls
    texts = {"title": roles.title, "description": roles.description, "locale": roles.locale}
    plain = {name: known(row.get(c), nulls) if c else None for name, c in texts.items()}
    item = known(row.get(roles.item_id), nulls)
    return {
        "item_id": item and item.strip(),
        **plain,
        "bullet_points": bullets(row.get(roles.bullet_points), roles, nulls),
        "paths": [path for path in roles.path.raw_paths(row, nulls) if any(path)],
    }


def as_canonical(row: Row, case: Case) -> Row:
    """The reader's row in the same words."""
    if case.roles.path.columns:
        levels = range(len(case.roles.path.columns))
        paths = [[row[f"path_0_{level}"] or "" for level in levels]]
    else:
        paths = [path.split("\x1f") for path in row["path_0"] or []]
    names = ("item_id", "title", "description", "locale")
    return {
        **{name: row.get(name) for name in names},
        "bullet_points": row.get("bullet_points") or [],
        "paths": [path for path in paths if any(path)],
    }
