"""The vocabulary head of masked language modelling."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class MLMHead(nn.Module):
    """Dense, GELU, LayerNorm, and a decoder that is the word embeddings themselves.

    BERT's head. ALBERT's embeddings are narrower than its layers; there the dense layer goes to
    their width (Lan et al., 2020, Section 3.1).

    Args:
        hidden_size: k, width of the encoder.
        embedding_size: E, width of the word embeddings.
        vocab_size: V, rows of the word embeddings.

    Shape:
        - states: ``(M, k)``, of the tokens to predict only: all logits of a batch would be the
          largest tensor of the model
        - embeddings: ``(V, E)``
        - output: ``(M, V)``
    """

    def __init__(self, hidden_size: int, embedding_size: int, vocab_size: int) -> None:
        super().__init__()
        self.dense = nn.Linear(hidden_size, embedding_size)
        self.norm = nn.LayerNorm(embedding_size, eps=1e-12)
        self.bias = nn.Parameter(torch.zeros(vocab_size))
        nn.init.normal_(self.dense.weight, std=0.02)
        nn.init.zeros_(self.dense.bias)

    def forward(self, states: Tensor, embeddings: Tensor) -> Tensor:
        """Logits of the vocabulary."""
        return F.linear(self.transform(states), embeddings, self.bias)

    def transform(self, states: Tensor) -> Tensor:
        """States in the space of the embeddings, ``(M, E)``, to be compared with any of them."""
        transformed: Tensor = self.norm(F.gelu(self.dense(states)))
        return transformed
