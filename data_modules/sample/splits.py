"""Which split a row belongs to (docs/dataset.md)."""

import duckdb
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from hierarchy_lm.dataset import SPLIT_STARTS, SPLITS


def split_numbers(keys: pa.Array) -> NDArray[np.int64]:
    """Number in ``SPLITS`` of each row by the MD5 of its key."""
    rows = pa.table({"key": keys})
    conditions = " ".join(
        f"when hash < '{upper}' then {n}" for n, upper in enumerate(SPLIT_STARTS.values())
    )
    with duckdb.connect() as connection:
        numbers = connection.sql(
            f"select case {conditions} else {len(SPLITS) - 1} end as split "
            "from (select left(md5(key), 8) as hash from rows)"
        ).fetchnumpy()
    assert len(numbers["split"]) == len(rows)
    return np.asarray(numbers["split"], dtype=np.int64)
