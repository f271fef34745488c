"""HiMatch: texts and labels in one space (Chen et al., 2021), as SST runs it and as published."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hierarchy_lm.backbones import BackboneOptions
from hierarchy_lm.batches import ProductBatch, SparseTargets
from hierarchy_lm.decoding import DecodeOptions
from hierarchy_lm.losses import NodeReduction, PathLoss
from hierarchy_lm.losses.matching import Companions, MatchingOptions, margins, matching_loss
from hierarchy_lm.metrics import Alignment, Spread
from hierarchy_lm.nn.hierarchy_gcn import HierarchyGCN, TextPropagation
from hierarchy_lm.nn.match_head import MatchHead
from hierarchy_lm.nn.relational_gcn import RelationalGCN, RelationalOptions
from hierarchy_lm.nn.relatives import Relatives
from hierarchy_lm.optimizers import OptimizerOptions
from hierarchy_lm.precision import at_least_float32
from hierarchy_lm.pretraining.base import CountedData, HierarchyPretrainer
from hierarchy_lm.pretraining.hiagm_official import PROPAGATION_WIDTH, Form, check_official
from hierarchy_lm.pretraining.himatch_draws import draw_companions
from hierarchy_lm.pretraining.himatch_features import Features, NodeFeatures
from hierarchy_lm.pretraining.paths import PathMode
from hierarchy_lm.vocabulary import load_vocabulary

EVALUATION = -1
"""In place of the epoch: evaluation draws the same companions always, whatever the run's seed."""


class HiMatchPretrainer(HierarchyPretrainer):
    """Pull a text to a gold label and that label's parent, and away from other labels.

    Text and labels are unit vectors of ``rgcn.width`` numbers: the text's from [CLS], the labels'
    from a graph convolution over the tree. With ``cls_weight: 0``, SST's recipe, nothing learns
    which labels a product has, only which are near: the nearest label of each level is the
    prediction, with ``decode.constraint: top1``.

    Args:
        hierarchy: Path of ``hierarchy.parquet``; the command line takes it from the dataset.
        tokenizer: Folder or hub id of the tokenizer; the command line takes it from the backbone.
        backbone: The encoder.
        matching: Distance, margins and draws.
        cls_weight: Weight of the binary cross entropy over all nodes; 0 leaves it out, 1 is the
            fair variant and the official one.
        rgcn: The graph convolution, and the space of the matching.
        node_features: What a node brings into the graph: its name's word embeddings or [CLS]
            without gradient, or ``random`` numbers to be learnt.
        refresh_every: Optimiser steps after which the names' [CLS] are computed again.
        form: ``shared`` scores a label by its product with the text. ``official`` has HiAGM's
            propagation of the text through the tree, the same graph on the side of the labels,
            and, with a positive ``cls_weight``, a linear classifier: of small trees only.
        node_reduction: How the binary cross entropy is reduced over all C nodes.
        path_mode: Train on all paths of a product (``union``), or on one drawn in each epoch.
        decode: Which nodes count as predicted, in evaluation and prediction.
        optimizer: AdamW and its schedule.

    Raises:
        UserError: If the tree is too large for the official form.
        ValueError: If ``cls_weight`` is negative or ``refresh_every`` not positive.
    """

    def __init__(
        self,
        hierarchy: str,
        tokenizer: str,
        backbone: BackboneOptions = BackboneOptions(),
        matching: MatchingOptions = MatchingOptions(),
        cls_weight: float = 0.0,
        rgcn: RelationalOptions = RelationalOptions(),
        node_features: Features = "name_emb",
        refresh_every: int = 2000,
        form: Form = "shared",
        node_reduction: NodeReduction = "mean",
        path_mode: PathMode = "union",
        decode: DecodeOptions = DecodeOptions(),
        optimizer: OptimizerOptions = OptimizerOptions(),
    ) -> None:
        super().__init__(hierarchy, tokenizer, backbone, path_mode, decode, optimizer)
        if cls_weight < 0 or refresh_every < 1:
            raise ValueError(
                f"cls_weight must be at least 0 and refresh_every at least 1, got {cls_weight} "
                f"and {refresh_every}"
            )
        self.save_hyperparameters(logger=False)
        self.matching = matching
        self.cls_weight = cls_weight
        self.refresh_every = refresh_every
        self._refreshed_at = -1
        self._cached: Tensor | None = None
        tree, vocabulary = self.hierarchy, load_vocabulary(tokenizer)
        self.relatives = Relatives(tree.parents, self.offsets)
        self.features = NodeFeatures(tree, vocabulary, self.backbone, node_features, rgcn.width)
        self._build(form, rgcn)
        self.head.requires_grad_(cls_weight > 0)
        self.bce = PathLoss([0, tree.num_nodes], node_reduction)
        self.cls_spread = Spread(self.backbone.hidden_size)
        self.text_spread = Spread(rgcn.width)
        self.alignment = Alignment()

    def _build(self, form: Form, rgcn: RelationalOptions) -> None:
        parents, size, width = self.hierarchy.parents, self.backbone.hidden_size, rgcn.width
        self.head: MatchHead | nn.Linear = MatchHead(self.hierarchy.level_sizes)
        self.propagation: TextPropagation | None = None
        if form == "shared":
            self.graph: nn.Module = RelationalGCN(parents, self.features.width, rgcn)
            self.label_map = _map(width, width)
        else:
            check_official(self.hierarchy)
            self.propagation = TextPropagation(parents, size, PROPAGATION_WIDTH)
            size = len(parents) * PROPAGATION_WIDTH
            self.graph = HierarchyGCN(parents, self.features.width)
            self.label_map = _map(self.features.width, width)
            if self.cls_weight > 0:
                self.head = nn.Linear(size, len(parents))
        self.text_map = _map(size, width)

    @classmethod
    def best_by(cls, options: Mapping[str, Any]) -> tuple[str, str] | None:
        """The best checkpoint's metric and mode: alignment alone has no F1 worth the name."""
        return None if options["cls_weight"] > 0 else ("val/loss", "min")

    def setup(self, stage: str) -> None:
        """Check the data; the official form's edges start as HiAGM's do."""
        super().setup(stage)
        if stage == "fit" and self.propagation is not None:
            data: CountedData = self.data  # type: ignore[assignment]
            for gcn in (self.propagation.gcn, self.graph):
                assert isinstance(gcn, HierarchyGCN)
                gcn.set_prior(data.label_frequencies())

    def on_train_batch_start(self, batch: ProductBatch, batch_idx: int) -> None:
        """Refresh the names' [CLS] when it is time."""
        super().on_train_batch_start(batch, batch_idx)
        due = self.global_step % self.refresh_every == 0 and self.global_step != self._refreshed_at
        if self.features.kind == "name_cls" and due:
            self._refreshed_at = self.global_step
            self.features.refresh(self.backbone)

    def train(self, mode: bool = True) -> "HiMatchPretrainer":
        """Set the mode; the labels' states that evaluation keeps are forgotten."""
        self._cached = None
        return super().train(mode)

    def node_states(self) -> Tensor:
        """States of all nodes, ``(C, width)``; computed once in an evaluation."""
        if self.training or torch.is_grad_enabled():
            states: Tensor = self.graph(self.features(self.backbone))
            return states
        if self._cached is None:
            self._cached = self.graph(self.features(self.backbone))
        return self._cached

    def label_vectors(self, states: Tensor) -> Tensor:
        """Unit vectors of nodes from their states, ``(..., width)``."""
        return _unit(self.label_map(states))

    def text_features(self, batch: ProductBatch) -> tuple[Tensor, Tensor]:
        """[CLS], and what of it the text's vector is made."""
        h_cls = self.backbone(batch.tokens)
        return h_cls, h_cls if self.propagation is None else self.propagation(h_cls)

    def text_vectors(self, features: Tensor) -> Tensor:
        """Unit vectors of texts, ``(B, width)``."""
        return _unit(self.text_map(features))

    def forward(self, batch: ProductBatch) -> Tensor:
        """Logits of all nodes, ``(B, C)``, one level after the other."""
        _, features = self.text_features(batch)
        return self._logits(features, self.text_vectors(features), self.node_states())

    def _logits(self, features: Tensor, texts: Tensor, states: Tensor) -> Tensor:
        if isinstance(self.head, MatchHead):
            logits: Tensor = self.head(texts, self.label_vectors(states))
        else:
            logits = self.head(features)
        return logits

    def loss(self, batch: ProductBatch) -> Tensor:
        """Joint and matching loss of drawn labels, and the weighted cross entropy."""
        targets = self._train_targets(batch)
        drawn = self._draw(targets, batch, self.run_seed, self.current_epoch)
        _, features = self.text_features(batch)
        texts = self.text_vectors(features)
        if self.cls_weight == 0:
            return self._match(texts, self._states_of(drawn.nodes), drawn)[0]
        states = self.node_states()
        total, _ = self._match(texts, states[drawn.nodes], drawn)
        logits = self._logits(features, texts, states)
        return total + self.cls_weight * self.path_loss(logits, targets)

    def _states_of(self, nodes: Tensor) -> Tensor:
        """States of some nodes, ``(..., width)``, without computing all if that can be."""
        if not isinstance(self.graph, RelationalGCN):
            return self.node_states()[nodes]
        states: Tensor = self.graph(self.features(self.backbone), nodes.flatten())
        return states.view(*nodes.shape, -1)

    def _draw(
        self, targets: SparseTargets, batch: ProductBatch, seed: int, epoch: int
    ) -> Companions:
        return draw_companions(
            targets, batch.targets, self.relatives, batch.rows, seed, epoch, self.matching
        )

    def _match(self, texts: Tensor, states: Tensor, drawn: Companions) -> tuple[Tensor, Tensor]:
        """Mean loss over documents, and the vectors of the drawn nodes, ``(4, N, width)``.

        Args:
            texts: Unit vectors of the documents.
            states: Of the drawn nodes, ``(4, N, width)``.
            drawn: Whose loss it is.
        """
        labels = self.label_vectors(states)
        steps = torch.stack(
            [self.relatives.distance(drawn.nodes[0], other) for other in drawn.nodes[2:]]
        )
        margin = margins(steps, self.hierarchy.depth, self.matching)
        total = matching_loss(texts[drawn.documents], labels, margin, drawn, self.matching)
        return total / len(texts), labels

    def path_loss(self, logits: Tensor, targets: SparseTargets) -> Tensor:
        """BCE over all nodes."""
        loss: Tensor = self.bce(logits, targets)
        return loss

    def evaluate(self, batch: ProductBatch) -> tuple[Tensor, SparseTargets]:
        """Loss and decoded nodes; signs of a collapse are collected on the way."""
        h_cls, features = self.text_features(batch)
        texts, states = self.text_vectors(features), self.node_states()
        drawn = self._draw(batch.targets, batch, 0, EVALUATION)
        loss, labels = self._match(texts, states[drawn.nodes], drawn)
        logits = self._logits(features, texts, states)
        if self.cls_weight > 0:
            loss = loss + self.cls_weight * self.path_loss(logits, batch.targets)
        self.cls_spread.update(h_cls, batch.rows)
        self.text_spread.update(texts, batch.rows)
        self.alignment.update(texts[drawn.documents], labels[0])
        return loss, self._decoded(logits)

    def _log_f1(self, stage: str) -> None:
        super()._log_f1(stage)
        self._log_scores(self.cls_spread, f"{stage}/cls_")
        self._log_scores(self.text_spread, f"{stage}/text_")
        self.log(f"{stage}/alignment", self.alignment.compute())
        self.alignment.reset()


def _unit(vectors: Tensor) -> Tensor:
    """Of length 1, in float32 at least."""
    return F.normalize(at_least_float32(vectors), dim=-1)


def _map(size: int, width: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(size, width), nn.ReLU(), nn.Linear(width, width))
