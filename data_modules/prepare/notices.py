"""What a look at the prepared data finds odd: sentences for the user, not errors."""

from collections import defaultdict
from collections.abc import Iterable, Mapping

from data_modules.prepare.accounts import Accounts
from data_modules.prepare.figures import LabelFigures
from data_modules.prepare.names import look_alike
from data_modules.prepare.products import LOST, UNKNOWN
from hierarchy_lm.dataset import PATH_SEPARATOR, SPLITS, TaskInfo
from hierarchy_lm.hierarchy import Hierarchy

MOST = 0.5
"""A share of the rows that is called most."""
NULL_WORDS = {"nan", "null", "none", "\\n", "n/a", "#n/a", "<na>", "nat"}
FLAT_NODES = 200
"""A tree of one level with more nodes than this is called flat."""


def empty_splits(use: str, counts: Mapping[str, int], prefix: str) -> list[str]:
    """Splits without a row."""
    return [
        f"{use}: the {split} split is empty; see 'split' in the mapping"
        for split in SPLITS
        if not counts.get(f"{prefix}{split}")
    ]


def nodes_only_in_test(labels: LabelFigures, tree: Hierarchy) -> list[str]:
    """Nodes that no model can learn, since only test items have them."""
    return _only_in_test("products", "nodes", [tree.paths[node] for node in labels.only_in_test])


def labels_only_in_test(use: str, labels: LabelFigures, task: TaskInfo) -> list[str]:
    """Labels that no model can learn, since only test items have them."""
    return _only_in_test(use, "labels", [task.labels[label] for label in labels.only_in_test])


def _only_in_test(use: str, what: str, names: list[str]) -> list[str]:
    if not names:
        return []
    shown = ", ".join(f"'{name}'" for name in names[:3])
    more = " and others" if len(names) > 3 else ""
    return [f"{use}: {what} that occur in the test split alone: {len(names):,}, {shown}{more}"]


def lost_labels(accounts: Accounts, labels: LabelFigures) -> list[str]:
    """Unknown nodes that cost most rows their place or their label, and rows without any."""
    rows = accounts.prepared("products")
    dropped = accounts.left_out("products")[UNKNOWN]
    lost = accounts.changes[LOST]
    warnings = []
    if dropped > MOST * (rows + dropped):
        warnings.append(
            f"products: unknown_node: drop_row left out {dropped:,} of {rows + dropped:,} rows; "
            "do the rows and the tree use the same names or keys?"
        )
    if lost > MOST * rows:
        warnings.append(
            f"products: unknown_node: drop_label took a node from {lost:,} of {rows:,} rows; do "
            "the rows and the tree use the same names or keys?"
        )
    elif labels.without > MOST * rows:
        warnings.append(f"products: {labels.without:,} of {rows:,} rows have no node")
    return warnings


def odd_tree(tree: Hierarchy) -> list[str]:
    """A tree that is one long list, or whose names are the text of lists or objects."""
    warnings = []
    if tree.depth == 1 and tree.num_nodes > FLAT_NODES:
        warnings.append(
            f"tree: {tree.num_nodes:,} nodes on a single level, such as '{tree.names[0]}'; should "
            "'separator' cut the paths?"
        )
    missing = [path for path, name in zip(tree.paths, tree.names, strict=True)
               if name.casefold() in NULL_WORDS]  # fmt: skip
    if missing:
        warnings.append(
            f"tree: {len(missing):,} names look like a writer's word for missing, such as "
            f"'{missing[0]}'; if they are, list them in 'null_values'"
        )
    marked = [name for name in tree.names if name.startswith(("{", "["))]
    if marked:
        warnings.append(
            f"tree: {len(marked):,} names begin with {{ or [, such as '{marked[0][:60]}'; if the "
            "column holds JSON, name it in 'json_columns'"
        )
    return warnings


def look_alikes(tree: Hierarchy) -> list[str]:
    """Siblings whose names differ in case, quotes, punctuation or plural alone."""
    parents = tree.parents.tolist()
    keyed = (
        (f"{parent} {look_alike(name)}", path)
        for parent, name, path in zip(parents, tree.names, tree.paths, strict=True)
    )
    return [
        "; ".join([paths[0], *(f"'{path.split(PATH_SEPARATOR)[-1]}'" for path in paths[1:])])
        for paths in _several(keyed)
    ]


def alike_labels(task: TaskInfo) -> list[str]:
    """Labels whose names differ in case, quotes, punctuation or plural alone."""
    return ["; ".join(names) for names in _several((look_alike(n), n) for n in task.labels)]


def _several(keyed: Iterable[tuple[str, str]]) -> list[list[str]]:
    groups: dict[str, list[str]] = defaultdict(list)
    for key, name in keyed:
        groups[key].append(name)
    return [names for names in groups.values() if len(names) > 1]
