"""A cascade's answers on a split, as `hlm test` keeps them: columns and place (docs/report.md)."""

from pathlib import Path

import pyarrow as pa

DECISIONS = ("leaf", "department", "abstain")
SCHEMA = pa.schema(
    [
        ("item_id", pa.string()),
        ("weight", pa.float32()),
        ("gold", pa.list_(pa.int32())),
        ("department", pa.int32()),
        ("leaf", pa.int32()),
        ("p_department", pa.float32()),
        ("p_leaf", pa.float32()),
        ("confidence", pa.float32()),
        ("decision", pa.string()),
    ]
)
"""``gold`` holds the most specific gold nodes, ``leaf`` is -1 where nothing could answer."""


def evaluation_folder(cascade: Path) -> Path:
    """Where the answers on each split are kept; each evaluation replaces the one before."""
    return cascade / "evaluation"
