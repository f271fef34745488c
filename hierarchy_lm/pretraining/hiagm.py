"""HiAGM: features at every node, passed along the edges of the tree (Zhou et al., 2020)."""

from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from hierarchy_lm.backbones import BackboneOptions
from hierarchy_lm.batches import ProductBatch, SparseTargets
from hierarchy_lm.decoding import DecodeOptions
from hierarchy_lm.errors import UserError
from hierarchy_lm.losses import NodeReduction, PathLoss
from hierarchy_lm.losses.recursive import recursive_regularisation
from hierarchy_lm.nn.block import INIT_STD
from hierarchy_lm.nn.hierarchy_gcn import HierarchyGCN, LabelAttention, TextPropagation
from hierarchy_lm.nn.node_head import NodeHead
from hierarchy_lm.optimizers import OptimizerOptions
from hierarchy_lm.pretraining.base import CountedData, HierarchyPretrainer
from hierarchy_lm.pretraining.hiagm_official import PROPAGATION_WIDTH, Form, check_official
from hierarchy_lm.pretraining.paths import PathMode

Variant = Literal["tp", "la"]


class SharedPropagation(nn.Module):
    """Propagation of features that are a text's vector plus a node's, scored by a head per node.

    Args:
        parents: Parent of each node, -1 at a root.
        hidden_size: k, of [CLS].
        width: d.

    Shape:
        - h_cls: ``(B, k)``
        - heads: ``(C, d)``
        - output: ``(B, C)``
    """

    def __init__(self, parents: NDArray[np.int32], hidden_size: int, width: int) -> None:
        super().__init__()
        self.text = nn.Linear(hidden_size, width)
        self.nodes = nn.Parameter(INIT_STD * torch.randn(len(parents), width))
        # A sum over the thousands of children that a node may have would drown all else.
        self.gcn = HierarchyGCN(parents, width, children="mean")

    def forward(self, h_cls: Tensor, heads: Tensor) -> Tensor:
        """Scores of all nodes."""
        return self.gcn.scores(self.text(h_cls), self.nodes, heads)


class HiAGMPretrainer(HierarchyPretrainer):
    """Predict all nodes from features that each node has, and hears of from its relatives.

    Args:
        hierarchy: Path of ``hierarchy.parquet``; the command line takes it from the dataset.
        tokenizer: Folder or hub id of the tokenizer; the command line takes it from the backbone.
        backbone: The encoder.
        form: ``shared`` fits any tree: the feature of a node is a map of [CLS] plus a vector of the
            node, messages are not cut off by a ReLU, every node has a head of its own.
            ``official`` maps [CLS] to features of all nodes, and the features of all nodes to every
            logit: of small trees only.
        variant: Nodes start with features of the text (``tp``), or attend with features of their
            own to the text's tokens (``la``, official form only).
        width: d, of a node's features.
        recursive_weight: Weight of the recursive regularisation: half the squared distance of each
            node's classifier from its parent's, summed over the tree.
        logit_dropout: Share of the logits that is set to 0 in training; the official code has 0.5.
        node_reduction: How the binary cross entropy is reduced over all C nodes.
        path_mode: Train on all paths of a product (``union``), or on one drawn in each epoch.
        decode: Which nodes count as predicted, in evaluation and prediction.
        optimizer: AdamW and its schedule.

    Raises:
        UserError: If the tree is too large for the official form, or the form or the encoder is
            none for label attention.
        ValueError: If a number is out of its range.
    """

    def __init__(
        self,
        hierarchy: str,
        tokenizer: str,
        backbone: BackboneOptions = BackboneOptions(),
        form: Form = "shared",
        variant: Variant = "tp",
        width: int = PROPAGATION_WIDTH,
        recursive_weight: float = 1e-6,
        logit_dropout: float = 0.0,
        node_reduction: NodeReduction = "mean",
        path_mode: PathMode = "union",
        decode: DecodeOptions = DecodeOptions(),
        optimizer: OptimizerOptions = OptimizerOptions(),
    ) -> None:
        super().__init__(hierarchy, tokenizer, backbone, path_mode, decode, optimizer)
        if width < 1 or recursive_weight < 0 or not 0 <= logit_dropout < 1:
            raise ValueError(
                "width must be positive, recursive_weight at least 0 and logit_dropout a share "
                f"below 1, got {width}, {recursive_weight} and {logit_dropout}"
            )
        self.save_hyperparameters(logger=False)
        self.recursive_weight = recursive_weight
        self.logit_dropout = logit_dropout
        self._build(form, variant, width)
        self.bce = PathLoss([0, self.hierarchy.num_nodes], node_reduction)

    def _build(self, form: Form, variant: Variant, width: int) -> None:
        parents, size = self.hierarchy.parents, self.backbone.hidden_size
        if form == "shared":
            if variant == "la":
                raise UserError(
                    "variant: la has a score for every product, node and token and needs form: "
                    "official, for small trees; use variant: tp"
                )
            self.propagation: SharedPropagation | TextPropagation | LabelAttention
            self.propagation = SharedPropagation(parents, size, width)
            self.head: NodeHead | nn.Linear = NodeHead(self.hierarchy.level_sizes, width)
            return
        check_official(self.hierarchy, width)
        if variant == "tp":
            self.propagation = TextPropagation(parents, size, width, dropout=0.0)
        elif self.backbone.has_token_states:
            self.propagation = LabelAttention(parents, size, width)
        else:
            raise UserError("variant: la needs the states of single tokens; use a transformer")
        self.head = nn.Linear(len(parents) * width, len(parents))

    def setup(self, stage: str) -> None:
        """Check the data; what parents tell their children starts at P(child | parent) there."""
        super().setup(stage)
        if stage == "fit":
            data: CountedData = self.data  # type: ignore[assignment]
            self.propagation.gcn.set_prior(data.label_frequencies())

    def forward(self, batch: ProductBatch) -> Tensor:
        """Logits of all nodes, ``(B, C)``, one level after the other."""
        logits: Tensor
        if isinstance(self.propagation, LabelAttention):
            states = self.backbone.hidden_states(batch.tokens)
            logits = self.head(self.propagation(states, batch.tokens.attention_mask))
        elif isinstance(self.propagation, TextPropagation):
            logits = self.head(self.propagation(self.backbone(batch.tokens)))
        else:
            logits = self.propagation(self.backbone(batch.tokens), self.head.weight)
            logits = logits + self.head.bias
        return F.dropout(logits, self.logit_dropout, self.training)

    def loss(self, batch: ProductBatch) -> Tensor:
        """Binary cross entropy and the weighted regularisation."""
        total = super().loss(batch)
        if self.recursive_weight == 0:
            return total
        apart = recursive_regularisation(self.head.weight, self.parents)
        return total + self.recursive_weight * apart

    def path_loss(self, logits: Tensor, targets: SparseTargets) -> Tensor:
        """BCE over all nodes."""
        loss: Tensor = self.bce(logits, targets)
        return loss
