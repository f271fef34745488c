"""HBGL (Jiang et al., EMNLP 2022), in the form that SST compares with (Section VI-A)."""

from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from hierarchy_lm.backbones import BackboneOptions, EmbeddedTokens
from hierarchy_lm.backbones.level_tokens import LEVEL_TOKENS, LevelTokens
from hierarchy_lm.batches import ProductBatch, SparseTargets
from hierarchy_lm.decoding import DecodeOptions
from hierarchy_lm.errors import UserError
from hierarchy_lm.losses import NodeReduction
from hierarchy_lm.losses.steps import Steps, any_level_step_bce, level_steps_bce, steps_of
from hierarchy_lm.nn import LabelVocabulary
from hierarchy_lm.nn.block import INIT_STD
from hierarchy_lm.nn.label_vocabulary import BiasInit
from hierarchy_lm.nn.text_cache import TextCache
from hierarchy_lm.node_names import tokenize_names
from hierarchy_lm.optimizers import OptimizerOptions
from hierarchy_lm.pretraining.base import HierarchyPretrainer
from hierarchy_lm.pretraining.draws import random_bits, uniform
from hierarchy_lm.pretraining.hbgl_blocks import SEGMENT, behind, label_tokens, text_tokens
from hierarchy_lm.pretraining.hbgl_decoding import Greedy, GreedyDecoder, Scores, StopRule
from hierarchy_lm.pretraining.hbgl_labels import HBGLLabelOptions, LabelStage
from hierarchy_lm.pretraining.hbgl_run import run_label_stage
from hierarchy_lm.pretraining.mlm_heads import create_mlm_head
from hierarchy_lm.pretraining.paths import PathMode
from hierarchy_lm.training import check_token_states
from hierarchy_lm.vocabulary import load_vocabulary

LabelInit = Literal["mean", "sum", "random"]
TRUE_BLOCK = 0x48424C  # keeps these draws apart from the run's others


class HBGLPretrainer(HierarchyPretrainer):
    """Decode a document's nodes level by level, nodes being words of the encoder's own.

    Before the first step of ``hlm fit`` the vectors of the nodes are learnt from the tree
    (:class:`LabelStage`); a resumed run has them already.

    Args:
        hierarchy: Path of ``hierarchy.parquet``; the command line takes it from the dataset.
        tokenizer: Folder or hub id of the tokenizer; the command line takes it from the backbone.
        backbone: The encoder.
        labels: The first stage.
        label_init: Vectors of the nodes to start from: mean or sum of the word embeddings of their
            names, or random.
        label_length: Mean length that these vectors are brought to where they are shorter, as those
            from words of random weights are; 0 leaves them.
        bias_init: ``even_odds`` starts where the probabilities of the nodes that compete sum to 1.
            From ``zero``, as in the official code, AdamW needs thousands of steps until few nodes
            are likely, and states come to point away from all nodes alike instead.
        restrict_level: At step l only the nodes of level l compete, and the stop symbol. Otherwise
            all nodes do at every step, one step in memory at a time.
        true_mask_prob: Probability that a step's true block is replaced by [MASK] in training.
        true_block_grad: Let the gradient through the true blocks as well.
        stop_rule: What becomes of nodes around the stop symbol, see :class:`GreedyDecoder`.
        node_reduction: How the loss of one step is reduced over its candidates.
        path_mode: Train on all paths of a product (``union``), or on one drawn in each epoch.
        decode: Which candidates of a step are predicted; ``constraint: parent`` only nodes whose
            parent was.
        optimizer: AdamW and its schedule.

    Raises:
        UserError: If the backbone has no states of single tokens, local attention or but one
            segment, or the tokenizer no [MASK].
    """

    level_ends: Tensor

    def __init__(
        self,
        hierarchy: str,
        tokenizer: str,
        backbone: BackboneOptions = BackboneOptions(),
        labels: HBGLLabelOptions = HBGLLabelOptions(),
        label_init: LabelInit = "mean",
        label_length: float = 1.0,
        bias_init: BiasInit = "even_odds",
        restrict_level: bool = True,
        true_mask_prob: float = 0.5,
        true_block_grad: bool = False,
        stop_rule: StopRule = "clean",
        node_reduction: NodeReduction = "mean",
        path_mode: PathMode = "union",
        decode: DecodeOptions = DecodeOptions(),
        optimizer: OptimizerOptions = OptimizerOptions(),
    ) -> None:
        super().__init__(hierarchy, tokenizer, backbone, path_mode, decode, optimizer)
        self.save_hyperparameters(logger=False)
        if not 0 <= true_mask_prob <= 1:
            raise ValueError(f"true_mask_prob is a probability, got {true_mask_prob}")
        self._check_backbone(backbone.name)
        vocabulary = load_vocabulary(tokenizer)
        self.mask_id, self.special = vocabulary.mask_for("HBGL"), vocabulary.special
        self.label_options, self.restrict_level = labels, restrict_level
        self.true_mask_prob, self.true_block_grad = true_mask_prob, true_block_grad
        self.node_reduction: NodeReduction = node_reduction
        self.mlm_head = create_mlm_head(self.backbone, backbone)
        vectors = self._first_vectors(label_init)
        sizes = self.hierarchy.level_sizes if restrict_level else [self.offsets[-1]]
        self.labels = LabelVocabulary(vectors, label_length, bias_init, sizes)
        self.register_buffer("level_ends", torch.tensor(self.offsets[1:]), persistent=False)
        self.stop_rule: StopRule = stop_rule

    def _check_backbone(self, name: str) -> None:
        check_token_states(self.backbone, "HBGL", name)
        if self.backbone.attends_locally:
            raise UserError(
                f"HBGL: the backbone '{name}' has layers with local attention, which masks for "
                "each token would switch off; use a BERT-like one"
            )
        if 0 < self.backbone.num_segments <= SEGMENT:
            raise UserError(
                f"HBGL: the label blocks are a second segment, the backbone '{name}' knows one; "
                "set model.backbone.num_segments to 2"
            )

    def _first_vectors(self, init: LabelInit) -> Tensor:
        words = self.backbone.word_embeddings.detach()
        if init == "random":
            vectors = words.new_empty(self.hierarchy.num_nodes, words.shape[1])
            return nn.init.normal_(vectors, std=INIT_STD)
        names = tokenize_names(self.hierarchy, load_vocabulary(self.tokenizer))
        return names.embedded(words, init)

    @property
    def depth(self) -> int:
        """L, the levels of the tree; a document takes at most one step more."""
        return self.hierarchy.depth

    def setup(self, stage: str) -> None:
        """Check that the model fits the data's texts.

        Raises:
            UserError: As the base class, or if a text leaves no positions for the label blocks.
        """
        super().setup(stage)
        longest = self.backbone.max_length - self.depth - 1
        if self.data.max_length > longest:
            raise UserError(
                f"data.text.max_length is {self.data.max_length}, but with a position for each of "
                f"the tree's {self.depth} levels and the stop symbol the backbone reads texts of "
                f"at most {longest} tokens; lower it"
            )

    def on_fit_start(self) -> None:
        """Learn the vectors of the nodes from the tree, unless a checkpoint has brought them."""
        if self.trainer.ckpt_path is None and self.label_options.passes:
            self._learn_labels()

    def _learn_labels(self) -> None:
        parts = (self.backbone, self.mlm_head, (self.special.cls, self.mask_id), self.hierarchy)
        stage = LabelStage(*parts, self.label_options, self.run_seed)
        learnt = run_label_stage(self.trainer, stage, self.labels.weight)
        with torch.no_grad():
            self.labels.weight.copy_(learnt)

    def forward(self, batch: ProductBatch) -> Tensor:
        """Logits of all nodes in greedy decoding, ``(B, C)``, each at the step of its level.

        Minus infinity behind the stop symbol.
        """
        text = text_tokens(self.backbone, batch.tokens)
        return self._greedy(text, self._read(text)).logits

    def path_loss(self, logits: Tensor, targets: SparseTargets) -> Tensor:
        """Mean over documents of the BCE of their steps.

        Args:
            logits: Here the masked blocks' states, ``(B, L + 1, E)``: all labels at every step
                would be documents x L x C logits.
            targets: Closed under ancestors.
        """
        states, stops = logits, self._stop(logits)
        steps = steps_of(targets, self.level_ends, len(states))
        if self.restrict_level:
            nodes = self.labels.score_levels(states[:, :-1], self.hierarchy.level_sizes)
            return level_steps_bce(nodes, stops, steps, self.offsets, self.node_reduction)
        losses = [
            checkpoint(self._step_loss, state, stops[:, step], step, steps, use_reentrant=False)
            for step, state in enumerate(states.unbind(dim=1))
        ]
        return torch.stack(losses).sum()

    def _step_loss(self, states: Tensor, stops: Tensor, step: int, steps: Steps) -> Tensor:
        nodes = self.labels.score(states, 0, self.offsets[-1])
        logits = torch.cat([nodes, stops[:, None]], dim=1)
        return any_level_step_bce(logits, step, self.depth + 1, steps, self.node_reduction)

    def _stop(self, states: Tensor) -> Tensor:
        """Logits of the stop symbol, [SEP]."""
        sep = self.special.sep
        return states @ self.backbone.word_embeddings[sep] + self.mlm_head.bias[sep]

    def loss(self, batch: ProductBatch) -> Tensor:
        """Mean loss over the documents of the batch, in one pass of text and label blocks."""
        targets = self._train_targets(batch)
        seed = hash((self.run_seed, TRUE_BLOCK))
        bits = random_bits(batch.rows, self.depth, seed, self.current_epoch)
        text = text_tokens(self.backbone, batch.tokens)
        labels = self._labels(text, targets, uniform(bits) < self.true_mask_prob)
        states = self.backbone.encode(behind(text, labels))
        return self.path_loss(self._masked(states), targets)

    def _labels(
        self, text: EmbeddedTokens, targets: SparseTargets, replaced: Tensor | None = None
    ) -> EmbeddedTokens:
        """Label blocks of known targets; true blocks that are replaced, ``(B, L)``, by [MASK]."""
        batch_size = len(text.mask)
        levels = torch.bucketize(targets.labels, self.level_ends, right=True)
        cells = targets.documents * self.depth + levels
        true = self._sums(cells, targets.labels, batch_size * self.depth)
        true = true.view(batch_size, self.depth, -1)
        mask = self.backbone.word_embeddings[self.mask_id]
        if replaced is not None:
            true = torch.where(replaced[:, :, None], mask, true)
        return label_tokens(true if self.true_block_grad else true.detach(), mask, text)

    def _sums(self, cells: Tensor, nodes: Tensor, count: int) -> Tensor:
        """Sums of the vectors of the nodes of each cell, ``(count, E)``."""
        sizes = torch.bincount(cells, minlength=count)
        return self.labels.sums(nodes[cells.argsort(stable=True)], sizes.cumsum(0) - sizes)

    def _masked(self, states: Tensor) -> Tensor:
        """Of a sequence's states those of the masked blocks, in the space of the embeddings."""
        return self.mlm_head.transform(states[:, -self.depth - 1 :])

    def _read(self, text: EmbeddedTokens) -> TextCache:
        """Encode the text, once for all steps."""
        cache = TextCache(self.backbone)
        length = text.mask.shape[1]
        cache.read(text._replace(mask=text.mask[:, None].expand(-1, length, -1)), keep=length)
        return cache

    @torch.no_grad()
    def _greedy(self, text: EmbeddedTokens, cache: TextCache) -> Greedy:
        decoder = GreedyDecoder(
            self.parents, self.offsets, self.restrict_level, self.decode_options, self.stop_rule
        )
        batch_size, mask = len(text.mask), self.backbone.word_embeddings[self.mask_id]

        def score(step: int, picked: Tensor) -> Scores:
            documents, nodes = torch.nonzero(picked, as_tuple=True)
            true = self._sums(documents, nodes, batch_size)[:, None]
            new = min(step, 1)
            tokens = label_tokens(true[:, :new], mask, text, max(0, step - 1), asked=new)
            state = self.mlm_head.transform(cache.read(tokens, keep=new)[:, -1])
            return self.labels.score(state, *decoder.candidates(step)), self._stop(state)

        return decoder(batch_size, score)

    def evaluate(self, batch: ProductBatch) -> tuple[Tensor, SparseTargets]:
        """Loss given the true nodes, and decoded nodes; their path consistency is counted."""
        text = text_tokens(self.backbone, batch.tokens)
        cache = self._read(text)
        states = cache.read(self._labels(text, batch.targets), keep=0)
        predicted = self._greedy(text, cache).pairs()
        self.consistency.update(predicted, len(batch.rows))
        return self.path_loss(self._masked(states), batch.targets), predicted

    def predict_step(self, batch: ProductBatch, batch_idx: int) -> dict[str, Tensor]:
        """Decoded nodes and their probabilities, as sparse coordinates."""
        text = text_tokens(self.backbone, batch.tokens)
        found = self._greedy(text, self._read(text))
        documents, nodes = found.pairs()
        scores = torch.sigmoid(found.logits[documents, nodes])
        return {"documents": documents, "labels": nodes, "scores": scores}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add the masked blocks, for fine-tuning with nodes as inputs (SST, Table V)."""
        super().on_save_checkpoint(checkpoint)
        levels = torch.arange(self.depth)
        mask = self.backbone.word_embeddings[self.mask_id].detach().float().cpu()
        masks = mask.repeat(self.depth, 1)
        tokens = LevelTokens(masks, levels, levels.clone(), SEGMENT, keep_sep=True, apart=True)
        checkpoint[LEVEL_TOKENS] = tokens.plain()
