"""Reads the category tree from a file of edges or of paths, or in a published form."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from data_modules.prepare.inputs import SOURCE, Inputs
from data_modules.prepare.mapping import InputOptions, PathOptions, TreeOptions
from data_modules.prepare.names import node_name
from data_modules.prepare.progress import Stage
from data_modules.prepare.reading.fields import Field
from data_modules.prepare.reading.paths import LEVEL
from data_modules.prepare.reading.taxonomies import TREE_FORMATS
from data_modules.prepare.tree import NodePath, names_of, spoken, without_fraction
from hierarchy_lm.dataset import PATH_SEPARATOR
from hierarchy_lm.edges import paths_of_edges
from hierarchy_lm.errors import UserError
from hierarchy_lm.hierarchy import Hierarchy


def read_tree(inputs: Inputs, files: InputOptions, options: TreeOptions, stage: Stage) -> Hierarchy:
    """The tree of ``tree.input``.

    Raises:
        UserError: If the mapping names neither ``parent`` nor ``path``, or the file or the tree in
            it is broken.
    """
    if options.max_depth or options.min_items:
        raise UserError("tree: max_depth and min_items are for trees made of paths, without input")
    if files.format in TREE_FORMATS:
        options = replace(options, key="key", path=PathOptions(column="path"))
    if options.path is None and not (options.key and options.parent):
        raise UserError("tree: name the columns 'key' and 'parent', or 'path'")
    nodes = _read(inputs, files, options, stage)
    if options.path is not None:
        return _tree_of_paths(nodes, options.same_names == "merge")
    return _tree_of_edges(inputs, nodes, options)


@dataclass(frozen=True)
class _Nodes:
    """The rows of the tree's files, in their order.

    Attributes:
        places: Where each stands, for messages.
        keys: Node keys; None for a row without one.
        parents: Parent keys, of edges.
        names: Display names, of edges.
        paths: Texts of the row's paths.
    """

    places: list[str]
    keys: list[str | None]
    parents: list[str | None]
    names: list[str | None]
    paths: list[list[str]]

    @property
    def files(self) -> str:
        """What messages call all of them."""
        return ", ".join(dict.fromkeys(place.rpartition(": row ")[0] for place in self.places))


def _read(inputs: Inputs, files: InputOptions, options: TreeOptions, stage: Stage) -> _Nodes:
    path = options.path
    fields = [Field("key", options.key, "name")] if options.key else []
    if path is None:
        fields += [Field("parent", options.parent, "name")]
        fields += [Field("name", options.name, "node_name")] if options.name else []
    elif path.columns:
        fields += [Field(f"level_{n}", name, "node_name") for n, name in enumerate(path.columns)]
    elif path.column:
        fields += [Field("path", path.column, "paths", path=path)]
    else:
        raise UserError("tree.path: give one of 'columns' and 'column'")
    rows, labels = inputs.rows(files, fields, "tree", stage)
    table = inputs.engine.collect(rows.order_by(*SOURCE), "tree")
    columns = {name: table[name].to_pylist() for name in table.column_names}
    return _Nodes(
        places=[
            f"{labels[file]}: row {row}"
            for file, row in zip(columns["source_file"], columns["source_row"], strict=True)
        ],
        keys=columns.get("key", []),
        parents=columns.get("parent", []),
        names=columns.get("name", []),
        paths=_path_texts(columns, path),
    )


def _path_texts(columns: dict[str, list[Any]], path: PathOptions | None) -> list[list[str]]:
    if path is None:
        return []
    if not path.columns:
        return [paths or [""] for paths in columns["path"]]
    levels = [columns[f"level_{number}"] for number in range(len(path.columns))]
    return [[LEVEL.join(name or "" for name in row)] for row in zip(*levels, strict=True)]


def _tree_of_edges(inputs: Inputs, nodes: _Nodes, options: TreeOptions) -> Hierarchy:
    keys = [key for key in nodes.keys if key is not None]
    if len(keys) < len(nodes.keys):
        place = nodes.places[nodes.keys.index(None)]
        raise UserError(f"{place} has no '{options.key}', the node's key; fill it")
    names = [node_name(name or key) for name, key in zip(nodes.names or keys, keys, strict=True)]
    known = set(keys)
    parents = [_known_parent(parent, known) for parent in nodes.parents]
    try:
        paths = paths_of_edges(
            keys, parents, names, options.multi_parent, merge=options.same_names == "merge"
        )
    except UserError as error:
        raise UserError(f"{nodes.files}: {error}" if nodes.places else str(error)) from error
    tree = Hierarchy.from_paths(path for several in paths.values() for path in several)
    tree.set_keys({key: ids_of_paths(tree, several) for key, several in paths.items()})
    copies = sum(len(several) for several in paths.values())
    rows_of = Counter(keys)
    changes = inputs.accounts.changes
    changes["tree: nodes of several parents"] = sum(rows > 1 for rows in rows_of.values())
    changes["tree: nodes added by 'multi_parent: duplicate'"] = copies - len(paths)
    changes["tree: nodes merged with a sibling of the same name"] = copies - tree.num_nodes
    return tree


def _known_parent(parent: str | None, keys: set[str]) -> str | None:
    """The parent's key, also where its column holds 11.0 for 11."""
    if parent is None or parent in keys or without_fraction(parent) not in keys:
        return parent
    return without_fraction(parent)


def ids_of_paths(tree: Hierarchy, paths: Sequence[NodePath]) -> list[int]:
    """The nodes of some paths."""
    return list(dict.fromkeys(tree.node_of(PATH_SEPARATOR.join(path)) for path in paths))


def _tree_of_paths(nodes: _Nodes, merge: bool) -> Hierarchy:
    paths: list[list[NodePath]] = []
    for place, texts in zip(nodes.places, nodes.paths, strict=True):
        paths.append([])
        for text in texts:
            names, gap = names_of(text)
            if gap or not names:
                raise UserError(
                    f"{place} has the path '{spoken(text)}' with an empty name; mend it"
                )
            paths[-1].append(names)
    tree = Hierarchy.from_paths(path for several in paths for path in several)
    if nodes.keys:
        _add_keys(tree, nodes, paths, merge)
    return tree


def _add_keys(tree: Hierarchy, nodes: _Nodes, paths: list[list[NodePath]], merge: bool) -> None:
    key_to_ids: dict[str, list[int]] = {}
    key_of: dict[int, str] = {}
    for place, key, several in zip(nodes.places, nodes.keys, paths, strict=True):
        ids = ids_of_paths(tree, several)
        if key is not None and key_to_ids.setdefault(key, ids) != ids:
            raise UserError(
                f"{place}: the key '{key}' has two paths, '{tree.paths[key_to_ids[key][0]]}' and "
                f"'{tree.paths[ids[0]]}'; mend the tree file"
            )
        for node in [] if key is None or merge else ids:
            if key_of.setdefault(node, str(key)) != key:
                raise UserError(
                    f"{place}: the keys '{key_of[node]}' and '{key}' have the same path "
                    f"'{tree.paths[node]}'; rename one, or set same_names: merge"
                )
    tree.set_keys(key_to_ids)
