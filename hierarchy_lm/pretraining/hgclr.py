"""HGCLR (Wang et al., ACL 2022): the tree guides which words a contrastive view keeps."""

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hierarchy_lm.backbones import Backbone, BackboneOptions
from hierarchy_lm.backbones.embedded import EmbeddedTokens
from hierarchy_lm.batches import ProductBatch, SparseTargets, TokenBatch
from hierarchy_lm.decoding import DecodeOptions
from hierarchy_lm.errors import UserError
from hierarchy_lm.losses import NodeReduction, PathLoss
from hierarchy_lm.losses.nt_xent import nt_xent
from hierarchy_lm.metrics import Alignment, Spread
from hierarchy_lm.nn.node_head import NodeHead
from hierarchy_lm.node_names import tokenize_names
from hierarchy_lm.optimizers import OptimizerOptions
from hierarchy_lm.pretraining.base import HierarchyPretrainer
from hierarchy_lm.pretraining.hgclr_options import ContrastOptions
from hierarchy_lm.pretraining.hgclr_positives import PositiveSampler
from hierarchy_lm.pretraining.paths import PathMode
from hierarchy_lm.vocabulary import load_vocabulary


class HGCLRPretrainer(HierarchyPretrainer):
    r"""Multi-label pre-training with a second view of every document (HGCLR, Methodology).

    The second view has the words alone that are relevant to the document's nodes, by an attention
    of words to labels that know the tree; the others' embeddings are zero. Both views learn the
    nodes, and to be told from the other documents' views:

    .. math:: L = \mathrm{BCE}(x) + \mathrm{BCE}(x^{pos}) + \lambda \, \mathrm{NTXent}

    Only training sees labels and views: prediction is a linear layer on the plain text's [CLS].
    Under DDP a document is told from those of its own rank.

    Args:
        hierarchy: Path of ``hierarchy.parquet``; the command line takes it from the dataset.
        tokenizer: Folder or hub id of the tokenizer; the command line takes it from the backbone.
        backbone: The encoder, a transformer.
        contrast: The second view and its loss.
        node_reduction: How the BCE is reduced over all C nodes.
        path_mode: Train on all paths of a product (``union``), or on one drawn in each epoch.
        decode: Which nodes count as predicted, in evaluation and prediction.
        optimizer: AdamW and its schedule.

    Raises:
        UserError: If the backbone embeds no single tokens, or the heads do not divide the width of
            its word embeddings.
    """

    def __init__(
        self,
        hierarchy: str,
        tokenizer: str,
        backbone: BackboneOptions = BackboneOptions(),
        contrast: ContrastOptions = ContrastOptions(),
        node_reduction: NodeReduction = "mean",
        path_mode: PathMode = "union",
        decode: DecodeOptions = DecodeOptions(),
        optimizer: OptimizerOptions = OptimizerOptions(),
    ) -> None:
        super().__init__(hierarchy, tokenizer, backbone, path_mode, decode, optimizer)
        self.save_hyperparameters(logger=False)
        _check_embeds_tokens(self.backbone)
        self.contrast = contrast
        hidden_size = self.backbone.hidden_size
        vocabulary = load_vocabulary(tokenizer)
        self.positives = PositiveSampler(
            self.hierarchy,
            tokenize_names(self.hierarchy, vocabulary, specials=True),
            vocabulary.special.pad,
            self.backbone.word_embeddings.shape[1],
            contrast,
        )
        self.dropout = nn.Dropout(contrast.dropout)
        self.head = NodeHead(self.hierarchy.level_sizes, hidden_size)
        self.projector = nn.Sequential(
            nn.Dropout(contrast.dropout),
            nn.Linear(hidden_size, hidden_size),
            nn.ReLU(),
            nn.Dropout(contrast.dropout),
            nn.Linear(hidden_size, hidden_size),
        )
        self.bce = PathLoss([0, self.hierarchy.num_nodes], node_reduction)
        self.alignment = Alignment()
        self.cls_spread = Spread(hidden_size)

    def forward(self, batch: ProductBatch) -> Tensor:
        """Logits of all nodes, ``(B, C)``, from the plain text's [CLS]."""
        return self.head.of_one(self.backbone(batch.tokens))

    def path_loss(self, logits: Tensor, targets: SparseTargets) -> Tensor:
        """BCE over all nodes, as in multi-label pre-training."""
        loss: Tensor = self.bce(logits, targets)
        return loss

    def loss(self, batch: ProductBatch) -> Tensor:
        """BCE of both views and their contrastive loss; mean over documents."""
        targets = self._train_targets(batch)
        # One look-up for both uses: each has a gradient of the size of the vocabulary.
        words = F.embedding(batch.tokens.input_ids, self.backbone.word_embeddings)
        kept = self.kept_tokens(words, targets)
        plain, positive = self.backbone(batch.tokens), self.positive_cls(batch.tokens, words, kept)
        tau = 1.0 if self.contrast.official else self.contrast.tau
        views = self.dropout(plain), self.dropout(positive)  # the same for head and projector
        contrastive = nt_xent(self.projector(views[0]), self.projector(views[1]), tau)
        self._log_views(batch.tokens, kept, plain, positive, contrastive)
        both = sum(self.path_loss(self.head.of_one(view), targets) for view in views)
        return both + self.contrast.weight * contrastive

    def evaluate(self, batch: ProductBatch) -> tuple[Tensor, SparseTargets]:
        """BCE of the plain texts and decoded nodes; signs of a collapse are collected."""
        h_cls = self.backbone(batch.tokens)
        logits = self.head.of_one(h_cls)
        self.cls_spread.update(h_cls, batch.rows)
        return self.path_loss(logits, batch.targets), self._decoded(logits)

    def _log_f1(self, stage: str) -> None:
        super()._log_f1(stage)
        self._log_scores(self.cls_spread, f"{stage}/cls_")

    def kept_tokens(self, words: Tensor, targets: SparseTargets) -> Tensor:
        """1 where the positive view keeps a token and 0 where not, ``(B, T)``, with gradient.

        Args:
            words: ``(B, T, E)`` word embeddings of the documents.
            targets: Their nodes.
        """
        kept: Tensor = self.positives(words, targets, self._embed)
        return kept

    def positive_cls(self, tokens: TokenBatch, words: Tensor, kept: Tensor) -> Tensor:
        """[CLS] of texts whose other words' embeddings are zero, ``(B, k)``.

        Positions and segments of these words stay, and they are attended to.
        """
        positions = torch.arange(words.shape[1], device=words.device)[None]
        mask = tokens.attention_mask.bool()
        view = EmbeddedTokens(words * kept[:, :, None], mask, positions, tokens.token_type_ids)
        return self.backbone.encode(view)[:, 0]

    def _embed(self, ids: Tensor) -> Tensor:
        layer = cast(nn.Module, self.backbone.encoder.embeddings)
        embedded: Tensor = layer(input_ids=ids)
        return embedded

    def _log_views(
        self, tokens: TokenBatch, kept: Tensor, plain: Tensor, positive: Tensor, loss: Tensor
    ) -> None:
        """The contrastive loss, how many tokens stay, and how close the two views are."""
        mask = tokens.attention_mask
        self.log("train/contrastive", loss.detach(), batch_size=len(mask))
        share = (kept.detach() * mask).sum() / mask.sum()
        self.log("train/kept_tokens", share, batch_size=len(mask))
        self.alignment.update(plain, positive)
        self.log("train/alignment", self.alignment, on_step=False, on_epoch=True)


def _check_embeds_tokens(backbone: Backbone) -> None:
    if not (backbone.has_token_states and hasattr(backbone.encoder, "embeddings")):
        raise UserError(
            "model.backbone: HGCLR needs a transformer with an embedding layer, such as BERT's or "
            "ALBERT's; use another backbone"
        )
