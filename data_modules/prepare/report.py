"""The data-quality report as Markdown."""

from collections.abc import Iterable, Sequence

from data_modules.prepare.accounts import Accounts
from data_modules.prepare.figures import TAIL_ITEMS, LabelFigures, TextFigures
from hierarchy_lm.dataset import DatasetInfo, TaskInfo

ALIKE_SHOWN = 20
SPLIT_COLUMNS = {
    "rows": "rows",
    "title": "no title",
    "description": "no description",
    "bullet_points": "no bullet points",
    "empty": "no text at all",
    "median": "median length",
    "p95": "95 % length",
    "longest": "longest",
}


def head(info: DatasetInfo) -> str:
    """Title and origin."""
    return (
        f"# Data-quality report: {info.name}\n\nSource: {info.source}\n\nLicence: {info.licence}\n"
    )


def product_section(texts: TextFigures, labels: LabelFigures) -> str:
    """Products and the tree."""
    rows = sum(split["rows"] for split in texts.splits.values())
    lines = [
        "## Products\n",
        _split_table(texts),
        f"- {_of(labels.several, rows)} have several nodes",
        f"- {_of(labels.without, rows)} have none",
        *_copy_lines(texts, "nodes"),
        "\n## Tree\n",
        "Items of a node are those of the node and all below it.\n",
        _level_table(labels, "level", "nodes", range(1, len(labels.levels) + 1)),
    ]
    return "\n".join(lines)


def task_section(task: TaskInfo, texts: TextFigures, labels: LabelFigures) -> str:
    """One task."""
    rows = sum(split["rows"] for split in texts.splits.values())
    pair = ", query and product" if task.pair else ""
    lines = [f"## Task {task.name} ({task.kind}{pair})\n", _split_table(texts)]
    if task.kind == "multilabel":
        lines.append(f"- {_of(labels.several, rows)} have several labels")
        lines.append(f"- {_of(labels.without, rows)} have none")
    lines += [
        *_copy_lines(texts, "labels"),
        "",
        _level_table(labels, "task", "labels", [task.name]),
    ]
    return "\n".join(lines)


def warning_section(warnings: Sequence[str]) -> str:
    """What the user should not miss; nothing if there is nothing."""
    return "\n".join(
        ["## Warnings\n", *(f"- {warning}" for warning in warnings)] if warnings else []
    )


def alike_section(alike: Sequence[str]) -> str:
    """Names that a reader would take for the same; nothing if there are none."""
    if not alike:
        return ""
    shown = [f"- {names}" for names in alike[:ALIKE_SHOWN]]
    more = [f"- and {len(alike) - ALIKE_SHOWN:,} more"] if len(alike) > ALIKE_SHOWN else []
    return "\n".join([f"### Look-alikes: {len(alike):,}\n", *shown, *more])


def row_section(accounts: Accounts, root: str) -> str:
    """Every file below the root: its records, the rows prepared, and those left out by cause."""
    rows = [
        [
            _cell(account.label.removeprefix(f"{root.rstrip('/')}/")),
            account.use,
            f"{account.records:,}",
            f"{account.prepared:,}",
            "; ".join(f"{n:,} {cause}" for cause, n in account.left_out.items() if n) or "0",
        ]
        for account in accounts.files
    ]
    return "## Rows\n\n" + _table(["file", "for", "records", "prepared", "left out"], rows)


def _cell(text: str) -> str:
    return text.replace("\\", "\\\\").replace("|", "\\|").replace("\n", " ")


def count_section(counts: Iterable[tuple[str, int]]) -> str:
    """What was left out, cut or replaced on the way in."""
    lines = [f"- {name}: {count:,}" for name, count in sorted(counts) if count]
    return "\n".join(["## Left out or changed\n", *(lines or ["Nothing."])])


def _split_table(texts: TextFigures) -> str:
    rows = [
        [split, *(f"{int(figures[column]):,}" for column in SPLIT_COLUMNS)]
        for split, figures in texts.splits.items()
    ]
    return _table(["split", *SPLIT_COLUMNS.values()], rows) + "\n\nLengths are in characters.\n"


def _copy_lines(texts: TextFigures, labels: str) -> list[str]:
    copies = texts.copies
    return [
        f"- texts that stand in more than one row: {copies['repeated']:,}",
        f"- rows whose text is in the training rows too: {copies['validation_in_train']:,} of "
        f"validation, {copies['test_in_train']:,} of test; of test in validation: "
        f"{copies['test_in_validation']:,}",
        f"- equal texts with different {labels}: {copies['texts_with_several_labels']:,} "
        f"({copies['rows_with_several_labels']:,} rows)",
    ]


def _level_table(labels: LabelFigures, key: str, nodes: str, keys: Iterable[int | str]) -> str:
    header = [key, nodes, "items", "without items", "without training items",
              f"1 to {TAIL_ITEMS} items", "items in the top 10 %"]  # fmt: skip
    rows = [
        [f"{name}", f"{level.nodes:,}", f"{level.items:,}", f"{level.empty:,}",
         f"{level.unseen:,}", f"{level.tail:,}", f"{level.head_share:.1%}"]
        for name, level in zip(keys, labels.levels, strict=True)
    ]  # fmt: skip
    return _table(header, rows)


def _of(part: int, rows: int) -> str:
    return f"{part:,} of {rows:,} rows ({part / max(rows, 1):.1%})"


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [header, ["---"] + ["---:"] * (len(header) - 1), *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)
