"""The cascade folder: what `hlm fit-cascade` writes and `Cascade` reads (docs/cascade.md)."""

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from hierarchy_lm.dataset import read_json, write_json
from hierarchy_lm.errors import UserError
from hierarchy_lm.text import TextOptions

SCHEMA_VERSION = 1
CASCADE, CALIBRATION = "cascade.json", "calibration.json"

PAIR = {"leaf", "department"}
Status = Literal["model", "single_leaf", "prior", "empty", "failed", "pending"]


@dataclass(frozen=True)
class DepartmentEntry:
    """How the leaves of one department are told apart.

    Attributes:
        node: The department's node.
        path: Its name.
        status: ``model``: a trained leaf classifier. ``single_leaf``: the department has one leaf,
            which is right whenever the department is. ``prior``: too few items to train on, or none
            to validate on, so the shares of its leaves among them answer. ``empty``: no item at
            all. ``failed``: training failed. ``pending``: not trained yet. The last three have no
            answer: the cascade backs off to the department.
        items: Training items with a leaf of the department.
        leaves: Leaves of the department.
        checkpoint: Its classifier, relative to the cascade folder.
        prior: For ``prior`` and ``single_leaf``, the share of each leaf that has items.
        reason: Why there is no model.
        metrics: Validation metrics of the classifier.
    """

    node: int
    path: str
    status: Status
    items: int
    leaves: int
    checkpoint: str | None = None
    prior: Mapping[str, float] = field(default_factory=dict)
    reason: str = ""
    metrics: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class CascadeInfo:
    """``cascade.json``.

    Attributes:
        tree: Fingerprint of the hierarchy.
        tokenizer: Fingerprint of the tokenizer.
        text: The text options of all classifiers.
        checkpoint: The department classifier, relative to the folder.
        departments: One entry per department, in the order of their nodes.
    """

    tree: str
    tokenizer: str
    text: Mapping[str, Any]
    checkpoint: str
    departments: list[DepartmentEntry]
    schema_version: int = SCHEMA_VERSION


@dataclass(frozen=True)
class Calibration:
    """``calibration.json``: what `hlm calibrate` found on the validation split.

    Attributes:
        department_temperature: Divides the logits of the department classifier.
        leaf_temperature: Divides the logits of the leaf classifiers.
        target_accuracy: What the thresholds promise.
        error_probability: Probability with which a threshold's promise may fail.
        top_departments: The beam that the thresholds were chosen for.
        leaf_threshold: Least confidence at which a leaf is accepted; None: no threshold reaches the
            target, nothing is accepted.
        department_threshold: Least probability at which a department is accepted; None as above.
        per_department: Whether each predicted department's own two thresholds decide.
        departments: These: ``leaf`` and ``department`` of each department by its node.
    """

    department_temperature: float = 1.0
    leaf_temperature: float = 1.0
    target_accuracy: float | None = None
    error_probability: float | None = None
    top_departments: int = 1
    leaf_threshold: float | None = 0.0
    department_threshold: float | None = 0.0
    per_department: bool = False
    departments: Mapping[str, Mapping[str, float | None]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for temperature in (self.department_temperature, self.leaf_temperature):
            if not isinstance(temperature, int | float) or not temperature > 0:
                raise ValueError(f"temperatures must be positive, got {temperature}")
        if not isinstance(self.target_accuracy, int | float | None):
            raise ValueError(f"target_accuracy must be a number, got {self.target_accuracy}")
        own = dict(self.departments)
        if not all(isinstance(pair, Mapping) and set(pair) == PAIR for pair in own.values()):
            raise ValueError("each department must have the thresholds 'leaf' and 'department'")
        pairs = [threshold for node in own for threshold in own[str(int(node))].values()]
        for threshold in (self.leaf_threshold, self.department_threshold, *pairs):
            if not isinstance(threshold, int | float | None):
                raise ValueError(f"thresholds must be numbers, got {threshold}")


def write_cascade(folder: Path, info: CascadeInfo) -> None:
    """Write ``cascade.json``."""
    write_json(folder / CASCADE, asdict(info))


def read_cascade(folder: Path) -> CascadeInfo:
    """Read ``cascade.json``.

    Raises:
        UserError: If the folder holds none, or one of another version.
    """
    content = read_json(folder / CASCADE, "train one with `hlm fit-cascade`")
    version = content.get("schema_version")
    if version != SCHEMA_VERSION:
        raise UserError(
            f"{folder}: cascade of version {version}, this release reads {SCHEMA_VERSION}; "
            "train it again"
        )
    try:
        entries = [DepartmentEntry(**entry) for entry in content.pop("departments")]
        info = CascadeInfo(**content, departments=entries)
        TextOptions(**info.text)
        return info
    except (TypeError, KeyError, ValueError) as error:
        raise UserError(f"{folder / CASCADE}: {error}; train the cascade again") from error


def read_calibration(folder: Path) -> Calibration | None:
    """Read ``calibration.json``; None if the cascade has not been calibrated.

    Raises:
        UserError: If it is damaged.
    """
    file = folder / CALIBRATION
    if not file.exists():
        return None
    try:
        return Calibration(**read_json(file, "calibrate again"))
    except (TypeError, ValueError) as error:
        raise UserError(f"{file}: {error}; run `hlm calibrate` again") from error


def calibration_fingerprint(folder: Path) -> str | None:
    """SHA-256 of ``calibration.json``, None if there is none: tells answers before and after."""
    file = folder / CALIBRATION
    return hashlib.sha256(file.read_bytes()).hexdigest() if file.exists() else None
