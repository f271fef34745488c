"""Row groups of a shard as the contract types them, whatever width the writer chose."""

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from hierarchy_lm.dataset import PRODUCT_SCHEMA, TASK_SCHEMA
from hierarchy_lm.errors import UserError

LABEL_COLUMNS = ("node_ids", "true_node_ids", "label_ids")
NUMERIC_COLUMNS = (*LABEL_COLUMNS, "weight")
TYPES: dict[str, pa.DataType] = {
    field.name: field.type for field in [*PRODUCT_SCHEMA, *TASK_SCHEMA]
}
# Wide, so that an id out of range is seen as such instead of wrapping around.
TYPES |= dict.fromkeys(LABEL_COLUMNS, pa.list_(pa.int64()))


def read_row_groups(
    path: Path, row_groups: Sequence[int], columns: Sequence[str]
) -> tuple[pa.Table, int]:
    """Read row groups, with strings as ``string`` and label ids as int64.

    Returns:
        The rows, and how many texts held invalid UTF-8; their bad bytes became U+FFFD.

    Raises:
        UserError: If a row group cannot be read.
    """
    group = row_groups[0]
    schema = pa.schema([(name, TYPES[name]) for name in columns])
    tables = []
    try:
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            for group in row_groups:
                table = file.read_row_group(group, columns=list(columns)).select(columns)
                tables.append(table.cast(schema, safe=False))
    except (OSError, pa.ArrowException) as error:
        reason = str(error).splitlines()[0]
        raise UserError(
            f"{path}: row group {group} cannot be read ({reason}); write the shard again"
        ) from error
    return _repair_utf8(pa.concat_tables(tables))


def _repair_utf8(table: pa.Table) -> tuple[pa.Table, int]:
    try:
        table.validate(full=True)
        return table, 0
    except pa.ArrowInvalid:
        pass
    mended = 0
    for number, name in enumerate(table.column_names):
        if name not in NUMERIC_COLUMNS:
            repaired, count = _repair_array(table[name].combine_chunks())
            mended += count
            table = table.set_column(number, name, repaired)
    return table, mended


def _repair_array(array: pa.Array) -> tuple[pa.Array, int]:
    if pa.types.is_list(array.type):
        items, count = _repair_array(array.values)
        return pa.ListArray.from_arrays(array.offsets, items, mask=array.is_null()), count
    raw = array.cast(pa.binary()).to_pylist()
    texts = [None if value is None else value.decode("utf-8", "replace") for value in raw]
    changed = (
        text is not None and text.encode() != value for text, value in zip(texts, raw, strict=True)
    )
    return pa.array(texts, pa.string()), sum(changed)
