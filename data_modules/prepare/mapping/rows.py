"""Keys of a mapping that say what the columns of products and tasks mean."""

from dataclasses import dataclass, field, fields, replace
from typing import Literal

from data_modules.prepare.mapping.files import InputOptions
from hierarchy_lm.dataset import TaskKind
from hierarchy_lm.errors import UserError


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

    column: str = ""
    values: dict[str, str] = field(
        default_factory=lambda: {"train": "train", "validation": "validation", "test": "test"}
    )
    group: str = ""
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
        field: Member to take of objects, where names or keys come as objects or lists of them
            (``[{"id": 1, "name": "Toys"}]``).
        title_leaf: Drop the last name when it starts like the title: compared are this many
            characters, without regard to case and spacing. 0 keeps it.
    """

    columns: list[str] | None = None
    column: str = ""
    separator: str = ""
    path_separator: str = ""
    trim: str = ""
    node: str = ""
    field: str = ""
    title_leaf: int = 0


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
        bullet_format: What to write of a bullet point that is an object, such as
            ``"{name}: {value}"``.
        split: How rows get their split.
        duplicate_ids: Refuse repeated ids, or keep the first row of each and count the others.
    """

    input: InputOptions | None = None
    item_id: str = ""
    title: str = ""
    description: str = ""
    bullet_points: str = ""
    bullet_separator: str = ""
    bullet_format: str = ""
    split: SplitOptions | None = None
    duplicate_ids: Literal["error", "first"] = "error"


@dataclass
class ProductOptions(RowOptions):
    """The products.

    Attributes:
        paths: Where a row's category paths are; together they make its labels. Without any, the
            products are items to be classified into the tree of ``tree.input``: they have no
            labels and all stand in the test split.
        weight: Column of importance weights, 1 where missing.
        locale: Column of the locale.
        unknown_node: What to do with a path or key that the tree file lacks.
    """

    paths: list[PathOptions] = field(default_factory=list)
    weight: str = ""
    locale: str = ""
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
    label_separator: str = ""
    kind: TaskKind = "multiclass"
    labels: list[str] | None = None
    query: str = ""
    product_id: str = ""


def with_products_columns(task: TaskOptions, products: ProductOptions | None) -> TaskOptions:
    """Fill in what a task takes over from the products: all of it without an own ``input``."""
    if task.input is not None:
        return task
    if products is None:
        raise UserError("tasks: a task needs its own 'input' when there are no products")
    shared = [option.name for option in fields(RowOptions) if option.name != "duplicate_ids"]
    inherited = {name: getattr(products, name) for name in shared if not getattr(task, name)}
    return replace(task, duplicate_ids=products.duplicate_ids, **inherited)
