"""The second stage of DHPC: which leaf of its department an item belongs to."""

from pathlib import Path

from hierarchy_lm.backbones import BackboneOptions
from hierarchy_lm.classification.base import ProductClassifier
from hierarchy_lm.hierarchy import Hierarchy
from hierarchy_lm.losses import DHPCOptions
from hierarchy_lm.nn import HeadOptions, SkipOptions
from hierarchy_lm.optimizers import OptimizerOptions


class LeafClassifier(ProductClassifier):
    """Tells the leaves of one department apart (DHPC, Section C).

    Args:
        hierarchy: ``hierarchy.parquet``; the command line takes it from the data.
        department: Name of the department; the command line takes it from the data.
        tokenizer: Folder or hub id of the tokenizer; the command line takes it from the backbone.
        backbone: The encoder; three segments tell title, description and bullet points apart.
        skip: Which layers' [CLS] count, and how they are pooled.
        head: The two-layer head.
        loss: Strategies against label noise; by default plain binary cross entropy.
        inference_temperature: Divides the logits outside of training.
        optimizer: AdamW and its schedule.
    """

    def __init__(
        self,
        hierarchy: str,
        department: str,
        tokenizer: str,
        backbone: BackboneOptions = BackboneOptions(num_segments=3),
        skip: SkipOptions = SkipOptions(),
        head: HeadOptions = HeadOptions(),
        loss: DHPCOptions = DHPCOptions(),
        inference_temperature: float = 1.0,
        optimizer: OptimizerOptions = OptimizerOptions(),
    ) -> None:
        tree = Hierarchy.from_parquet(Path(hierarchy))
        nodes = tree.leaves_of(tree.department(department))
        super().__init__(
            tree, nodes, tokenizer, backbone, skip, head, loss, inference_temperature, optimizer
        )
        self.save_hyperparameters(logger=False)
