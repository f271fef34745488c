"""What a cascade folder says about one split: `hlm test` writes it, the report reads it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from hierarchy_lm.cascade_answers import SCHEMA, evaluation_folder
from hierarchy_lm.cascade_folder import (
    Calibration,
    Status,
    calibration_fingerprint,
    read_calibration,
    read_cascade,
)
from hierarchy_lm.dataset import read_json
from hierarchy_lm.errors import UserError
from hierarchy_lm.hierarchy import Hierarchy
from hierarchy_lm.parquet import read_table

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]


@dataclass(frozen=True)
class Evaluation:
    """One cascade on one split, item by item.

    Attributes:
        folder: The cascade folder.
        split: Name of the split.
        dataset: Folder of the dataset that was evaluated.
        label_column: Column its labels were read from.
        hierarchy: The cascade's tree.
        statuses: What became of each department's model, by node.
        calibration: ``None`` if the cascade was never calibrated, or answered without it.
        calibrated: Whether it was to answer by its calibration.
        outdated: Whether it has been calibrated since.
        item_ids: n strings.
        weight: ``(n,)`` importance of each item.
        gold: ``(g,)`` label nodes of all items, concatenated.
        gold_rows: ``(g,)`` the item of each label node, ascending.
        department: ``(n,)`` predicted root.
        leaf: ``(n,)`` predicted leaf, -1 where there is none.
        confidence: ``(n,)`` confidence in the leaf.
        decision: n of ``leaf``, ``department``, ``abstain``.
    """

    folder: Path
    split: str
    dataset: str
    label_column: str
    hierarchy: Hierarchy
    statuses: dict[int, Status]
    calibration: Calibration | None
    calibrated: bool
    outdated: bool
    item_ids: pa.Array
    weight: Floats
    gold: Ints
    gold_rows: Ints
    department: Ints
    leaf: Ints
    confidence: Floats
    decision: pa.Array

    @property
    def num_items(self) -> int:
        """Rows of the evaluation, n."""
        return len(self.weight)


def read_evaluation(folder: Path, split: str) -> Evaluation:
    """Read and check a cascade's evaluation of a split.

    Raises:
        UserError: If the folder is no cascade, the split was not evaluated, or a file breaks the
            rules of docs/report.md.
    """
    cascade = read_cascade(folder)
    hierarchy = Hierarchy.from_parquet(folder / "hierarchy.parquet")
    if hierarchy.fingerprint != cascade.tree:
        raise UserError(f"{folder}: hierarchy.parquet is another tree than the cascade's")
    place = evaluation_folder(folder) / split
    info = read_json(place / "evaluation.json", f"run `hlm test` on the split '{split}' first")
    table = _read_rows(place)
    arrays = _check_rows(place, table, hierarchy)
    calibration, calibrated = read_calibration(folder), bool(info.get("calibrated", True))
    return Evaluation(
        folder=folder,
        split=split,
        dataset=str(info.get("dataset", "")),
        label_column=str(info.get("label_column", "")),
        hierarchy=hierarchy,
        statuses={entry.node: entry.status for entry in cascade.departments},
        calibration=calibration if calibrated else None,
        calibrated=calibrated,
        outdated=info.get("calibration") != calibration_fingerprint(folder),
        item_ids=table["item_id"].combine_chunks(),
        decision=table["decision"].combine_chunks(),
        **arrays,
    )


def check_current(evaluation: Evaluation) -> None:
    """Refuse answers that were given before the calibration that the report would show.

    Raises:
        UserError: If they were.
    """
    if evaluation.calibrated and evaluation.outdated:
        raise UserError(
            f"{evaluation.folder}: calibrated or trained since the split '{evaluation.split}' was "
            "answered; run `hlm test` again"
        )


def check_comparable(cascade: Evaluation, baseline: Evaluation) -> None:
    """Refuse a baseline whose figures cannot stand beside the cascade's.

    Raises:
        UserError: If its tree, its labels' column or its items are others.
    """
    where = f"{baseline.folder}: cannot be the baseline of {cascade.folder}:"
    if baseline.hierarchy.fingerprint != cascade.hierarchy.fingerprint:
        raise UserError(f"{where} it has another tree; train both on the same dataset")
    if baseline.label_column != cascade.label_column:
        raise UserError(
            f"{where} it was judged by '{baseline.label_column}', not by "
            f"'{cascade.label_column}'; run `hlm test` of both with the same labels"
        )
    shared = pc.sum(pc.is_in(baseline.item_ids, value_set=cascade.item_ids)).as_py() or 0
    if not shared == baseline.num_items == cascade.num_items:
        raise UserError(
            f"{where} {shared} of its {baseline.num_items} items are among the other's "
            f"{cascade.num_items}; run `hlm test` of both on the same dataset and split"
        )
    if not np.array_equal(np.sort(baseline.gold), np.sort(cascade.gold)):
        raise UserError(f"{where} its items have other labels; run `hlm test` of both again")


def _read_rows(place: Path) -> pa.Table:
    files = sorted(place.glob("part-*.parquet"))
    if not files:
        raise UserError(f"{place}: no part-*.parquet there; run `hlm test` again")
    try:
        tables = [read_table(file, SCHEMA.names).cast(SCHEMA) for file in files]
        table = pa.concat_tables(tables)
    except (OSError, ValueError, pa.ArrowException) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"{place}: {reason}; run `hlm test` again") from error
    for name in SCHEMA.names:
        if table[name].null_count:
            raise UserError(f"{place}: column '{name}' holds nulls; run `hlm test` again")
    return table


def _check_rows(place: Path, table: pa.Table, hierarchy: Hierarchy) -> dict[str, Any]:
    gold = table["gold"].combine_chunks()
    lengths = pc.list_value_length(gold).to_numpy(zero_copy_only=False)
    arrays: dict[str, Any] = {
        "gold": gold.flatten().to_numpy(zero_copy_only=False).astype(np.int64),
        "gold_rows": np.repeat(np.arange(len(gold), dtype=np.int64), lengths),
        **{name: table[name].to_numpy().astype(np.int64) for name in ("department", "leaf")},
        **{name: table[name].to_numpy().astype(np.float64) for name in ("weight", "confidence")},
    }
    for name, lowest in (("gold", 0), ("department", 0), ("leaf", -1)):
        nodes = arrays[name]
        if ((nodes < lowest) | (nodes >= hierarchy.num_nodes)).any():
            raise UserError(
                f"{place}: column '{name}' holds nodes that the cascade's tree lacks; "
                "run `hlm test` again"
            )
    _check_numbers(place, table, arrays)
    return arrays


def _check_numbers(place: Path, table: pa.Table, arrays: dict[str, Any]) -> None:
    weight, confidence = arrays["weight"], arrays["confidence"]
    duplicates = len(weight) - pc.count_distinct(table["item_id"]).as_py()
    if duplicates:
        raise UserError(f"{place}: {duplicates} items are there twice; run `hlm test` again")
    if not (np.isfinite(weight) & (weight >= 0)).all():
        raise UserError(f"{place}: column 'weight' must be finite and at least 0")
    if not ((confidence >= 0) & (confidence <= 1)).all():
        raise UserError(f"{place}: column 'confidence' must lie between 0 and 1")
    if not len(arrays["gold"]) or not weight[arrays["gold_rows"]].sum():
        raise UserError(
            f"{place}: no item with a label and a weight above 0; test on a labelled split"
        )
