"""Reads the category tree from a file of edges or of paths."""

import pyarrow as pa

from data_modules.prepare import expressions as ex
from data_modules.prepare.inputs import Inputs, require
from data_modules.prepare.mapping import FileOptions, TreeOptions
from data_modules.prepare.tree import NodePath, clean_name, ids_of, names_of, spoken
from hierarchy_lm.dataset import PATH_SEPARATOR
from hierarchy_lm.errors import UserError
from hierarchy_lm.hierarchy import Hierarchy


def read_tree(inputs: Inputs, files: FileOptions, options: TreeOptions) -> Hierarchy:
    """The tree of ``tree.input``.

    Raises:
        UserError: If the mapping names neither ``parent`` nor ``path``, or the file or the tree in
            it is broken.
    """
    if options.max_depth or options.min_items:
        raise UserError("tree: max_depth and min_items are for trees made of paths, without input")
    if options.path is not None:
        return _tree_of_paths(_read(inputs, files, options))
    if not options.key or not options.parent:
        raise UserError("tree: name the columns 'key' and 'parent', or 'path'")
    return _tree_of_edges(_read(inputs, files, options), options)


def _read(inputs: Inputs, files: FileOptions, options: TreeOptions) -> pa.Table:
    parts = []
    for file, table in inputs.tables(files, "tree"):
        path = options.path
        named = [options.key, options.parent, options.name]
        named += [path.column, *(path.columns or [])] if path else []
        require(table, [name for name in named if name], file.label)
        columns = {
            role: ex.text(table[name], files.null_values).strip()
            for role, name in zip(("key", "parent", "name"), named, strict=False)
            if name
        }
        if path:
            columns["path"] = ex.path_keys(table, path)[0]
        parts.append(inputs.engine.collect(table.select(**columns), file.label))
    return pa.concat_tables(parts)


def _tree_of_edges(nodes: pa.Table, options: TreeOptions) -> Hierarchy:
    keys = [_key(key) for key in nodes["key"].to_pylist()]
    if "" in keys:
        raise UserError(f"tree: row {keys.index('') + 1} has no '{options.key}'; fill it")
    parents = [_key(parent) or None for parent in nodes["parent"].to_pylist()]
    names = nodes["name"].to_pylist() if options.name else keys
    cleaned = [clean_name(name or key) for name, key in zip(names, keys, strict=True)]
    return Hierarchy.from_edges(keys, parents, cleaned, options.multi_parent)


def _tree_of_paths(nodes: pa.Table) -> Hierarchy:
    paths = []
    for number, path in enumerate(nodes["path"].to_pylist(), start=1):
        names, gap = names_of(path)
        if gap or not names:
            raise UserError(
                f"tree: row {number} has the path '{spoken(path)}' with an empty name; mend it"
            )
        paths.append(names)
    tree = Hierarchy.from_paths(paths)
    if "key" in nodes.column_names:
        _add_keys(tree, nodes["key"].to_pylist(), paths)
    return tree


def _add_keys(tree: Hierarchy, keys: list[str | None], paths: list[NodePath]) -> None:
    for key, path in zip(keys, paths, strict=True):
        ids = ids_of(tree, path)
        known = tree.key_to_ids.setdefault(_key(key), ids)
        if known != ids:
            raise UserError(
                f"tree: key '{key}' has two paths, '{tree.paths[known[0]]}' and "
                f"'{PATH_SEPARATOR.join(path)}'; mend the tree file"
            )


def _key(key: str | None) -> str:
    return " ".join((key or "").split())
