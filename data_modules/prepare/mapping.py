"""The keys of a mapping file: typed dataclasses that the command line parses."""

from dataclasses import dataclass, field, fields, replace
from typing import Literal

from hierarchy_lm.dataset import TaskKind
from hierarchy_lm.edges import MultiParent
from hierarchy_lm.errors import UserError

Encoding = Literal["utf-8", "utf-8-replace", "latin-1", "cp1252"]
Patterns = str | list[str]


@dataclass
class FileOptions:
    """Input files and how their bytes are read.

    Attributes:
        files: Paths or globs below ``root``; `archive.zip::*.json` picks members of an archive.
            A dictionary from split names gives each split its own files.
        format: `auto` goes by the file name's ending.
        delimiter: Of CSV; a comma, or a tab for `.tsv`.
        quote: Quote character of CSV, doubled inside a value; empty when nothing is quoted.
        column_names: Names for CSV files without a header row.
        encoding: `utf-8-replace` puts U+FFFD for invalid bytes and counts them.
        null_values: Texts that mean "missing", besides the empty text.
    """

    files: Patterns | dict[str, Patterns]
    format: Literal["auto", "csv", "json", "parquet"] = "auto"
    delimiter: str | None = None
    quote: str = '"'
    column_names: list[str] | None = None
    encoding: Encoding = "utf-8"
    null_values: list[str] = field(default_factory=list)


@dataclass
class JoinOptions(FileOptions):
    """Further columns from a second set of files; rows without a partner keep them missing.

    Attributes:
        keys: Columns of the same name on both sides; unique together in these files.
    """

    keys: list[str] = field(default_factory=list)


@dataclass
class InputOptions(FileOptions):
    """The rows of a product table or a task.

    Attributes:
        keep: Only rows whose column holds one of the values; the others are counted.
        join: Columns that stand in other files.
    """

    keep: dict[str, list[str]] = field(default_factory=dict)
    join: JoinOptions | None = None


@dataclass
class SplitOptions:
    """How rows get their split, unless ``files`` is given per split.

    Attributes:
        column: Column that holds the split's name; without one, the split is hashed 80/10/10.
        values: What the column holds -> train, validation or test.
        group: Rows equal in this column share a split when it is hashed; else the item id decides.
        hold_out_validation: Move the tenth of the training rows that a hash picks to validation,
            for data published without a validation split.
        share: Keep this share of the rows, or of the groups, and count the others: a small task of
            a large catalogue. Another hash picks them, so that no row changes its split.
    """

    column: str | None = None
    values: dict[str, str] = field(
        default_factory=lambda: {"train": "train", "validation": "validation", "test": "test"}
    )
    group: str | None = None
    hold_out_validation: bool = False
    share: float = 1.0


@dataclass
class PathOptions:
    """One way to find category paths in a row; a row may use several.

    Give exactly one of ``columns``, ``column`` and ``node``.

    Attributes:
        columns: One column per level, roots first.
        column: A text cut by ``separator``, a list of names, or a list of such paths.
        separator: Between two names of a path.
        path_separator: Between several paths, or several node keys, in one text.
        trim: Characters to strip from both ends of the text.
        node: Column of node keys that the tree file explains; a text or a list.
        title_leaf: Drop the last name when it starts like the title: compared are this many
            characters, without regard to case and spacing. 0 keeps it.
    """

    columns: list[str] | None = None
    column: str | None = None
    separator: str | None = None
    path_separator: str | None = None
    trim: str = ""
    node: str | None = None
    title_leaf: int = 0


@dataclass
class TreeOptions:
    """The category tree: read from a file, or made of the products' paths.

    Attributes:
        input: A file of edges (``key``, ``parent``, ``name``) or of paths (``path``, perhaps with
            ``key``). Without it, all paths of the products make the tree.
        key: Column of node keys.
        parent: Column of parent keys, missing at a root.
        name: Column of display names; the key if not given.
        path: Column or columns of the whole path.
        multi_parent: What to do with a node of several parents.
        drop_super_root: The tree's only root is artificial ("All categories"): leave it out; the
            nodes below it are the roots.
        max_depth: Cut the products' paths below this level, a super-root counted; 0 keeps all.
        min_items: Move products of nodes with fewer paths below them up to the parent; a root
            that small is dropped.
        gaps: What to do with a path that misses a name in the middle: refuse it, or cut it there.
    """

    input: FileOptions | None = None
    key: str | None = None
    parent: str | None = None
    name: str | None = None
    path: PathOptions | None = None
    multi_parent: MultiParent = "error"
    drop_super_root: bool = False
    max_depth: int = 0
    min_items: int = 0
    gaps: Literal["error", "cut"] = "error"


@dataclass
class RowOptions:
    """What products and tasks have in common: files, text columns and the split.

    Attributes:
        input: The files. A task without its own takes the products' rows and columns.
        item_id: Column of unique ids; without one they are made from the row's text.
        title: Column of the title.
        description: Column of the description.
        bullet_points: Column of bullet points: a list, or a text cut by ``bullet_separator``.
        bullet_separator: Between two bullet points.
        split: How rows get their split.
        duplicate_ids: Refuse repeated ids, or keep the first row of each and count the others.
    """

    input: InputOptions | None = None
    item_id: str | None = None
    title: str | None = None
    description: str | None = None
    bullet_points: str | None = None
    bullet_separator: str | None = None
    split: SplitOptions | None = None
    duplicate_ids: Literal["error", "first"] = "error"


@dataclass
class ProductOptions(RowOptions):
    """The products.

    Attributes:
        paths: Where a row's category paths are; together they make its labels.
        weight: Column of importance weights, 1 where missing.
        locale: Column of the locale.
        unknown_node: What to do with a path or key that the tree file lacks.
    """

    paths: list[PathOptions] = field(default_factory=list)
    weight: str | None = None
    locale: str | None = None
    unknown_node: Literal["error", "drop_label", "drop_row"] = "error"


@dataclass
class TaskOptions(RowOptions):
    """A labelled task on products or on query-product pairs.

    Attributes:
        label: Column of the label; several columns are joined by " > " to one name.
        label_separator: Cuts the label's text into several labels.
        kind: `binary` needs two labels, the second being the positive one.
        labels: All labels in the order of their ids; sorted by name if not given.
        query: Column of the search query of a pair task.
        product_id: Column of the product's ``item_id``, for the nodes of a row; the row's own
            ``item_id`` if not given. Nothing is linked where the mapping has no products.
    """

    label: str | list[str] = ""
    label_separator: str | None = None
    kind: TaskKind = "multiclass"
    labels: list[str] | None = None
    query: str | None = None
    product_id: str | None = None


def with_products_columns(task: TaskOptions, products: ProductOptions | None) -> TaskOptions:
    """Fill in what a task takes over from the products: all of it without an own ``input``."""
    if task.input is not None:
        return task
    if products is None:
        raise UserError("tasks: a task needs its own 'input' when there are no products")
    shared = [option.name for option in fields(RowOptions) if option.name != "duplicate_ids"]
    inherited = {name: getattr(products, name) for name in shared if getattr(task, name) is None}
    return replace(task, duplicate_ids=products.duplicate_ids, **inherited)
