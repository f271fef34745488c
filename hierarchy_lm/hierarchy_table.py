"""``hierarchy.parquet`` as a table: the types and nulls of its columns."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from hierarchy_lm.dataset import HIERARCHY_SCHEMA
from hierarchy_lm.errors import UserError

KEY = "key"
"""The column that files of older releases lack."""


def read_columns(path: Path) -> pa.Table:
    """The columns of :data:`HIERARCHY_SCHEMA`; further ones are left out, a missing key is null.

    Raises:
        UserError: If the file cannot be read, or a column is missing, of another type or null.
    """
    try:
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            table = file.read()
    except (OSError, pa.ArrowException) as error:
        reason = str(error).splitlines()[0]
        raise UserError(
            f"{path}: cannot read the tree ({reason}); prepare the dataset again"
        ) from error
    if KEY not in table.column_names:
        table = table.append_column(KEY, pa.nulls(len(table), pa.string()))
    types = dict(zip(table.schema.names, table.schema.types, strict=True))
    for field in HIERARCHY_SCHEMA:
        if types.get(field.name) != field.type:
            raise UserError(f"{path}: needs a column '{field.name}' of type {field.type}")
        if table[field.name].null_count and not field.nullable:
            raise UserError(f"{path}: column '{field.name}' holds nulls; prepare the dataset again")
    return table.select(HIERARCHY_SCHEMA.names)


def check_column(path: Path, column: str, found: NDArray[Any], expected: NDArray[Any]) -> None:
    """Compare a column with what the paths say.

    Raises:
        UserError: Naming the first row that differs.
    """
    wrong = np.flatnonzero(found != expected)
    if len(wrong):
        row = int(wrong[0])
        raise UserError(
            f"{path}: row {row}, column '{column}' holds '{found[row]}' but its path says "
            f"'{expected[row]}'; prepare the dataset again"
        )
