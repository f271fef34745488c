"""Sections about what tested runs got wrong."""

from collections.abc import Mapping, Sequence

from hierarchy_lm.hierarchy import Hierarchy
from hierarchy_lm.reports.chart_bars import Bars, bar_chart
from hierarchy_lm.reports.page import Section, Table
from hierarchy_lm.reports.runs_data import Run
from hierarchy_lm.reports.runs_items import (
    DEPARTMENTS,
    NodeItems,
    SiblingPair,
    node_items,
    recall_by_department,
    sibling_pairs,
)
from hierarchy_lm.reports.texts import MISSING, clip, count, listed, share, shortened

MOST_BARS = 30
MOST_DEPARTMENTS = 200
MOST_RUNS, MOST_PAIRS = 4, 30
NAMED = 4
PAIRS = (
    "Nodes that were missed while another one of the same parent was predicted in their place; "
    "departments count as siblings of one another."
)


def mistakes(runs: Sequence[Run], looks: Mapping[str, int]) -> tuple[list[Section], list[str]]:
    """Departments and confused siblings, and which runs are left out of them and why.

    Raises:
        UserError: If a run's test items are damaged.
    """
    read = {run: node_items(run) for run in runs}
    found = {run: items for run, items in read.items() if isinstance(items, NodeItems)}
    silent: dict[str, list[str]] = {}
    for run, reason in read.items():
        if isinstance(reason, str):
            silent.setdefault(reason, []).append(run.label)
    notes = [
        f"Mistakes of {_whose(names, len(runs))} are not shown: {reason}."
        for reason, names in silent.items()
    ]
    return [*_departments(found, looks), *_siblings(found)], notes


def _whose(names: list[str], runs: int) -> str:
    return "all runs" if len(names) == runs > 1 else listed(names, NAMED)


def _siblings(found: dict[Run, NodeItems]) -> list[Section]:
    sections = []
    for run, items in list(found.items())[:MOST_RUNS]:
        pairs, total = sibling_pairs(items, MOST_PAIRS)
        text = PAIRS if pairs else "No node was mistaken for another one of the same parent."
        name = f": {run.label}" if len(found) > 1 else ""
        sections.append(
            Section(
                f"Confused siblings{name}",
                [text, *shortened(total, MOST_PAIRS, "pairs")],
                table=_pair_table(pairs, items.tree),
            )
        )
    if len(found) > MOST_RUNS:
        sections[-1].text.append(f"The first {MOST_RUNS} of {len(found)} runs with test items.")
    return sections


def _pair_table(pairs: Sequence[SiblingPair], tree: Hierarchy) -> Table:
    columns = ["below", "label", "predicted", "#items", "#of the label's", "items, for example"]
    rows = [
        [
            MISSING if (parent := int(tree.parents[one.gold])) < 0 else clip(tree.paths[parent]),
            clip(tree.names[one.gold]),
            clip(tree.names[one.predicted]),
            count(one.items),
            count(one.labelled),
            "\n".join(map(clip, one.examples)),
        ]
        for one in pairs
    ]
    return Table("By number of items of the test split", columns, rows)


def _departments(found: dict[Run, NodeItems], looks: Mapping[str, int]) -> list[Section]:
    own = {run: items for run, items in found.items() if run.kind == DEPARTMENTS}
    if not own:
        return []
    tree = next(iter(own.values())).tree
    same = {run: it for run, it in own.items() if it.tree.fingerprint == tree.fingerprint}
    results = {run: recall_by_department(items) for run, items in same.items()}
    counts = {node: n for sizes, _ in results.values() for node, n in sizes.items()}
    nodes = sorted(counts, key=lambda node: -counts[node])
    series = [
        Bars(run.label, [recalls.get(n) for n in nodes[:MOST_BARS]], run.group, looks[run.group])
        for run, (_, recalls) in results.items()
    ]
    shown = f", the first {MOST_BARS}" if len(nodes) > MOST_BARS else ""
    title = f"Share of a department's test items that were sent there{shown}"
    names = [tree.paths[node] for node in nodes]
    columns = ["department", "#items", *(f"#{run.label}" for run in results)]
    rows = [
        [name, count(counts[node]), *(share(recalls.get(node)) for _, recalls in results.values())]
        for name, node in zip(names[:MOST_DEPARTMENTS], nodes, strict=False)
    ]
    text = ["Departments of the label, the largest first; items are not weighted by importance."]
    text += shortened(len(nodes), MOST_DEPARTMENTS, "departments")
    if len(same) < len(own):
        text.append(f"Left out, for another tree: {len(own) - len(same)} runs.")
    chart = bar_chart("departments-chart", title, names[:MOST_BARS], series)
    table = Table("Recall by department", columns, rows)
    return [Section("Departments", text, table=table, charts=[chart], folded=True)]
