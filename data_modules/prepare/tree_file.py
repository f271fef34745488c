"""Reads the category tree from a file of edges or of paths, or in a published form."""

from collections.abc import Sequence
from dataclasses import replace

import pyarrow as pa

from data_modules.prepare.inputs import SOURCE, Inputs
from data_modules.prepare.mapping import FileOptions, PathOptions, TreeOptions
from data_modules.prepare.names import node_name
from data_modules.prepare.progress import Stage
from data_modules.prepare.reading.fields import Field
from data_modules.prepare.reading.paths import LEVEL
from data_modules.prepare.reading.taxonomies import TREE_FORMATS
from data_modules.prepare.tree import NodePath, names_of, spoken
from hierarchy_lm.dataset import PATH_SEPARATOR
from hierarchy_lm.edges import paths_of_edges
from hierarchy_lm.errors import UserError
from hierarchy_lm.hierarchy import Hierarchy


def read_tree(inputs: Inputs, files: FileOptions, options: TreeOptions, stage: Stage) -> Hierarchy:
    """The tree of ``tree.input``.

    Raises:
        UserError: If the mapping names neither ``parent`` nor ``path``, or the file or the tree in
            it is broken.
    """
    if options.max_depth or options.min_items:
        raise UserError("tree: max_depth and min_items are for trees made of paths, without input")
    if files.format in TREE_FORMATS:
        options = replace(options, key="key", path=PathOptions(column="path"))
    if options.path is not None:
        return _tree_of_paths(_read(inputs, files, options, stage), options)
    if not options.key or not options.parent:
        raise UserError("tree: name the columns 'key' and 'parent', or 'path'")
    return _tree_of_edges(inputs, _read(inputs, files, options, stage), options)


def _read(inputs: Inputs, files: FileOptions, options: TreeOptions, stage: Stage) -> pa.Table:
    roles = {"key": options.key, "parent": options.parent, "name": options.name}
    fields = [
        Field(role, column, "node_name" if role == "name" else "name")
        for role, column in roles.items()
        if column and (role == "key" or options.path is None)
    ]
    path = options.path
    if path is not None and path.columns:
        fields += [Field(f"level_{n}", name, "node_name") for n, name in enumerate(path.columns)]
    elif path is not None:
        if not path.column:
            raise UserError("tree.path: give one of 'columns' and 'column'")
        fields += [Field("path", path.column, "paths", path=path)]
    results = inputs.read(files, fields, "tree", stage)
    rows = inputs.engine.table([result.target for result in results])
    return inputs.engine.collect(rows.order_by(*SOURCE), "tree")


def _tree_of_edges(inputs: Inputs, nodes: pa.Table, options: TreeOptions) -> Hierarchy:
    keys = nodes["key"].to_pylist()
    if None in keys:
        raise UserError(f"tree: row {keys.index(None) + 1} has no '{options.key}'; fill it")
    names = nodes["name"].to_pylist() if options.name else keys
    spoken_names = [node_name(name or key) for name, key in zip(names, keys, strict=True)]
    paths = paths_of_edges(
        keys, nodes["parent"].to_pylist(), spoken_names, options.multi_parent,
        merge=options.same_names == "merge",
    )  # fmt: skip
    tree = Hierarchy.from_paths(path for several in paths.values() for path in several)
    tree.set_keys({key: ids_of_paths(tree, several) for key, several in paths.items()})
    _count_changes(inputs, tree, len(paths), sum(len(several) > 1 for several in paths.values()))
    return tree


def _count_changes(inputs: Inputs, tree: Hierarchy, keys: int, several: int) -> None:
    changes = inputs.accounts.changes
    if several:
        changes["tree: nodes of several parents"] = several
        changes["tree: nodes added by 'multi_parent: duplicate'"] = tree.num_nodes - keys
    elif tree.num_nodes < keys:
        changes["tree: nodes merged with a sibling of the same name"] = keys - tree.num_nodes


def ids_of_paths(tree: Hierarchy, paths: Sequence[NodePath]) -> list[int]:
    """The nodes of some paths."""
    return [tree.node_of(PATH_SEPARATOR.join(path)) for path in paths]


def _tree_of_paths(nodes: pa.Table, options: TreeOptions) -> Hierarchy:
    paths: list[NodePath] = []
    for number, text in enumerate(_path_texts(nodes, options), start=1):
        names, gap = names_of(text)
        if gap or not names:
            raise UserError(
                f"tree: row {number} has the path '{spoken(text)}' with an empty name; mend it"
            )
        paths.append(names)
    tree = Hierarchy.from_paths(paths)
    if "key" in nodes.column_names:
        _add_keys(tree, nodes["key"].to_pylist(), paths)
    return tree


def _path_texts(nodes: pa.Table, options: TreeOptions) -> list[str]:
    path = options.path
    if path is not None and path.columns:
        levels = [nodes[f"level_{number}"].to_pylist() for number in range(len(path.columns))]
        return [LEVEL.join(name or "" for name in row) for row in zip(*levels, strict=True)]
    return [(paths or [""])[0] for paths in nodes["path"].to_pylist()]


def _add_keys(tree: Hierarchy, keys: list[str | None], paths: list[NodePath]) -> None:
    key_to_ids: dict[str, list[int]] = {}
    for key, path in zip(keys, paths, strict=True):
        ids = ids_of_paths(tree, [path])
        if key is not None and key_to_ids.setdefault(key, ids) != ids:
            raise UserError(
                f"tree: key '{key}' has two paths, '{tree.paths[key_to_ids[key][0]]}' and "
                f"'{PATH_SEPARATOR.join(path)}'; mend the tree file"
            )
    tree.set_keys(key_to_ids)
