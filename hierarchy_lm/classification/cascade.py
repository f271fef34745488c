"""The cascade of DHPC: a department, then a leaf of that department, and how sure both are."""

from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import torch
from lightning.pytorch import Callback, LightningModule
from torch import Tensor

from hierarchy_lm.batches import ProductBatch
from hierarchy_lm.cascade_answers import evaluation_folder
from hierarchy_lm.cascade_folder import Calibration, read_calibration, read_cascade
from hierarchy_lm.classification.decisions import DECISIONS, REASONS, Decisions, Thresholds
from hierarchy_lm.classification.evaluation import EvaluationWriter
from hierarchy_lm.classification.leaf_models import LeafModels
from hierarchy_lm.classification.network import load_network
from hierarchy_lm.classification.routing import Candidates, Router, Temperatures
from hierarchy_lm.classification.score_tables import write_curve, write_departments
from hierarchy_lm.errors import UserError
from hierarchy_lm.hierarchy import Hierarchy
from hierarchy_lm.metrics import CascadeMetrics, CascadeOutcome
from hierarchy_lm.runs import run_folder

MIB = 1 << 20
ALTERNATIVE = pa.struct([("path", pa.string()), ("key", pa.string()), ("confidence", pa.float32())])
SCHEMA = pa.schema(
    [
        ("department", pa.string()),
        ("department_key", pa.string()),
        ("leaf", pa.string()),
        ("path", pa.string()),
        ("key", pa.string()),
        ("p_department", pa.float32()),
        ("p_leaf", pa.float32()),
        ("confidence", pa.float32()),
        ("alternatives", pa.list_(ALTERNATIVE)),
        ("decision", pa.string()),
        ("reason", pa.string()),
    ]
)


class Answers(NamedTuple):
    """What the cascade says of B items.

    Attributes:
        best: The best leaf and its department; the leaf is -1 and the confidence 0 where no leaf
            model could answer or the item has no text.
        candidates: The best leaves, best first; none of an item that has no text.
        decisions: What to do with it.
    """

    best: CascadeOutcome
    candidates: Candidates
    decisions: Decisions


class Cascade(LightningModule):
    """Department classifier, then the leaf classifier of the best department (DHPC, Fig. 2).

    The confidence in a leaf is p_department x p_leaf. Both passes go over whole batches of the
    DataModule, here called windows, so that each leaf model is loaded and asked once per window.

    Args:
        cascade: Folder that `hlm fit-cascade` wrote.
        top_departments: How many departments are asked for leaves; 1 is the paper's cascade.
        alternatives: How many leaves are written for an item.
        calibrated: Use the temperatures and thresholds of `hlm calibrate`, if there are any.
        temperatures: Of departments and leaves, in place of a calibration.
        answers: Folder for the answers of an evaluation, one folder per split in it; by default
            the cascade's own, ``evaluation``.
        target_accuracy: Coverage is reported at this accuracy.
        chunk_tokens: Tokens of one forward pass, padding included.
        memory_mib: Leaf models that may be loaded at a time, in MiB of weights.
    """

    def __init__(
        self,
        cascade: str,
        top_departments: int = 1,
        alternatives: int = 5,
        calibrated: bool = True,
        temperatures: tuple[float, float] | None = None,
        answers: str | None = None,
        target_accuracy: float = 0.9,
        chunk_tokens: int = 16_384,
        memory_mib: int = 8192,
    ) -> None:
        super().__init__()
        if top_departments < 1 or alternatives < 1 or chunk_tokens < 1:
            raise ValueError("top_departments, alternatives and chunk_tokens must be at least 1")
        self.folder = Path(cascade)
        self.info = read_cascade(self.folder)
        self.hierarchy = Hierarchy.from_parquet(self.folder / "hierarchy.parquet")
        if self.hierarchy.fingerprint != self.info.tree:
            raise UserError(f"{self.folder}: hierarchy.parquet is not the tree of cascade.json")
        num_departments = self.hierarchy.level_sizes[0]
        if [entry.node for entry in self.info.departments] != list(range(num_departments)):
            raise UserError(
                f"{self.folder}: cascade.json does not list the {num_departments} departments of "
                "the tree; train it again with `hlm fit-cascade`"
            )
        self.answers = Path(answers) if answers else evaluation_folder(self.folder)
        self.calibrated = calibrated and temperatures is None
        calibration = Calibration(*(temperatures or ()))
        if self.calibrated:
            calibration = read_calibration(self.folder) or calibration
        if any(int(node) >= num_departments for node in calibration.departments):
            raise UserError(
                f"{self.folder}: calibration.json is of another cascade; run `hlm calibrate` again"
            )
        if calibration.target_accuracy and calibration.top_departments != top_departments:
            raise UserError(
                f"{self.folder}: calibrated for top_departments {calibration.top_departments}, not "
                f"{top_departments}; run `hlm calibrate` with --top_departments, or set "
                "model.calibrated: false"
            )
        self.thresholds = Thresholds(calibration, num_departments)
        self.departments = load_network(
            self.folder / self.info.checkpoint, self.info.tree, self.info.tokenizer
        )
        self.leaf_models = LeafModels(
            self.folder, self.info, self.hierarchy, memory=memory_mib * MIB
        )
        self.router = Router(
            self.departments,
            self.leaf_models,
            Temperatures(calibration.department_temperature, calibration.leaf_temperature),
            top_departments,
            alternatives,
            chunk_tokens,
        )
        parents = torch.from_numpy(self.hierarchy.parents.astype("int64"))
        offsets = [int(offset) for offset in self.hierarchy.level_offsets]
        self.metrics = CascadeMetrics(parents, offsets, target_accuracy)

    def setup(self, stage: str) -> None:
        """Check that the data is of the cascade's tree.

        Raises:
            UserError: If it is not.
        """
        tree: Hierarchy = self.trainer.datamodule.hierarchy  # type: ignore[attr-defined]
        if tree.fingerprint != self.info.tree:
            raise UserError(
                f"the dataset's tree (fingerprint {tree.fingerprint[:12]}) is not the cascade's "
                f"({self.info.tree[:12]}); use the dataset it was trained on, or train it again"
            )

    def configure_callbacks(self) -> list[Callback]:
        """Keep the answers of an evaluation, for `hlm report` and `hlm calibrate`."""
        return [EvaluationWriter(self.folder, self.answers, self.calibrated)]

    def forward(self, batch: ProductBatch) -> Answers:
        """Answer a window of items."""
        candidates = self.router.route(batch.tokens)
        empty = batch.tokens.attention_mask.sum(dim=1) <= 2  # [CLS] [SEP]
        answers = torch.where(empty[:, None], -1, candidates.leaf)
        candidates = candidates._replace(leaf=answers)
        department, leaf = candidates.department[:, 0], candidates.leaf[:, 0]
        p_department, p_leaf = candidates.p_department[:, 0], candidates.p_leaf[:, 0]
        decisions = self.thresholds.decide(
            department, leaf, p_department, p_department * p_leaf, empty
        )
        answered = leaf >= 0
        best = CascadeOutcome(
            department=department,
            leaf=leaf,
            p_department=p_department,
            p_leaf=torch.where(answered, p_leaf, 0.0),
            confidence=torch.where(answered, p_department * p_leaf, 0.0),
            weight=batch.weights,
        )
        return Answers(best, candidates, decisions)

    def validation_step(  # type: ignore[override]
        self, batch: ProductBatch, batch_idx: int
    ) -> Answers:
        """Count a window of the validation split."""
        return self._count(batch)

    def test_step(  # type: ignore[override]
        self, batch: ProductBatch, batch_idx: int
    ) -> Answers:
        """Count a window of the test split."""
        return self._count(batch)

    def _count(self, batch: ProductBatch) -> Answers:
        answers: Answers = self(batch)
        self.metrics.update(answers.best, batch.targets)
        return answers

    def on_validation_epoch_end(self) -> None:
        """Log the scores of the split."""
        self._log_scores("val", "validate")

    def on_test_epoch_end(self) -> None:
        """Log the scores of the split."""
        self._log_scores("test", "test")

    def _log_scores(self, stage: str, command: str) -> None:
        scores = self.metrics.compute()
        self.log_dict({f"{stage}/{name}": value.float() for name, value in scores.items()})
        self._write_tables(command)
        self.metrics.reset()

    def _write_tables(self, command: str) -> None:
        """The scores by department and by threshold; all ranks count, one writes."""
        folder = run_folder(self.trainer)
        with self.metrics.sync_context():
            departments, curve = self.metrics.per_department(), self.metrics.curve()
        if self.trainer.is_global_zero and not self.trainer.fast_dev_run:  # type: ignore[attr-defined]
            folder.mkdir(parents=True, exist_ok=True)
            names = self.hierarchy.paths[: len(departments.items)]
            write_departments(folder / f"{command}_departments.csv", departments, names)
            write_curve(folder / f"{command}_curve.csv", curve)

    def predict_step(self, batch: ProductBatch, batch_idx: int) -> Answers:
        """Answer a window; the columns are those of :data:`SCHEMA`."""
        answers: Answers = self(batch)
        return answers

    @property
    def prediction_schema(self) -> pa.Schema:
        """Columns of the predictions."""
        return SCHEMA

    def prediction_columns(self, prediction: Answers, batch: ProductBatch) -> list[pa.Array]:
        """The window's answers as columns of :data:`SCHEMA`."""
        best, decisions = prediction.best, prediction.decisions
        names, paths = pa.array(self.hierarchy.names), pa.array(self.hierarchy.paths)
        keys = pa.array(self.hierarchy.keys, pa.string())
        department, leaf = _ids(best.department), _ids(best.leaf)
        return [
            *(column.take(department) for column in (names, keys)),
            *(column.take(leaf) for column in (names, paths, keys)),
            *(_floats(part) for part in (best.p_department, best.p_leaf, best.confidence)),
            _alternatives(prediction.candidates, paths, keys),
            pa.array(DECISIONS).take(_ids(decisions.decision)),
            pa.array(REASONS).take(_ids(decisions.reason)),
        ]


def _ids(values: Tensor) -> pa.Array:
    """Null where there is none (-1)."""
    ids = values.cpu().numpy()
    return pa.array(ids, mask=ids < 0)


def _floats(values: Tensor) -> pa.Array:
    return pa.array(values.float().cpu().numpy())


def _alternatives(candidates: Candidates, paths: pa.Array, keys: pa.Array) -> pa.Array:
    """For each item the leaves that were found, best first."""
    found = (candidates.leaf >= 0).cpu()
    offsets = torch.cat([torch.zeros(1, dtype=torch.long), found.sum(dim=1).cumsum(0)])
    leaves = pa.array(candidates.leaf.cpu()[found].numpy())
    scores = pa.array(candidates.score.float().cpu()[found].numpy())
    columns = [paths.take(leaves), keys.take(leaves), scores]
    values = pa.StructArray.from_arrays(columns, fields=list(ALTERNATIVE))
    return pa.ListArray.from_arrays(pa.array(offsets.numpy().astype("int32")), values)
