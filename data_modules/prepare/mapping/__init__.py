"""The keys of a mapping file: typed dataclasses that the command line parses."""

from data_modules.prepare.mapping.files import FileOptions, InputOptions, JoinOptions
from data_modules.prepare.mapping.rows import (
    PathOptions,
    ProductOptions,
    RowOptions,
    SplitOptions,
    TaskOptions,
    with_products_columns,
)
from data_modules.prepare.mapping.tree import TreeOptions

__all__ = [
    "FileOptions",
    "InputOptions",
    "JoinOptions",
    "PathOptions",
    "ProductOptions",
    "RowOptions",
    "SplitOptions",
    "TaskOptions",
    "TreeOptions",
    "with_products_columns",
]
