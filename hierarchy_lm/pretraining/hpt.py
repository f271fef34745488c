"""HPT as pre-training: a prompt per level, made of the tree, behind every text."""

from typing import Literal, Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hierarchy_lm.backbones import BackboneOptions
from hierarchy_lm.backbones.appended import AppendedTokens, append_tokens
from hierarchy_lm.backbones.level_tokens import LEVEL_TOKENS, LevelTokens
from hierarchy_lm.batches import ProductBatch, SparseTargets, TokenBatch
from hierarchy_lm.decoding import DecodeOptions
from hierarchy_lm.losses.zero_bounded import zero_bounded_cross_entropy
from hierarchy_lm.nn import LabelVocabulary
from hierarchy_lm.nn.label_vocabulary import BiasInit
from hierarchy_lm.nn.prompt_graph import PromptGraph
from hierarchy_lm.node_names import tokenize_names
from hierarchy_lm.optimizers import OptimizerOptions
from hierarchy_lm.pretraining.base import HierarchyPretrainer
from hierarchy_lm.pretraining.draws import random_bits
from hierarchy_lm.pretraining.masking import MaskingOptions, TokenMasking
from hierarchy_lm.pretraining.mlm import Guesses, global_mean, guesses_of
from hierarchy_lm.pretraining.mlm_heads import create_mlm_head
from hierarchy_lm.pretraining.paths import PathMode
from hierarchy_lm.training import check_room, check_token_states
from hierarchy_lm.vocabulary import load_vocabulary

Edges = Literal["bidirectional", "official"]
LevelLoss = Literal["per_level", "global"]
JointMLM = Literal["none", "words", "all"]


class HPTPretrainer(HierarchyPretrainer):
    """Hierarchy-aware prompt tuning (Wang et al., EMNLP 2022) as a stage before fine-tuning.

    Behind each text stand, for every level, a prompt that a graph attention makes of the level's
    nodes, and a [PRED] token, of whose output the MLM head makes the scores of that level's nodes.
    The defaults are the paper's method and SST's use of it; where the official code does otherwise,
    an option has its way.

    Args:
        hierarchy: Path of ``hierarchy.parquet``; the command line takes it from the dataset.
        tokenizer: Folder or hub id of the tokenizer; the command line takes it from the backbone.
        backbone: The encoder.
        edges: Whether the nodes of a level reach its prompt (``bidirectional``) or edges lead away
            from it only, as in the official code, whose prompts know nothing of the tree.
        sample_per_level: Nodes of each level that a training step's prompts are made of, drawn
            anew in each (SST: 500); 0 takes all, which costs no more. Evaluation takes all.
        loss: Sum of the levels' losses (``per_level``), or one in which all nodes compete
            (``global``, the official code).
        joint_mlm: Mask words of the text too, and predict them among the ``words``, or among
            ``all`` that the official code has in one table with them: nodes, level prompts, [PRED].
        masking: Which.
        init_specials: Let [CLS] and [SEP] count in the mean of a name's tokens from which its
            node's vector starts (official).
        label_length: Mean length that the nodes' vectors are brought to where they are shorter, as
            those from words of random weights are; 0 leaves them.
        bias_init: ``even_odds`` starts where the probabilities of a level's nodes sum to 1. With
            ``zero``, about the official code's, every second node is predicted at first.
        keep_text_sep: Keep the [SEP] between text and prompts, as in the paper's template; the
            official code cuts it off.
        path_mode: Train on all paths of a product (``union``), or on one drawn in each epoch.
        decode: Which nodes count as predicted; HPT's rule, a logit above 0, is the default.
        optimizer: AdamW and its schedule.

    Raises:
        UserError: If the backbone has no states of single tokens, or the tokenizer no [MASK].
    """

    sep: Tensor
    read: Tensor

    def __init__(
        self,
        hierarchy: str,
        tokenizer: str,
        backbone: BackboneOptions = BackboneOptions(),
        edges: Edges = "bidirectional",
        sample_per_level: int = 0,
        loss: LevelLoss = "per_level",
        joint_mlm: JointMLM = "none",
        masking: MaskingOptions = MaskingOptions(),
        init_specials: bool = False,
        label_length: float = 1.0,
        bias_init: BiasInit = "even_odds",
        keep_text_sep: bool = False,
        path_mode: PathMode = "union",
        decode: DecodeOptions = DecodeOptions(),
        optimizer: OptimizerOptions = OptimizerOptions(),
    ) -> None:
        super().__init__(hierarchy, tokenizer, backbone, path_mode, decode, optimizer)
        self.save_hyperparameters(logger=False)
        if sample_per_level < 0:
            raise ValueError(f"sample_per_level must be at least 0, got {sample_per_level}")
        check_token_states(self.backbone, "HPT", backbone.name)
        vocabulary = load_vocabulary(tokenizer)
        masks = TokenMasking(vocabulary, masking)  # refuses a tokenizer without [MASK]
        self.masking = masks if joint_mlm != "none" else None
        self.edges, self.sample_per_level = edges, sample_per_level
        self.loss_offsets = self.offsets if loss == "per_level" else [0, self.offsets[-1]]
        self.keep_text_sep = keep_text_sep
        self.mlm_head = create_mlm_head(self.backbone, backbone)
        self.mlm_head.bias.requires_grad_(joint_mlm != "none")  # unused, it would stop DDP
        words = self.backbone.word_embeddings.detach()
        names = tokenize_names(self.hierarchy, vocabulary, specials=init_specials)
        vectors, sizes = names.embedded(words, "mean"), self.hierarchy.level_sizes
        self.labels = LabelVocabulary(vectors, label_length, bias_init, sizes)
        depth = self.hierarchy.depth
        self.graph = PromptGraph(depth, words.shape[1])
        self.pred = nn.Parameter(words[masks.mask_id].clone())
        count = self.hierarchy.num_nodes + depth + 1
        # The biases that the official code appends to those of the words.
        self.extension = nn.Parameter(torch.zeros(count)) if joint_mlm == "all" else None
        sep = torch.tensor([vocabulary.special.sep])
        self.register_buffer("sep", sep, persistent=False)
        self.register_buffer("read", 1 + 2 * torch.arange(depth), persistent=False)
        self._step = 0
        self._kept_prompts: Tensor | None = None

    def train(self, mode: bool = True) -> Self:
        """Set the mode; prompts that were kept for an evaluation are those of older weights."""
        self._kept_prompts = None
        return super().train(mode)

    def setup(self, stage: str) -> None:
        """Check that the texts leave room for the prompts.

        Raises:
            UserError: As the base class, or if they do not.
        """
        super().setup(stage)
        extra = 2 * self.hierarchy.depth + 1 - (not self.keep_text_sep)
        prompts = f"prompts of {self.hierarchy.depth} levels"
        check_room(self.backbone, self.data, extra, prompts)

    def prompts(self) -> Tensor:
        """Vectors of the level prompts, ``(L, E)``; no document has a part in them."""
        if self.training or torch.is_grad_enabled():
            return self._new_prompts()
        if self._kept_prompts is None:
            self._kept_prompts = self._new_prompts()
        return self._kept_prompts

    def _new_prompts(self) -> Tensor:
        vectors: Tensor = self.labels.weight
        sizes = self.hierarchy.level_sizes
        if self.edges == "official":
            return self.graph(vectors[:0], [0] * len(sizes))  # type: ignore[no-any-return]
        if self.training and 0 < self.sample_per_level < max(sizes):
            vectors = F.embedding(self.sampled_nodes(), vectors)
            sizes = [min(size, self.sample_per_level) for size in sizes]
        return self.graph(vectors, sizes)  # type: ignore[no-any-return]

    def sampled_nodes(self) -> Tensor:
        """Ids of a step's nodes, level by level: drawn evenly, the same on all ranks."""
        step = torch.tensor([self._step], device=self.parents.device)
        bits = random_bits(step, len(self.parents), self.run_seed, self.current_epoch)[0]
        levels = bits.split_with_sizes(self.hierarchy.level_sizes)
        drawn = [
            start + level.topk(min(len(level), self.sample_per_level)).indices
            for start, level in zip(self.offsets[:-1], levels, strict=True)
        ]
        return torch.cat(drawn)

    def tail(self) -> Tensor:
        """What stands behind a text: V_1 [PRED] ... V_L [PRED] [SEP], ``(2L + 1, E)``."""
        prompts = self.prompts()
        pairs = torch.stack([prompts, self.pred.expand_as(prompts)], dim=1).flatten(0, 1)
        return torch.cat([pairs, F.embedding(self.sep, self.backbone.word_embeddings)])

    def forward(self, batch: ProductBatch) -> Tensor:
        """Logits of all nodes, ``(B, C)``, one level after the other."""
        return self._score(*self._read(batch.tokens))

    def _read(self, tokens: TokenBatch) -> tuple[AppendedTokens, Tensor]:
        words = self.backbone.word_embeddings
        appended = append_tokens(tokens, words, self.tail(), keep_sep=self.keep_text_sep)
        return appended, self.backbone.encode(appended.tokens)

    def _score(self, appended: AppendedTokens, states: Tensor) -> Tensor:
        transformed = self.mlm_head.transform(appended.states_at(states, self.read))
        scores = self.labels.score_levels(transformed, self.hierarchy.level_sizes)
        return scores if self.extension is None else scores + self.extension[: scores.shape[1]]

    def path_loss(self, logits: Tensor, targets: SparseTargets) -> Tensor:
        """Zero-bounded multi-label cross entropy."""
        return zero_bounded_cross_entropy(logits, targets, self.loss_offsets)

    def training_step(self, batch: ProductBatch, batch_idx: int) -> Tensor:
        """Mean loss over the global batch, and that of its masked words if they are learned too."""
        self._step = batch_idx
        if self.masking is None:
            return super().training_step(batch, batch_idx)
        masked = self.masking(batch.tokens, batch.rows, self.run_seed, self.current_epoch)
        appended, states = self._read(masked.tokens)
        loss = self.path_loss(self._score(appended, states), self._train_targets(batch))
        guesses = self._guess(batch.tokens, states, masked.chosen)
        mean = guesses.loss.detach() / max(1, guesses.chosen)
        losses = {"train/loss": loss.detach(), "train/mlm_loss": mean}
        self.log_dict(losses, prog_bar=True, batch_size=len(batch.rows))
        return loss * batch.loss_scale + global_mean(guesses, batch, self)

    def _guess(self, tokens: TokenBatch, states: Tensor, chosen: Tensor) -> Guesses:
        wanted, table = tokens.input_ids[chosen], self.backbone.word_embeddings
        masked = self.mlm_head.transform(states[:, : chosen.shape[1]][chosen])
        logits = F.linear(masked, table, self.mlm_head.bias)
        if self.extension is not None:
            others = torch.cat([self.labels.weight, self.graph.levels, self.pred[None]])
            logits = torch.cat([logits, F.linear(masked, others, self.extension)], dim=1)
        return guesses_of(logits, wanted)

    def on_save_checkpoint(self, checkpoint: dict[str, object]) -> None:
        """Add what stands behind a text at inference, for fine-tuning with node inputs."""
        super().on_save_checkpoint(checkpoint)
        was_training = self.training
        self.eval()
        with torch.no_grad():
            tail = self.tail().float().cpu().clone()
        self.train(was_training)
        places = torch.arange(len(tail))
        tokens = LevelTokens(tail, places, self.read.cpu(), 0, self.keep_text_sep, apart=False)
        checkpoint[LEVEL_TOKENS] = tokens.plain()
