"""The DHPC paper's baseline: pooled word embeddings and a multi-layer perceptron."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, cast

import torch
from torch import Tensor, nn
from transformers import AutoConfig, AutoModel, PreTrainedConfig, PreTrainedModel
from transformers.modeling_outputs import BaseModelOutput

from hierarchy_lm.nn.norm import SyncedBatchNorm

ANY_LENGTH = 1 << 20
"""Stands for "no longest text": there are no positions to run out of."""


class DNNConfig(PreTrainedConfig):  # type: ignore[no-untyped-call]
    """Sizes of the baseline (DHPC, Section E.1.1); the paper leaves them open.

    Args:
        vocab_size: Rows of the embedding table, which all views share.
        pad_token_id: Its row for padding, always zero.
        embedding_size: Width of a word.
        hidden_sizes: Widths of the perceptron's hidden layers; the last one is h_cls.
        num_views: Fields that are pooled each for itself.
        dropout: After each hidden layer.
        initializer_range: Standard deviation of a new weight.
    """

    model_type = "hlm-dnn"

    def __init__(
        self,
        vocab_size: int = 30_522,
        pad_token_id: int = 0,
        embedding_size: int = 300,
        hidden_sizes: Sequence[int] = (1024, 512),
        num_views: int = 1,
        dropout: float = 0.2,
        initializer_range: float = 0.02,
        **kwargs: Any,  # noqa: ANN401  (what the library itself stores in config.json)
    ) -> None:
        super().__init__(**kwargs)
        self.vocab_size = vocab_size
        self.pad_token_id = pad_token_id
        self.embedding_size = embedding_size
        self.hidden_sizes = list(hidden_sizes)
        self.num_views = num_views
        self.dropout = dropout
        self.initializer_range = initializer_range
        # The whole perceptron counts as one layer, since there is one output.
        self.num_hidden_layers = 1
        self.max_position_embeddings = ANY_LENGTH

    @property
    def hidden_size(self) -> int:
        """Width of h_cls."""
        return self.hidden_sizes[-1]


class Perceptron(nn.Module):
    """Hidden layers Linear-BatchNorm-ReLU-Dropout.

    Shape:
        - input: ``(B, num_views * embedding_size)``
        - output: ``(B, 1, hidden_sizes[-1])``, the states of a text of one token
    """

    def __init__(self, config: DNNConfig) -> None:
        super().__init__()
        sizes = [config.num_views * config.embedding_size, *config.hidden_sizes]
        self.linears = nn.ModuleList(
            nn.Linear(width, size, bias=False)  # BatchNorm has the bias
            for width, size in pairwise(sizes)
        )
        self.norms = nn.ModuleList(SyncedBatchNorm(size) for size in sizes[1:])
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, views: Tensor) -> Tensor:
        """h_cls."""
        states = views
        for linear, norm in zip(self.linears, self.norms, strict=True):
            states = self.dropout(torch.relu(norm(linear(states))))
        return states.unsqueeze(1)


class DNNModel(PreTrainedModel):
    """Embeddings of a view's words, averaged; the views side by side; a perceptron on top.

    The order of words does not matter and a text may be of any length. A view's words are the
    tokens of its segment id but for [CLS] and [SEP]; an absent view is a vector of zeros.

    Shape:
        - input: ``(B, T)`` ids, mask and segment ids
        - output: ``last_hidden_state`` of ``(B, 1, hidden_size)``: one state per text, where an
          encoder of tokens has [CLS]
    """

    config_class = DNNConfig
    config: DNNConfig
    base_model_prefix = "dnn"

    def __init__(self, config: DNNConfig) -> None:
        super().__init__(config)
        self.embeddings = nn.Embedding(
            config.vocab_size, config.embedding_size, config.pad_token_id
        )
        self.layers = nn.ModuleList([Perceptron(config)])
        self.post_init()  # type: ignore[no-untyped-call]

    def get_input_embeddings(self) -> nn.Embedding:
        """The table of words."""
        return self.embeddings

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
    ) -> BaseModelOutput:
        """One state per text; without segment ids all words are of the first view."""
        mask = input_ids != self.config.pad_token_id if attention_mask is None else attention_mask
        segments = torch.zeros_like(input_ids) if token_type_ids is None else token_type_ids
        words = self.embeddings(input_ids)
        shares = view_shares(mask, segments, self.config.num_views).to(words.dtype)
        views = torch.bmm(shares, words).flatten(start_dim=1)
        return BaseModelOutput(last_hidden_state=self.layers[0](views))

    def extend_views(self, count: int) -> None:
        """Make room for ``count`` views; the weights of new ones are drawn at random."""
        config = self.config
        perceptron = cast(Perceptron, self.layers[0])
        old = cast(nn.Linear, perceptron.linears[0])
        wider = nn.Linear(count * config.embedding_size, old.out_features, bias=False)
        with torch.no_grad():
            wider.weight.normal_(std=config.initializer_range)
            wider.weight[:, : old.in_features] = old.weight
        perceptron.linears[0] = wider
        config.num_views = count


def view_shares(mask: Tensor, segments: Tensor, num_views: int) -> Tensor:
    """Weight of each token in the mean of each view, ``(B, num_views, T)`` float32.

    [CLS] is the first token and each segment ends in a [SEP], so that their ids need not be known.

    Shape:
        - mask, segments: ``(B, T)``
    """
    words = mask.bool()
    goes_on = words[:, 1:] & (segments[:, 1:] == segments[:, :-1])
    words = words & nn.functional.pad(goes_on, (0, 1))
    words[:, 0] = False
    views = torch.arange(num_views, device=segments.device)
    members = (segments[:, None] == views[:, None]) & words[:, None]
    return members / members.sum(dim=2, keepdim=True).clamp(min=1)


AutoConfig.register(DNNConfig.model_type, DNNConfig)
AutoModel.register(DNNConfig, DNNModel)
